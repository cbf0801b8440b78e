//! What can be served now.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::coding::{self, Encoded};
use super::engine::cache::BlobCache;
use super::mime;
use crate::simplestreams::{Digest, RelPath, Timestamp};
use crate::store::{FileRef, Snapshot, SnapshotRef, Store, StoreError};

/// A file that can be served, with the headers that never change for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Whether it is a signed file, which changes, or an item, which never
    /// does.
    pub(super) metadata: bool,
    pub(super) modified: SystemTime,
    pub(super) content_type: HeaderValue,
    /// Made at the first request: most files are asked for by nobody.
    validators: OnceLock<Validators>,
    /// Made once the snapshot is taken up; of signed files alone.
    encodings: OnceLock<Vec<Encoded>>,
}

/// Headers that tell one content from another.
#[derive(Debug)]
pub(super) struct Validators {
    /// Strong, quoted: the digest.
    pub(super) etag: HeaderValue,
    pub(super) repr_digest: HeaderValue,
    pub(super) last_modified: Option<HeaderValue>,
}

impl Validators {
    fn of(digest: Digest, modified: SystemTime) -> Self {
        // Hex digits and dates are always valid in headers.
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let known = modified > SystemTime::UNIX_EPOCH;
        Self {
            etag: value(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("")),
            repr_digest: coding::repr_digest(digest),
            last_modified: known.then(|| value(&httpdate::fmt_http_date(modified))).flatten(),
        }
    }
}

impl Entry {
    fn new(file: &FileRef, metadata: bool, modified: SystemTime) -> Self {
        Self {
            digest: file.digest,
            size: file.size,
            metadata,
            modified,
            content_type: HeaderValue::from_static(mime::of(&file.path)),
            validators: OnceLock::new(),
            encodings: OnceLock::new(),
        }
    }

    /// An item, by the name of its version.
    pub(super) fn of_item(file: &FileRef, version: &str) -> Self {
        Self::new(file, false, system_time(version_date(version)))
    }

    pub(super) fn validators(&self) -> &Validators {
        self.validators.get_or_init(|| Validators::of(self.digest, self.modified))
    }

    /// The content codings that are there by now.
    pub(super) fn encodings(&self) -> &[Encoded] {
        self.encodings.get().map_or(&[], Vec::as_slice)
    }

    fn encode(&self, store: &Store) {
        self.encodings.get_or_init(|| match store.read_blob(&self.digest) {
            Ok(bytes) => coding::encode(&bytes, self.digest),
            // That it cannot be read is told when it is asked for.
            Err(_) => Vec::new(),
        });
    }
}

type Files = HashMap<RelPath, Arc<Entry>>;

/// The files of the snapshots kept, of one moment. The current snapshot comes
/// first; a path that it lacks is looked for in the earlier ones, so that a
/// client which still holds yesterday's index can finish.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    snapshots: Vec<(Digest, Arc<Files>)>,
    ready: bool,
}

/// Whether there is something to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A verified snapshot is served.
    Ready {
        /// Its digest.
        snapshot: Digest,
    },
    /// There is none yet.
    Empty {
        /// What keeps it from being there, if that is known.
        reason: Option<String>,
    },
}

/// The catalog of now, kept up with the store.
#[derive(Debug)]
pub struct Catalogs {
    store: Store,
    blobs: BlobCache,
    current: RwLock<Arc<Catalog>>,
    seen: Mutex<Option<IndexId>>,
    trouble: RwLock<Option<String>>,
}

/// What tells one `index.json` from the next: it is replaced by rename.
type IndexId = (u64, i64, i64, u64);

impl Catalog {
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Entry>> {
        self.snapshots.iter().find_map(|(_, files)| files.get(path))
    }

    /// The snapshots, the current one first.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = &Digest> {
        self.snapshots.iter().map(|(snapshot, _)| snapshot)
    }

    /// The signed files of each snapshot, in the order of their paths.
    pub(super) fn signed_files(&self) -> Vec<(Digest, Vec<(RelPath, Digest)>)> {
        let signed = |files: &Files| {
            let signed = files.iter().filter(|(_, entry)| entry.metadata);
            let mut signed: Vec<_> =
                signed.map(|(path, entry)| (path.clone(), entry.digest)).collect();
            signed.sort();
            signed
        };
        self.snapshots.iter().map(|(snapshot, files)| (*snapshot, signed(files))).collect()
    }

    /// The signed files of the current snapshot.
    fn metadata(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let current = self.snapshots.first().into_iter();
        current.flat_map(|(_, files)| files.values()).filter(|entry| entry.metadata)
    }

    /// Every blob that can be asked for.
    fn digests(&self) -> HashSet<Digest> {
        let files = self.snapshots.iter().flat_map(|(_, files)| files.values());
        files.map(|entry| entry.digest).collect()
    }

    /// The snapshots that can be read, and why the current one cannot, if so.
    fn read(store: &Store, before: &Self) -> Result<(Self, Option<StoreError>), StoreError> {
        let listed = store.snapshots()?;
        let mut ready = listed.iter().any(|snapshot| snapshot.current);
        let mut trouble = None;
        let mut snapshots = Vec::new();
        for SnapshotRef { digest, current, .. } in listed {
            let known = before.snapshots.iter().find(|(known, _)| *known == digest);
            let files = match known {
                Some((_, files)) => Arc::clone(files),
                None => match store.listed(&digest) {
                    Ok(snapshot) => Arc::new(index(&snapshot)),
                    Err(error) => {
                        if current {
                            ready = false;
                            trouble = Some(error);
                        }
                        continue;
                    }
                },
            };
            snapshots.push((digest, files));
        }
        Ok((Self { snapshots, ready }, trouble))
    }
}

