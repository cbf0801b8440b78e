//! The JSON of a bundle beside that of its snapshot: `index.json`, and what a
//! part or a delta says of itself.
//!
//! A bundle that holds everything is an archive of its snapshot. One that does
//! not (a part of a split bundle, or a delta) is an archive of a *part*: an
//! index of manifests whose layers are the blobs that are in it, so that each
//! archive is whole by itself for any tool that knows OCI.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{BundleError, FORMAT, MAX_PARTS};
use crate::simplestreams::{Digest, RelPath};
use crate::store::DescriptionError;
use crate::store::layout::{self, Annotations, Descriptor, Index, Manifest, annotation};

const PART: &str = "application/vnd.simplestreams.part.v1";

/// Layers in one manifest: skopeo takes time quadratic in them.
const MAX_LAYERS: usize = 100;

/// Names of annotations that bundles alone have.
mod name {
    pub(super) const BUNDLE: &str = "dev.maas-mirror.bundle";
    pub(super) const PART: &str = "dev.maas-mirror.part";
    pub(super) const PARTS: &str = "dev.maas-mirror.parts";
    pub(super) const SET: &str = "dev.maas-mirror.set";
    pub(super) const SNAPSHOT: &str = "dev.maas-mirror.snapshot";
    pub(super) const SNAPSHOT_SIZE: &str = "dev.maas-mirror.snapshot.size";
    pub(super) const BASE: &str = "dev.maas-mirror.base";
    pub(super) const BASE_UPDATED: &str = "dev.maas-mirror.base.updated";
    pub(super) const WHOLE: &str = "dev.maas-mirror.whole";
    pub(super) const WHOLE_SIZE: &str = "dev.maas-mirror.whole.size";
    pub(super) const OFFSET: &str = "dev.maas-mirror.offset";
}

/// The snapshot that a delta builds on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// Its digest.
    pub digest: Digest,
    /// When its metadata was last changed, ISO 8601.
    pub updated: Option<String>,
}

/// A blob that a bundle carries of a snapshot's items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// The item's path; one of them, where several share its content.
    pub path: RelPath,
    /// The digest of these bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// What they are cut from, where they are not all of the item.
    pub range: Option<Range>,
}

/// Where the bytes of a [`Piece`] belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The digest of the whole item.
    pub whole: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The first byte.
    pub offset: u64,
}

/// What an archive that does not hold everything says of itself. Nothing of it
/// is signed: it says where blobs are, never that they are right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which part, from 1.
    pub number: u32,
    /// Of how many.
    pub count: u32,
    /// Names the bundle that it is a part of.
    pub set: Digest,
    /// The snapshot that the bundle is of.
    pub snapshot: Digest,
    /// The length of that snapshot's index.
    #[serde(skip)]
    pub snapshot_size: u64,
    /// What a delta builds on.
    pub base: Option<Base>,
    /// The items, or ranges of items, in it.
    #[serde(skip)]
    pub pieces: Vec<Piece>,
    /// The description and the signed files in it.
    #[serde(skip)]
    pub(super) described: BTreeSet<Digest>,
}

impl Piece {
    /// The digest of the item that it is, or is cut from.
    #[must_use]
    pub fn whole(&self) -> Digest {
        self.range.map_or(self.digest, |range| range.whole)
    }

    /// The length of that item.
    #[must_use]
    pub fn whole_size(&self) -> u64 {
        self.range.map_or(self.size, |range| range.size)
    }

    fn descriptor(&self) -> Descriptor {
        let mut layer = Descriptor::file(self.path.as_str(), self.digest, self.size);
        if let Some(Range { whole, size, offset }) = self.range {
            layer.annotations.insert(name::WHOLE.into(), whole.to_oci());
            layer.annotations.insert(name::WHOLE_SIZE.into(), size.to_string());
            layer.annotations.insert(name::OFFSET.into(), offset.to_string());
        }
        layer
    }

    /// Bytes that it takes in a manifest.
    pub(super) fn listing(&self) -> u64 {
        layout::to_bytes(&self.descriptor()).len() as u64 + 1
    }

    fn read(layer: &Descriptor) -> Option<Self> {
        let path = RelPath::new(layer.annotation(annotation::TITLE)?).ok()?;
        let range = match layer.annotation(name::WHOLE) {
            None => None,
            Some(whole) => Some(Range {
                whole: whole.parse().ok()?,
                size: layer.annotation(name::WHOLE_SIZE)?.parse().ok()?,
                offset: layer.annotation(name::OFFSET)?.parse().ok()?,
            }),
        };
        let inside = range.is_none_or(|Range { size, offset, .. }| {
            layer.size > 0 && offset.checked_add(layer.size).is_some_and(|end| end <= size)
        });
        inside.then_some(Self { path, digest: layer.digest, size: layer.size, range })
    }
}

