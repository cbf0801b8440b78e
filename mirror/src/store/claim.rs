//! Who may write a blob.
//!
//! A finished blob is named by what it holds, so that two processes may add
//! blobs side by side without the lock of the store, which a sync holds for as
//! long as it runs. What must not be shared is one unfinished file:
//!
//! - whoever writes `partial/<digest>` holds an `flock` on that very file, and
//!   the system lets go of it when the process ends, however it ends;
//! - a lock on a file counts only while the name is that file's: the holder
//!   before may have renamed or removed it while we opened it. So the name is
//!   looked at again once the lock is there;
//! - only the holder renames or removes the name. The exceptions are small
//!   files, which [`Writer::put_all`] puts in the place of whatever stands
//!   there; [`PartialBlob::finish`] looks whose the name is before it renames.
//!
//! So a blob is fetched once, by whoever comes first; `prune` leaves a download
//! under way alone, by any process.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{PartialBlob, Store, StoreError, Writer, files};
use crate::simplestreams::Digest;

/// What came of [`Store::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The blob is held: there is nothing to write.
    Held,
    /// Somebody else writes it now.
    Busy,
    /// It is the caller's to write.
    Ours(Box<PartialBlob>),
}

/// Names looked at again before a file that is replaced all the time counts as
/// another's.
const TRIES: u32 = 16;

impl Store {
    /// Takes the blob of `digest` to write it, with what an earlier run left
    /// of it. Needs no lock of the store. Blocks, to hash what is there.
    ///
    /// # Errors
    /// An I/O error.
    pub fn claim(&self, digest: Digest, size: u64) -> Result<Claim, StoreError> {
        if self.has_blob(&digest, size) {
            return Ok(Claim::Held);
        }
        let Some(blob) = self.take(digest, size)? else { return Ok(Claim::Busy) };
        // Its last writer may have finished between our look and our lock.
        if self.has_blob(&digest, size) {
            blob.discard()?;
            return Ok(Claim::Held);
        }
        Ok(Claim::Ours(Box::new(blob)))
    }

    /// Opens what there is of a blob that is being written, to read along.
    ///
    /// # Errors
    /// The system's.
    pub fn open_partial(&self, digest: &Digest) -> io::Result<File> {
        files::open_regular(&self.private("partial").join(digest.to_string()))
    }

    /// The unfinished file of `digest`, locked; `None` where another has it.
    fn take(&self, digest: Digest, size: u64) -> Result<Option<PartialBlob>, StoreError> {
        let Some((file, path)) = self.lock_partial(&digest)? else { return Ok(None) };
        PartialBlob::new(self, file, path, digest, size).map(Some)
    }

    /// The unfinished file of `digest`, made where there is none, and its
    /// name; `None` where another has the lock on it.
    fn lock_partial(&self, digest: &Digest) -> Result<Option<(File, PathBuf)>, StoreError> {
        files::create_dir(&self.private("partial"))?;
        let path = self.private("partial").join(digest.to_string());
        let failed = |source| StoreError::io("write", &path, source);
        for _ in 0..TRIES {
            let file = open_or_create(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            if is_named(&file, &path).map_err(failed)? {
                return Ok(Some((file, path)));
            }
        }
        Ok(None)
    }

    /// The lock on an unfinished file that nobody writes now.
    pub(super) fn lock_idle_partial(&self, digest: &Digest) -> Option<File> {
        let path = self.private("partial").join(digest.to_string());
        let file = files::open_regular(&path).ok()?;
        file.try_lock().ok()?;
        is_named(&file, &path).ok()?.then_some(file)
    }
}

/// While it lives nobody gives a blob its name: see [`Writer::hold_off`].
#[derive(Debug)]
pub struct HeldOff {
    file: File,
    path: PathBuf,
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        // What was made for the lock alone goes; a download cut short stays.
        if self.file.metadata().is_ok_and(|meta| meta.len() == 0) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Writer {
    /// Keeps pulls, which need no lock of the store, from putting the blob of
    /// `digest` in its place, so that what is found there now can be judged
    /// and moved.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where one writes it now, or an I/O error.
    pub fn hold_off(&self, digest: &Digest) -> Result<HeldOff, StoreError> {
        let locked = self.store.lock_partial(digest)?;
        let (file, path) = locked.ok_or(StoreError::Busy(*digest))?;
        Ok(HeldOff { file, path })
    }

    /// Starts the blob of `digest`, or takes up what an earlier run left of
    /// it, which is read and hashed again; also where the blob is held.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another process writes it, or an I/O error.
    pub fn partial(&self, digest: Digest, size: u64) -> Result<PartialBlob, StoreError> {
        self.store.take(digest, size)?.ok_or(StoreError::Busy(digest))
    }
}

/// Whether `path` is the name of the open `file`.
pub(super) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let id = |meta: &Metadata| (meta.dev(), meta.ino());
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(id(&named) == id(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).truncate(false);
    files::open(&mut options, path).or_else(|error| {
        // What stands there and is no file is nothing that we wrote.
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path))?;
                files::open(&mut options, path)
            }
            _ => Err(error),
        }
    })
}
