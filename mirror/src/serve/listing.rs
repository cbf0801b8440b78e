//! What the signed metadata of the snapshots lists, held or not.
//!
//! Read from the signed files that the store keeps byte for byte, off the
//! runtime, when a path is first asked for that no snapshot holds: a server
//! starts without it. A file that several snapshots share is read once.
//!
//! Two uses, with two kinds of trust:
//! - with a keyring, what a file lists is relied on: its signature holds under
//!   that keyring, by the memory of the sync that took it or by GnuPG;
//! - without one, a 404 can say whether the path is known, and a path whose
//!   content is held under another name is served. The content is what its
//!   digest says, so a forged list gives away nothing that is not held.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::catalog::{Catalog, Entry};
use crate::signature::{Keyring, VerifyError, unverified_text};
use crate::simplestreams::{Digest, Document, DocumentError, RelPath, listed};
use crate::store::{FileRef, Store, StoreError, VersionKey};
use crate::sync::remembered;

/// An item that a signed file lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The first product version that lists it.
    pub(super) key: Arc<VersionKey>,
    /// Whether the current snapshot lists it, and not only an earlier one.
    pub(super) current: bool,
}

impl Listed {
    pub(super) fn file(&self, path: &RelPath) -> FileRef {
        FileRef { path: path.clone(), digest: self.digest, size: self.size }
    }

    pub(super) fn entry(&self, path: &RelPath) -> Entry {
        Entry::of_item(&self.file(path), &self.key.version)
    }
}

/// The items of one signed file.
type Items = HashMap<RelPath, Listed>;

/// The signed files of a snapshot: the digest of each, and its items.
type Signed = Vec<(Digest, Arc<Items>)>;

/// What the snapshots of one [`Catalog`] list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    snapshots: Vec<(Digest, Signed)>,
    /// When some file could not be read, or its signature did not hold.
    failed: Option<Instant>,
}

/// How long a listing with holes is used before it is read again: GnuPG may
/// have failed for a reason that passes.
const AGAIN: Duration = Duration::from_secs(300);

impl Listing {
    /// The item at `path`, by the current snapshot or else by earlier ones.
    pub(super) fn find(&self, path: &RelPath) -> Option<Listed> {
        self.snapshots.iter().enumerate().find_map(|(age, (_, signed))| {
            let found = signed.iter().find_map(|(_, items)| items.get(path))?;
            Some(Listed { current: age == 0, ..found.clone() })
        })
    }

    fn fits(&self, catalog: &Catalog) -> bool {
        catalog.snapshots().eq(self.snapshots.iter().map(|(snapshot, _)| snapshot))
            && self.failed.is_none_or(|failed| failed.elapsed() < AGAIN)
    }
}

/// The listing of now.
#[derive(Debug)]
pub(super) struct Listings {
    store: Store,
    keyring: Option<Arc<Keyring>>,
    known: RwLock<Arc<Listing>>,
    /// Held by whoever reads: once is enough.
    reading: Mutex<()>,
}

impl Listings {
    pub(super) fn new(store: Store, keyring: Option<Arc<Keyring>>) -> Self {
        Self { store, keyring, known: RwLock::default(), reading: Mutex::default() }
    }

    /// What the snapshots of `catalog` list.
    pub(super) async fn of(&self, catalog: &Arc<Catalog>) -> Arc<Listing> {
        if let Some(known) = self.fitting(catalog) {
            return known;
        }
        let _reading = self.reading.lock().await;
        if let Some(known) = self.fitting(catalog) {
            return known;
        }
        let (store, keyring) = (self.store.clone(), self.keyring.clone());
        let (catalog, before) = (Arc::clone(catalog), self.now());
        let read = move || read(&store, keyring.as_deref(), &catalog, &before);
        match tokio::task::spawn_blocking(read).await {
            Ok(listing) => {
                let listing = Arc::new(listing);
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&listing);
                listing
            }
            Err(error) => {
                tracing::error!(%error, "what the metadata lists cannot be read");
                Arc::default()
            }
        }
    }

    fn now(&self) -> Arc<Listing> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn fitting(&self, catalog: &Catalog) -> Option<Arc<Listing>> {
        Some(self.now()).filter(|known| known.fits(catalog))
    }
}

/// Why a signed file lists nothing.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("it is not clear-signed")]
    NotSigned,
    #[error(transparent)]
    Document(#[from] DocumentError),
}

fn read(store: &Store, keyring: Option<&Keyring>, catalog: &Catalog, before: &Listing) -> Listing {
    let known: Signed = before.snapshots.iter().flat_map(|(_, signed)| signed.clone()).collect();
    let mut known: HashMap<Digest, Arc<Items>> = known.into_iter().collect();
    let mut listing = Listing::default();
    for (snapshot, files) in catalog.signed_files() {
        let mut signed = Signed::new();
        for (path, digest) in files {
            if let Some(items) = known.get(&digest) {
                signed.push((digest, Arc::clone(items)));
                continue;
            }
            match items_of(store, keyring, &digest) {
                Ok(items) => {
                    let items = Arc::new(items);
                    known.insert(digest, Arc::clone(&items));
                    signed.push((digest, items));
                }
                Err(error) => {
                    let reason = crate::chain(&error);
                    tracing::warn!(%path, %snapshot, reason, "a metadata file is not relied on");
                    listing.failed = Some(Instant::now());
                }
            }
        }
        listing.snapshots.push((snapshot, signed));
    }
    listing
}

fn items_of(store: &Store, keyring: Option<&Keyring>, file: &Digest) -> Result<Items, Unusable> {
    let bytes = store.read_blob(file)?;
    let plaintext = match keyring {
        Some(keyring) => remembered(store).verify(keyring, &bytes)?.plaintext,
        None => unverified_text(&bytes).ok_or(Unusable::NotSigned)?,
    };
    let Document::Products(products) = Document::parse(&plaintext)? else {
        return Ok(Items::new());
    };
    let mut items = Items::new();
    let mut conflicts = HashSet::new();
    let mut key = Arc::new(VersionKey { product: String::new(), version: String::new() });
    for item in listed(&products) {
        if (&key.product, &key.version) != (&item.product, &item.version) {
            key = Arc::new(VersionKey { product: item.product, version: item.version });
        }
        let (digest, size) = (item.sha256, item.size);
        match items.get(&item.path) {
            // One path, two contents: no bytes are right for both.
            Some(first) if (first.digest, first.size) != (digest, size) => {
                conflicts.insert(item.path);
            }
            Some(_) => {}
            None => {
                let listed = Listed { digest, size, key: Arc::clone(&key), current: false };
                items.insert(item.path, listed);
            }
        }
    }
    items.retain(|path, _| !conflicts.contains(path));
    Ok(items)
}
