//! What a bundle says it holds, before any of it is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{decode_index, decode_part, decode_part_manifest};
use super::{BundleError, MAX_DESCRIPTION, MAX_METADATA, Part, Piece, Source};
use crate::simplestreams::Digest;
use crate::store::layout::EMPTY_CONFIG;
use crate::store::{Content, Description, Store};
use crate::total;

/// The description of a bundle and its signed files. The digests in it hold,
/// and its pieces belong to its snapshot; no signature was judged.
#[derive(Debug)]
pub struct Contents {
    /// Names the snapshot.
    pub snapshot: Digest,
    /// What the whole snapshot holds, with the `updated` that the bundle
    /// claims.
    pub content: Content,
    /// The blobs that describe the snapshot, with their lengths.
    pub described: Vec<(Digest, u64)>,
    /// The bytes of its signed files, by digest.
    pub metadata: BTreeMap<Digest, Vec<u8>>,
    /// Which part it is; `None` where the bundle is whole.
    pub part: Option<Part>,
    /// The items, or ranges of items, that are in it.
    pub pieces: Vec<Piece>,
    /// Manifests that only the base of a delta has, and that base is not here:
    /// of the items in them nothing is known.
    pub unknown: usize,
}

impl Contents {
    /// Reads everything before the items. `store` is where a delta's base may
    /// be.
    ///
    /// # Errors
    /// [`BundleError`]; also where a delta's base is not there.
    pub fn read(source: &mut Source, store: Option<&Store>) -> Result<Self, BundleError> {
        let contents = Self::peek(source, store)?;
        match contents.base().filter(|_| contents.unknown > 0) {
            Some(super::Base { digest, updated }) => {
                Err(BundleError::MissingBase { base: *digest, updated: updated.clone() })
            }
            None => Ok(contents),
        }
    }

    /// As [`Contents::read`], of a delta as much as can be known without its
    /// base.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn peek(source: &mut Source, store: Option<&Store>) -> Result<Self, BundleError> {
        let (entry, size) = decode_index(&source.index()?)?;
        let mut budget = Budget(MAX_DESCRIPTION);
        let entry_bytes = budget.sized(source, &entry, size, "its index")?;
        let (index, snapshot, part) = match decode_part(&entry_bytes)? {
            None => (entry_bytes, entry, None),
            Some((mut part, manifests)) => {
                for (digest, size) in manifests {
                    let bytes = budget.sized(source, &digest, size, "a manifest of the part")?;
                    decode_part_manifest(&mut part, &bytes)?;
                }
                let size = part.snapshot_size;
                let index = budget.sized(source, &part.snapshot, size, "the snapshot's index")?;
                (index, part.snapshot, Some(part))
            }
        };
        let (description, unknown) =
            read_manifests(source, store, part.as_ref(), index, &mut budget)?;
        let wrong =
            |source| BundleError::Description { what: "the description of its snapshot", source };
        let content = description.content().map_err(wrong)?;
        let described =
            description.blobs().map(|bytes| (Digest::of(bytes), bytes.len() as u64)).collect();
        drop(description);
        let metadata = read_metadata(source, &content)?;
        let pieces = match &part {
            Some(part) => checked(part, &content)?,
            None => whole(&content),
        };
        let contents = Self { snapshot, content, described, metadata, part, pieces, unknown };
        contents.check_held(source)?;
        Ok(contents)
    }

    /// What it builds on, for a delta.
    #[must_use]
    pub fn base(&self) -> Option<&super::Base> {
        self.part.as_ref().and_then(|part| part.base.as_ref())
    }

    /// Bytes of items in it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        total(self.pieces.iter().map(|piece| piece.size))
    }

    /// The items of the snapshot, each content once.
    #[must_use]
    pub fn items(&self) -> Vec<Piece> {
        whole(&self.content)
    }

    /// Where that is known already, each piece must be there: a manifest that
    /// names more than there is would otherwise be found out at the end.
    fn check_held(&self, source: &Source) -> Result<(), BundleError> {
        for piece in &self.pieces {
            match source.has(&piece.digest) {
                Some(true) => {}
                None => return Ok(()),
                Some(false) => {
                    let (digest, what) = (piece.digest, piece.path.to_string());
                    return Err(BundleError::MissingBlob { digest, what });
                }
            }
        }
        Ok(())
    }
}

