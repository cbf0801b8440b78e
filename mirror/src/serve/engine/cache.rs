//! Open blobs, bounded in number.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::blob::Blob;
use crate::simplestreams::Digest;
use crate::store::Store;

/// Blobs kept open. A mirror holds some dozens; the limit keeps well below
/// the 1,024 descriptors that a process is given by default.
const OPEN: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The blobs that were asked for last, open.
#[derive(Debug)]
pub(in crate::serve) struct BlobCache {
    store: Store,
    open: Mutex<LruCache<Digest, Arc<Blob>>>,
}

impl BlobCache {
    pub(in crate::serve) fn new(store: Store) -> Self {
        Self { store, open: Mutex::new(LruCache::new(OPEN)) }
    }

    /// The blob, from the cache or opened by a thread that may wait.
    pub(in crate::serve) async fn get(&self, digest: Digest, size: u64) -> io::Result<Arc<Blob>> {
        if let Some(blob) = self.cached(&digest) {
            return Ok(blob);
        }
        let path = self.store.blob_path(&digest);
        let opened = tokio::task::spawn_blocking(move || Blob::open(&path, digest, size));
        let blob = Arc::new(opened.await.map_err(io::Error::other)??);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.put(digest, Arc::clone(&blob));
        Ok(blob)
    }

    /// The blob, if it is open and was whole when it was last read.
    pub(in crate::serve) fn cached(&self, digest: &Digest) -> Option<Arc<Blob>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = open.get(digest)?;
        if blob.is_damaged() {
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
