//! Open blobs, bounded in number.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::blob::Blob;
use super::damage::Damage;
use crate::serve::limits;
use crate::simplestreams::Digest;
use crate::store::Store;

/// Blobs kept open at the most. A mirror holds some dozens.
const OPEN: usize = 256;

/// The blobs that were asked for last, open.
#[derive(Debug)]
pub(in crate::serve) struct BlobCache {
    store: Store,
    damage: Arc<Damage>,
    open: Mutex<LruCache<Digest, Arc<Blob>>>,
}

impl BlobCache {
    pub(in crate::serve) fn new(store: Store) -> Self {
        // Most descriptors are for connections.
        let most = (limits::descriptors() / 8).clamp(8, OPEN);
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        Self { store, damage: Arc::default(), open: Mutex::new(LruCache::new(most)) }
    }

    /// What was found damaged.
    pub(in crate::serve) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The blob, from the cache or opened by a thread that may wait.
    pub(in crate::serve) async fn get(&self, digest: Digest, size: u64) -> io::Result<Arc<Blob>> {
        if let Some(blob) = self.cached(&digest) {
            return Ok(blob);
        }
        let path = self.store.blob_path(&digest);
        let damage = Arc::clone(&self.damage);
        let opened = tokio::task::spawn_blocking(move || Blob::open(&path, digest, size, &damage));
        let blob = Arc::new(opened.await.map_err(io::Error::other)??);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.put(digest, Arc::clone(&blob));
        Ok(blob)
    }

    /// The blob, if it is open, was whole when it was last read, and is still
    /// the one in the store.
    pub(in crate::serve) fn cached(&self, digest: &Digest) -> Option<Arc<Blob>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = open.get(digest)?;
        if blob.is_damaged() || !blob.is_current(&self.store) {
            open.pop(digest);
            return None;
        }
        Some(Arc::clone(blob))
    }

    /// Closes what `keep` does not name: blobs that went with their snapshot
    /// would hold their disk space while they are open.
    pub(in crate::serve) fn retain(&self, keep: impl Fn(&Digest) -> bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = open.iter().map(|(digest, _)| *digest).filter(|d| !keep(d)).collect();
        for digest in gone {
            open.pop(&digest);
        }
    }
}
