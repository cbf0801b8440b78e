//! Blobs on their way into the store.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::{Store, StoreError, Writer, claim, files};
use crate::simplestreams::{Digest, Hasher};

/// A blob that is being written. What is written survives a crash under
/// `partial/` and is taken up by the next [`Store::claim`]; it gets its
/// name in `blobs/` only from [`PartialBlob::finish`], when length and digest
/// hold. All methods block.
#[derive(Debug)]
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    target: PathBuf,
    digest: Digest,
    size: u64,
    written: u64,
    hasher: HashState,
    resumed: bool,
}

/// A hasher that prints as nothing.
struct HashState(Hasher);

impl std::fmt::Debug for HashState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// Why a blob was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// More bytes than the metadata lists.
    #[error("it is longer than the {size} bytes that the metadata lists")]
    TooLong {
        /// The length listed.
        size: u64,
    },
    /// Fewer bytes than the metadata lists.
    #[error("it ends after {got} of the {size} bytes that the metadata lists")]
    TooShort {
        /// The length received.
        got: u64,
        /// The length listed.
        size: u64,
    },
    /// The content is not what the metadata lists.
    #[error("its sha256 is {actual}, and the metadata lists {expected}")]
    Mismatch {
        /// The digest listed.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bytes read at a time when a partial is hashed again.
const CHUNK: usize = 256 * 1024;

impl Writer {
    /// Stores small content (metadata, manifests) under its digests. Content
    /// already held, or given twice, is not written again; a blob of it that is
    /// damaged is replaced.
    ///
    /// # Errors
    /// An I/O error.
    pub fn put_all<'a>(
        &self,
        contents: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), StoreError> {
        let mut pending = Vec::new();
        let mut seen = BTreeSet::new();
        for bytes in contents {
            let digest = Digest::of(bytes);
            if !seen.insert(digest) || self.store.read_blob(&digest).is_ok() {
                continue;
            }
            let partial = self.store.private("partial").join(digest.to_string());
            files::write_new(&partial, bytes)?;
            pending.push((partial, self.store.blob_path(&digest)));
        }
        self.sync_files(&pending)?;
        for (partial, target) in &pending {
            files::rename(partial, target)?;
        }
        Ok(())
    }

    /// Syncs files just written: one by one, or, past some dozens, the whole
    /// file system at once, which costs one wait instead of thousands.
    fn sync_files(&self, pending: &[(PathBuf, PathBuf)]) -> Result<(), StoreError> {
        const FEW: usize = 32;
        if pending.len() > FEW {
            let root = self.store.root();
            let synced = File::open(root).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
            return synced.map_err(|source| StoreError::io("sync", root, source));
        }
        for (partial, _) in pending {
            File::open(partial)
                .and_then(|file| file.sync_data())
                .map_err(|source| StoreError::io("sync", partial, source))?;
        }
        Ok(())
    }
}

impl PartialBlob {
    /// A blob in `file`, which is locked and named `path`.
    pub(super) fn new(
        store: &Store,
        file: File,
        path: PathBuf,
        digest: Digest,
        size: u64,
    ) -> Result<Self, StoreError> {
        let length = file.metadata().map_err(|source| StoreError::io("write", &path, source))?;
        let length = length.len();
        let mut blob = Self {
            file,
            target: store.blob_path(&digest),
            path,
            digest,
            size,
            written: 0,
            hasher: HashState(Hasher::default()),
            resumed: length > 0,
        };
        if length <= size {
            blob.rehash().map_err(|source| StoreError::io("read", &blob.path, source))?;
        } else {
            blob.restart()?;
        }
        Ok(blob)
    }

    /// Bytes that are there already; the next [`PartialBlob::write`] goes
    /// behind them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether an earlier run wrote some of it: a digest that does not hold
    /// may then be that run's fault, not the upstream's.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`BlobError::TooLong`] before anything past the listed size is written,
    /// or an I/O error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let end = self.written.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(BlobError::TooLong { size: self.size });
        }
        self.file.write_all(bytes).map_err(|source| StoreError::io("write", &self.path, source))?;
        self.hasher.0.update(bytes);
        self.written = end;
        Ok(())
    }

    /// Forgets what is there and starts at the first byte.
    ///
    /// # Errors
    /// An I/O error.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(|source| StoreError::io("write", &self.path, source))?;
        self.written = 0;
        self.hasher = HashState(Hasher::default());
        self.resumed = false;
        Ok(())
    }

    /// Checks length and digest, syncs the content and gives it its name.
    /// Content that does not hold is removed: nothing of it is known to be
    /// right.
    ///
    /// # Errors
    /// [`BlobError::TooShort`], [`BlobError::Mismatch`] or an I/O error.
    pub fn finish(self) -> Result<(), BlobError> {
        self.finish_then(|| {})
    }

    /// [`PartialBlob::finish`]; calls `verified` as soon as the digest holds,
    /// and does not let those who read along wait for the disk.
    ///
    /// # Errors
    /// As [`PartialBlob::finish`].
    pub fn finish_then(self, verified: impl FnOnce()) -> Result<(), BlobError> {
        if self.written != self.size {
            files::remove(&self.path)?;
            return Err(BlobError::TooShort { got: self.written, size: self.size });
        }
        let actual = self.hasher.0.finish();
        if actual != self.digest {
            files::remove(&self.path)?;
            return Err(BlobError::Mismatch { expected: self.digest, actual });
        }
        verified();
        self.file.sync_data().map_err(|source| StoreError::io("sync", &self.path, source))?;
        let named = claim::is_named(&self.file, &self.path);
        if !named.map_err(|source| StoreError::io("look at", &self.path, source))? {
            let reason = "another process put another file in its place".into();
            return Err(StoreError::Damaged { path: self.path, reason }.into());
        }
        files::rename(&self.path, &self.target)?;
        Ok(())
    }

    /// Removes what is there.
    ///
    /// # Errors
    /// An I/O error.
    pub fn discard(self) -> Result<(), StoreError> {
        files::remove(&self.path)
    }

    fn rehash(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            let read = self.file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            self.hasher.0.update(bytes);
            self.written += read as u64;
        }
        Ok(())
    }
}
