//! Proof, without a store, that a bundle holds what was signed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::trust::Judge;
use super::{BundleError, Contents, Part, Progress, Source};
use crate::signature::Keyring;
use crate::simplestreams::{Digest, Hasher, RelPath};
use crate::store::{BlobError, Store};
use crate::sync::Limits;

/// What was proved of a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct Proved {
    /// The snapshot.
    pub snapshot: Digest,
    /// Which part it is; `None` where it is whole.
    pub part: Option<Part>,
    /// The signed files, each with the keys that signed it.
    pub metadata: Vec<Signed>,
    /// Items of the snapshot, each content once.
    pub items: usize,
    /// Items, or ranges of items, in this bundle.
    pub here: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the contents were left unread.
    pub quick: bool,
    /// Ranges of items that were cut: what they are ranges of is proved when
    /// the parts are imported.
    pub ranges: usize,
    /// Whether the base of a delta was not there, so that the items which only
    /// that has were not looked at.
    pub without_base: bool,
}

/// A signed file whose signature holds.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    /// Its path.
    pub path: RelPath,
    /// Fingerprints of the keys that signed it.
    pub signed_by: Vec<String>,
}

/// Checks every signature and digest of a bundle. With `quick` the contents of
/// items are not read. `store` is where a delta's base may be.
///
/// # Errors
/// [`BundleError`] says what does not hold.
pub fn prove(
    source: &mut Source,
    store: Option<&Store>,
    keyring: &Keyring,
    quick: bool,
    progress: Progress<'_>,
) -> Result<Proved, BundleError> {
    let contents = Contents::peek(source, store)?;
    let known = BTreeMap::new();
    let judge = Judge { keyring, known: &known, allow_older: true, limits: Limits::default() };
    let proof = judge.judge(&contents)?;
    if !quick {
        read_all(source, &contents, progress)?;
    }
    let metadata = proof.signers.into_iter().map(|(path, signed_by)| Signed { path, signed_by });
    Ok(Proved {
        snapshot: contents.snapshot,
        metadata: metadata.collect(),
        items: contents.items().len(),
        here: contents.pieces.len(),
        bytes: contents.bytes(),
        quick,
        ranges: contents.pieces.iter().filter(|piece| piece.range.is_some()).count(),
        without_base: contents.unknown > 0,
        part: contents.part,
    })
}

/// Reads every blob: what its name says it is, with the length that is listed.
fn read_all(
    source: &mut Source,
    contents: &Contents,
    progress: Progress<'_>,
) -> Result<(), BundleError> {
    let listed: BTreeMap<Digest, _> =
        contents.pieces.iter().map(|piece| (piece.digest, piece)).collect();
    let all = contents.bytes();
    let mut came = BTreeSet::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut done = 0;
    while let Some((digest, size)) = source.next()? {
        // What belongs to another snapshot of a layout is not ours to judge.
        let Some(piece) = listed.get(&digest) else {
            continue;
        };
        if piece.size != size {
            let listed = piece.size;
            return Err(BundleError::WrongSize { digest, found: size, listed });
        }
        let mut hasher = Hasher::default();
        loop {
            let read = source.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            hasher.update(bytes);
            done += read as u64;
            progress(done.min(all), all);
        }
        let actual = hasher.finish();
        if actual != digest {
            let (path, expected) = (piece.path.clone(), digest);
            let source = Box::new(BlobError::Mismatch { expected, actual });
            return Err(BundleError::Content { path, source });
        }
        came.insert(digest);
    }
    match listed.iter().find(|(digest, _)| !came.contains(digest)) {
        None => Ok(()),
        Some((digest, piece)) => {
            let (digest, what) = (*digest, piece.path.to_string());
            Err(BundleError::MissingBlob { digest, what })
        }
    }
}