/// The index and the manifests of a part. `described` are the other blobs in
/// it, each with its length.
pub(super) fn encode_part(part: &Part, described: &[(Digest, u64)]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut layers: Vec<_> = described
        .iter()
        .map(|(digest, size)| {
            let mut layer = Descriptor::file("", *digest, *size);
            layer.annotations = [(annotation::KIND.into(), "description".into())].into();
            layer
        })
        .collect();
    layers.extend(part.pieces.iter().map(Piece::descriptor));
    let manifests: Vec<_> = layers
        .chunks(MAX_LAYERS)
        .map(|layers| layout::to_bytes(&Manifest::new(PART, layers.to_vec(), Annotations::new())))
        .collect();
    let kind: Annotations = [(annotation::KIND.into(), "part".into())].into();
    let entries =
        manifests.iter().map(|bytes| Descriptor::of(layout::MANIFEST, bytes, kind.clone()));
    let mut annotations = kind.clone();
    let mut note = |name: &str, value: String| annotations.insert(name.to_owned(), value);
    note(name::PART, part.number.to_string());
    note(name::PARTS, part.count.to_string());
    note(name::SET, part.set.to_oci());
    note(name::SNAPSHOT, part.snapshot.to_oci());
    note(name::SNAPSHOT_SIZE, part.snapshot_size.to_string());
    if let Some(base) = &part.base {
        note(name::BASE, base.digest.to_oci());
        if let Some(updated) = &base.updated {
            note(name::BASE_UPDATED, updated.clone());
        }
    }
    (layout::to_bytes(&Index::new(entries.collect(), annotations)), manifests)
}

/// The `index.json` of an archive of one snapshot or part.
pub(super) fn encode_index(tag: &str, entry: &[u8]) -> Vec<u8> {
    let annotations = [(annotation::REF_NAME.into(), tag.into())].into();
    let entry = Descriptor::of(layout::INDEX, entry, annotations);
    let annotations = [(name::BUNDLE.into(), FORMAT.to_string())].into();
    layout::to_bytes(&Index::new(vec![entry], annotations))
}

/// What an `index.json` leads to: digest and length of a snapshot's or a
/// part's index.
pub(super) fn decode_index(bytes: &[u8]) -> Result<(Digest, u64), BundleError> {
    /// Of an OCI index: what every tool writes into `index.json`.
    #[derive(Deserialize)]
    struct Top {
        manifests: Vec<Descriptor>,
        #[serde(default)]
        annotations: Annotations,
    }
    let index: Top = json("index.json", bytes)?;
    // Other tools write none.
    if let Some(found) = index.annotations.get(name::BUNDLE)
        && !found.parse::<u32>().is_ok_and(|found| found <= FORMAT)
    {
        let found = found.chars().take(40).collect();
        return Err(BundleError::NewerFormat { found, known: FORMAT });
    }
    let current = |entry: &&Descriptor| entry.annotation(annotation::REF_NAME) == Some("current");
    let entry = match index.manifests.as_slice() {
        [only] => Some(only),
        several => several.iter().find(current),
    };
    let entry = entry.ok_or_else(|| {
        let reason = "its index.json has no snapshot tagged 'current'";
        BundleError::Contradiction(reason.into())
    })?;
    if entry.media_type != layout::INDEX {
        let reason = "its index.json leads to something that is no snapshot of maas-mirror";
        return Err(BundleError::Contradiction(reason.into()));
    }
    Ok((entry.digest, entry.size))
}

/// Digests and lengths of manifests.
type Manifests = Vec<(Digest, u64)>;

/// What a part's index says, its manifests aside; `None` where it is a
/// snapshot's. The second value names the manifests.
pub(super) fn decode_part(bytes: &[u8]) -> Result<Option<(Part, Manifests)>, BundleError> {
    let index: Index = json("the index of the snapshot", bytes)?;
    match index.annotations.get(annotation::KIND).map(String::as_str) {
        Some("part") => {}
        Some("snapshot") => return Ok(None),
        _ => {
            let reason = "it holds an image that is no snapshot of maas-mirror";
            return Err(BundleError::Contradiction(reason.into()));
        }
    }
    let text = |name: &str| index.annotations.get(name).map(String::as_str);
    let digest = |name: &str| text(name).and_then(|text| text.parse::<Digest>().ok());
    let number = |name: &str| text(name).and_then(|text| text.parse::<u32>().ok());
    let read = || {
        let base = match text(name::BASE) {
            None => None,
            Some(_) => Some(Base {
                digest: digest(name::BASE)?,
                updated: text(name::BASE_UPDATED).map(|text| text.chars().take(40).collect()),
            }),
        };
        Some(Part {
            number: number(name::PART)?,
            count: number(name::PARTS)?,
            set: digest(name::SET)?,
            snapshot: digest(name::SNAPSHOT)?,
            snapshot_size: text(name::SNAPSHOT_SIZE)?.parse().ok()?,
            base,
            pieces: Vec::new(),
            described: BTreeSet::new(),
        })
    };
    let part = read()
        .filter(|part| (1..=part.count).contains(&part.number) && part.count <= MAX_PARTS)
        .ok_or_else(|| {
            BundleError::Contradiction("what it says of itself as a part is not whole".into())
        })?;
    let manifests = index.manifests.iter().map(|entry| (entry.digest, entry.size));
    Ok(Some((part, manifests.collect())))
}

/// Adds what one of a part's manifests lists.
pub(super) fn decode_part_manifest(part: &mut Part, bytes: &[u8]) -> Result<(), BundleError> {
    let manifest: Manifest = json("a manifest of the part", bytes)?;
    for layer in &manifest.layers {
        if layer.annotation(annotation::KIND) == Some("description") {
            part.described.insert(layer.digest);
        } else {
            let piece = Piece::read(layer).ok_or_else(|| {
                let reason = format!("it lists the blob {} with no place for it", layer.digest);
                BundleError::Contradiction(reason)
            })?;
            part.pieces.push(piece);
        }
    }
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|error| BundleError::Description {
        what,
        source: DescriptionError::new(error.to_string()),
    })
}