/// Bytes of description that may still come.
struct Budget(u64);

impl Budget {
    fn sized(
        &mut self,
        source: &mut Source,
        digest: &Digest,
        listed: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, BundleError> {
        let bytes = source.blob(digest, what, self.0)?;
        let found = bytes.len() as u64;
        self.0 -= found;
        if found == listed {
            Ok(bytes)
        } else {
            Err(BundleError::WrongSize { digest: *digest, found, listed })
        }
    }
}

/// The manifests of the snapshot: those that a delta leaves out, because its
/// base has them, from the store. Also how many are not there either.
fn read_manifests(
    source: &mut Source,
    store: Option<&Store>,
    part: Option<&Part>,
    index: Vec<u8>,
    budget: &mut Budget,
) -> Result<(Description, usize), BundleError> {
    let wrong = |source| BundleError::Description { what: "the index of its snapshot", source };
    let listed = Description::manifests_of(&index).map_err(wrong)?;
    let mut manifests = Vec::new();
    let mut unknown = 0;
    let mut seen = BTreeSet::new();
    for (digest, size) in listed {
        // Named again it says nothing new, and would cost its size again.
        if !seen.insert(digest) {
            continue;
        }
        let bytes = match part {
            Some(Part { base: Some(_), described, .. }) if !described.contains(&digest) => {
                let Some(held) = store.and_then(|store| store.read_blob(&digest).ok()) else {
                    unknown += 1;
                    continue;
                };
                held
            }
            _ => budget.sized(source, &digest, size, "a manifest of the snapshot")?,
        };
        manifests.push(bytes);
    }
    Ok((Description { index, manifests }, unknown))
}

fn read_metadata(
    source: &mut Source,
    content: &Content,
) -> Result<BTreeMap<Digest, Vec<u8>>, BundleError> {
    let mut left = MAX_METADATA;
    let mut metadata = BTreeMap::new();
    for file in &content.metadata {
        if metadata.contains_key(&file.digest) {
            continue;
        }
        let bytes = source.blob(&file.digest, "a signed file", left)?;
        let found = bytes.len() as u64;
        if found != file.size {
            let (digest, listed) = (file.digest, file.size);
            return Err(BundleError::WrongSize { digest, found, listed });
        }
        left -= found;
        metadata.insert(file.digest, bytes);
    }
    Ok(metadata)
}

/// Each content of a snapshot's items once, in the order of the first of its
/// paths. A signed file is not among them, nor is the empty config.
pub(super) fn whole(content: &Content) -> Vec<Piece> {
    let mut seen: BTreeSet<Digest> = content.metadata.iter().map(|file| file.digest).collect();
    seen.insert(Digest::of(EMPTY_CONFIG));
    let mut pieces = Vec::new();
    for (path, file) in content.by_path() {
        if seen.insert(file.digest) {
            let (digest, size) = (file.digest, file.size);
            pieces.push(Piece { path: path.clone(), digest, size, range: None });
        }
    }
    pieces
}

/// The pieces of a part, each of which must be of an item of the snapshot.
fn checked(part: &Part, content: &Content) -> Result<Vec<Piece>, BundleError> {
    let sizes: BTreeMap<Digest, u64> =
        content.files().map(|file| (file.digest, file.size)).collect();
    let mut seen = BTreeSet::new();
    for piece in &part.pieces {
        let reason = if sizes.get(&piece.whole()) != Some(&piece.whole_size()) {
            "is of no item of its snapshot"
        } else if !seen.insert((piece.digest, piece.range.map(|range| range.offset))) {
            "is listed twice"
        } else {
            continue;
        };
        let reason = format!("the blob sha256:{} that it lists {reason}", piece.digest);
        return Err(BundleError::Contradiction(reason));
    }
    Ok(part.pieces.clone())
}
