//! What a sync will do, and what it will cost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::SyncError;
use super::metadata::Metadata;
use crate::simplestreams::{Digest, Products, RelPath, SelectedItem, listed};
use crate::store::{Content, FileRef, JoinedItem, Store, VersionKey};
use crate::total;

/// A file that the snapshot will hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedItem {
    /// Its path.
    pub path: RelPath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, hex.
    #[serde(serialize_with = "Digest::serialize_hex")]
    pub sha256: Digest,
    /// Whether the store has the content already.
    pub held: bool,
}

/// A content to fetch; from one of its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) path: RelPath,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Bytes that an earlier run left.
    pub(crate) partial: u64,
}

/// What a sync will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every file selected, once, by path.
    pub items: Vec<PlannedItem>,
    /// Bytes of all distinct contents.
    pub bytes: u64,
    /// Bytes of those that are held already.
    pub held_bytes: u64,
    /// Bytes free in the store; `None` where there is no store yet.
    pub free: Option<u64>,
    /// Bytes of the metadata files.
    pub metadata_bytes: u64,
    pub(super) fetch: Vec<Fetch>,
    pub(super) content: Content,
    /// Items that were not selected and stay all the same: they joined an
    /// earlier snapshot, are held, and are listed still.
    pub(super) joined: Vec<JoinedItem>,
}

impl Plan {
    pub(super) fn new(
        store: Option<&Store>,
        metadata: &Metadata,
        selected: Vec<SelectedItem>,
    ) -> Result<Self, SyncError> {
        let partials = store.map_or_else(|| Ok(BTreeMap::new()), Store::partials)?;
        let mut held = BTreeMap::new();
        let mut fetch = BTreeMap::new();
        let mut items = BTreeMap::new();
        for item in &selected {
            let (digest, size) = (item.sha256, item.size);
            let here = *held
                .entry(digest)
                .or_insert_with(|| store.is_some_and(|store| store.has_blob(&digest, size)));
            if !here {
                let partial = partials.get(&digest).copied().unwrap_or(0);
                let path = item.path.clone();
                fetch.entry(digest).or_insert(Fetch { path, digest, size, partial });
            }
            items.entry(item.path.clone()).or_insert_with(|| PlannedItem {
                path: item.path.clone(),
                size,
                sha256: digest,
                held: here,
            });
        }
        let distinct: BTreeSet<_> = items.values().map(|i| (i.sha256, i.size, i.held)).collect();
        // The largest first: the last download to end is then a small one.
        let mut fetch: Vec<_> = fetch.into_values().collect();
        fetch.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        let mut content = content(metadata, selected);
        let joined = store.map(|store| carry_over(store, &metadata.products, &mut content));
        Ok(Self {
            joined: joined.unwrap_or_default(),
            bytes: total(distinct.iter().map(|(_, size, _)| *size)),
            held_bytes: total(distinct.iter().filter(|(.., held)| *held).map(|(_, size, _)| *size)),
            free: store.map(Store::free_bytes).transpose()?,
            metadata_bytes: total(metadata.files.iter().map(|file| file.bytes.len() as u64)),
            items: items.into_values().collect(),
            fetch,
            content,
        })
    }

    /// Contents to fetch.
    #[must_use]
    pub fn fetch_count(&self) -> usize {
        self.fetch.len()
    }

    /// Bytes to fetch, less what earlier runs left.
    #[must_use]
    pub fn fetch_bytes(&self) -> u64 {
        total(self.fetch.iter().map(|fetch| fetch.size.saturating_sub(fetch.partial)))
    }

    /// Bytes that earlier runs left of what is to be fetched.
    #[must_use]
    pub fn partial_bytes(&self) -> u64 {
        total(self.fetch.iter().map(|fetch| fetch.partial.min(fetch.size)))
    }

    /// Refuses a run that would leave nothing to serve or fill the disk.
    ///
    /// # Errors
    /// [`SyncError::NothingSelected`], [`SyncError::Space`].
    pub fn check(&self) -> Result<(), SyncError> {
        if self.items.is_empty() {
            return Err(SyncError::NothingSelected);
        }
        let needed = self.fetch_bytes().saturating_add(self.metadata_bytes);
        match self.free {
            Some(free) if !self.fetch.is_empty() && needed > free => {
                Err(SyncError::Space { needed, free })
            }
            _ => Ok(()),
        }
    }
}

/// Takes the items that joined earlier snapshots into `content`; returns them.
fn carry_over(store: &Store, products: &[Products], content: &mut Content) -> Vec<JoinedItem> {
    let joined = store.joined().into_iter();
    let mut joined: HashMap<_, _> = joined.map(|item| (item.path.clone(), item)).collect();
    if joined.is_empty() {
        return Vec::new();
    }
    content.files().for_each(|file| drop(joined.remove(&file.path)));
    let mut carried = Vec::new();
    for found in products.iter().flat_map(listed) {
        let Some(item) = joined.remove(&found.path) else { continue };
        let same = (item.digest, item.size) == (found.sha256, found.size);
        if same && store.has_blob(&item.digest, item.size) {
            let key = VersionKey { product: found.product, version: found.version };
            let file = FileRef { path: found.path, digest: item.digest, size: item.size };
            content.versions.entry(key).or_default().push(file);
            carried.push(item);
        }
    }
    carried.sort();
    carried
}

fn content(metadata: &Metadata, selected: Vec<SelectedItem>) -> Content {
    let mut versions: BTreeMap<VersionKey, Vec<FileRef>> = BTreeMap::new();
    for item in selected {
        let key = VersionKey { product: item.product, version: item.version };
        let file = FileRef { path: item.path, digest: item.sha256, size: item.size };
        versions.entry(key).or_default().push(file);
    }
    let metadata_files = metadata.files.iter().map(|file| FileRef {
        path: file.path.clone(),
        digest: file.digest,
        size: file.bytes.len() as u64,
    });
    Content { updated: metadata.updated.clone(), metadata: metadata_files.collect(), versions }
}