/// The files of a snapshot by path.
fn index(snapshot: &Snapshot) -> Files {
    let content = &snapshot.content;
    let newest = content.updated.values().max().copied();
    let count = content.files().count();
    let mut files = Files::with_capacity(count);
    for (key, items) in &content.versions {
        let modified = system_time(version_date(&key.version).or(newest));
        for file in items {
            files.insert(file.path.clone(), Arc::new(Entry::new(file, false, modified)));
        }
    }
    // Last: a signed file wins over an item that took its path.
    for file in &content.metadata {
        let name = file.path.file_name().trim_end_matches(".sjson");
        let known = content.updated.get(file.path.as_str()).or_else(|| content.updated.get(name));
        let modified = system_time(known.copied().or(newest));
        files.insert(file.path.clone(), Arc::new(Entry::new(file, true, modified)));
    }
    files
}

/// The day in a version's name (`20210928.1`): an item never changes after it.
fn version_date(version: &str) -> Option<Timestamp> {
    let (year, month, day) = (version.get(0..4)?, version.get(4..6)?, version.get(6..8)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T00:00:00Z")).ok()
}

fn system_time(time: Option<Timestamp>) -> SystemTime {
    let seconds = time.map_or(0, |time| time.as_second().max(0).unsigned_abs());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Catalogs {
    /// What can be served of `store` now. What cannot be read is told of and
    /// tried again: a sync, an import or the end of a copy may mend it.
    pub(super) async fn open(store: Store) -> Arc<Self> {
        let catalogs = Arc::new(Self {
            blobs: BlobCache::new(store.clone()),
            store,
            current: RwLock::default(),
            seen: Mutex::default(),
            trouble: RwLock::default(),
        });
        catalogs.refresh().await;
        catalogs
    }

    pub(super) fn current(&self) -> Arc<Catalog> {
        // A poisoned lock still holds a whole catalog: it is replaced by one
        // assignment.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn blobs(&self) -> &BlobCache {
        &self.blobs
    }

    /// Whether there is something to serve.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let catalog = self.current();
        match catalog.snapshots.first() {
            Some((snapshot, _)) if catalog.ready => Readiness::Ready { snapshot: *snapshot },
            _ => Readiness::Empty { reason: self.trouble() },
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `/readyz` gives as the reason while nothing is served.
    pub fn set_trouble(&self, reason: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Takes up a snapshot that was published just now.
    pub async fn refresh(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let reloaded = tokio::task::spawn_blocking(move || this.reload_if_changed()).await;
        match reloaded {
            Ok(Ok(true)) => {
                self.set_trouble(None);
                if let Readiness::Ready { snapshot } = self.readiness() {
                    tracing::info!(%snapshot, "serving a snapshot");
                }
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                // What was served goes on being served. Told once, not at
                // each look.
                let reason = crate::chain(&error);
                let told = Some(&reason) == self.trouble().as_ref();
                if !told {
                    tracing::error!(reason, "the store's snapshot cannot be read");
                }
                self.set_trouble(Some(reason));
            }
            Err(error) => tracing::error!(%error, "the store's snapshots cannot be read"),
        }
    }

    /// Compresses the signed files of the current snapshot that are not yet.
    async fn encode(self: &Arc<Self>) {
        let catalog = self.current();
        if catalog.metadata().all(|entry| entry.encodings.get().is_some()) {
            return;
        }
        let this = Arc::clone(self);
        let encode = move || catalog.metadata().for_each(|entry| entry.encode(&this.store));
        if let Err(error) = tokio::task::spawn_blocking(encode).await {
            tracing::error!(%error, "metadata could not be compressed");
        }
    }

    /// Moves blobs that are found damaged out of the way, for ever.
    pub(super) async fn look_after_damage(self: Arc<Self>) {
        self.blobs.damage().look_after(&self.store).await;
    }

    /// Looks at the store every `poll`, for ever.
    pub(super) async fn watch(self: Arc<Self>, poll: Duration) {
        let mut ticks = tokio::time::interval(poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
            self.encode().await;
        }
    }

    /// Reads the snapshots where `index.json` was replaced since they were last
    /// read well.
    fn reload_if_changed(&self) -> Result<bool, StoreError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let id = index_id(&self.store);
        if id.is_some() && *seen == id {
            return Ok(false);
        }
        let before = self.current();
        let (catalog, trouble) = Catalog::read(&self.store, &before)?;
        if let Some(trouble) = trouble {
            // The earlier snapshots are better than nothing, and no better
            // than what is served.
            if !before.ready {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
            }
            return Err(trouble);
        }
        *seen = id;
        let listed = catalog.digests();
        self.blobs.retain(|digest| listed.contains(digest));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        Ok(true)
    }
}

fn index_id(store: &Store) -> Option<IndexId> {
    let meta = fs::metadata(store.root().join("index.json")).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}
