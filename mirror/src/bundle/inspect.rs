//! What a bundle says it holds, for people and programs. Nothing of it is
//! proved: that is [`prove`](super::prove)'s.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{BundleError, Contents, Part, Source};
use crate::simplestreams::Digest;
use crate::store::{FileRef, Store};
use crate::total;

/// What a bundle says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The snapshot.
    pub snapshot: Digest,
    /// When each of its streams was last changed, ISO 8601, by content id.
    pub updated: BTreeMap<String, String>,
    /// Which part it is, and what it builds on; `None` where it is whole.
    pub part: Option<Part>,
    /// The signed files.
    pub metadata: Vec<FileRef>,
    /// The product versions of the snapshot.
    pub versions: Vec<VersionSummary>,
    /// Items of the snapshot, each content once.
    pub items: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Items, or ranges of items, in this bundle.
    pub here: usize,
    /// Their bytes.
    pub bytes_here: u64,
    /// Whether the base of a delta was not there: what only that has is not
    /// counted.
    pub without_base: bool,
}

/// A product version.
#[derive(Clone, Debug, Serialize)]
pub struct VersionSummary {
    /// Product id.
    pub product: String,
    /// Version name.
    pub version: String,
    /// Its files.
    pub files: Vec<FileRef>,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads what a bundle says of itself. `store` is where a delta's base may be.
///
/// # Errors
/// [`BundleError`].
pub fn inspect(source: &mut Source, store: Option<&Store>) -> Result<Summary, BundleError> {
    let contents = Contents::peek(source, store)?;
    let items = contents.items();
    let content = &contents.content;
    let versions = content.versions.iter().map(|(key, files)| VersionSummary {
        product: key.product.clone(),
        version: key.version.clone(),
        bytes: total(files.iter().map(|file| file.size)),
        files: files.clone(),
    });
    Ok(Summary {
        snapshot: contents.snapshot,
        updated: content.updated.iter().map(|(id, time)| (id.clone(), time.to_string())).collect(),
        metadata: content.metadata.clone(),
        versions: versions.collect(),
        items: items.len(),
        bytes: total(items.iter().map(|item| item.size)),
        here: contents.pieces.len(),
        bytes_here: contents.bytes(),
        without_base: contents.unknown > 0,
        part: contents.part,
    })
}
