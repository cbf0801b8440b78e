//! Blobs and snapshots on disk: an OCI image layout.
//!
//! ```text
//! STORE/
//!   oci-layout
//!   index.json              the snapshots; the newest tagged `current`
//!   blobs/sha256/<64 hex>   immutable; a digest is checked before the name exists
//!   .maas-mirror/           ours alone: format, lock, partial/, quarantine/, listing/, state
//! ```
//!
//! The order of durability, which leaves the old snapshot or the new one whole
//! after a crash at any instant:
//!
//! 1. each blob: written under `partial/`, hashed on the way, synced, renamed;
//! 2. manifests and the snapshot's own index, as blobs, the same way;
//! 3. `blobs/sha256` synced;
//! 4. the newest `updated` of each stream, in the state file, synced;
//! 5. `index.json` written beside, synced, renamed, the folder synced.
//!
//! Reading needs no lock. Writing goes through [`Writer`], which holds it; only
//! single blobs are added without it, as [`Store::claim`] says.
//! This module knows nothing of HTTP, nor of simplestreams beyond paths and
//! digests.

mod assembly;
mod blob;
mod claim;
mod collect;
mod error;
mod files;
mod join;
pub(crate) mod layout;
mod listing;
mod lock;
mod publish;
mod snapshot;
mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use assembly::Assembly;
pub use blob::{BlobError, PartialBlob};
pub use claim::{Claim, HeldOff};
pub use collect::{Collected, PruneOptions};
pub use error::StoreError;
pub use files::open_regular;
pub use join::{JoinedItem, Joining};
pub use lock::Holder;
pub use publish::Published;
pub use snapshot::{
    Content, Description, DescriptionError, FileRef, Snapshot, SnapshotRef, VersionKey,
};
pub(crate) use state::IMPORTS;
pub use state::{LastSync, Outcome};

use crate::simplestreams::{Digest, Timestamp};

/// The layout of `.maas-mirror` that this program reads and writes.
const FORMAT: u32 = 1;

/// A store, open for reading.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A store, open for writing: there is one at a time, over all processes.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    _lock: lock::Lock,
}

impl Store {
    /// Opens an existing store.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NotAStore`],
    /// [`StoreError::NewerFormat`] or an I/O error.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        store.check_format()?;
        Ok(store)
    }

    /// Opens a store, making it first where there is nothing yet. A folder
    /// that holds other files is left alone.
    ///
    /// # Errors
    /// As [`Store::open`], or what stands in the way of making it.
    pub fn open_or_create(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        match store.check_format() {
            Ok(()) => {}
            Err(StoreError::Missing(_)) => store.create()?,
            Err(error) => return Err(error),
        }
        Ok(store)
    }

    /// Takes the lock. `command` is what a process that finds it taken is
    /// told of the holder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] names the holder; [`StoreError::ReadOnly`] where
    /// the file system takes no writes.
    pub fn writer(&self, command: &str) -> Result<Writer, StoreError> {
        // A store that was copied without our private folder gets it back.
        files::create_dir(&self.root.join(".maas-mirror"))?;
        let lock = lock::Lock::take(&self.private("lock"), command)?;
        // Another process may have raised the format before we had the lock.
        self.check_format()?;
        files::create_dir(&self.private("partial"))?;
        Ok(Writer { store: self.clone(), _lock: lock })
    }

    /// Who holds the lock now, if anybody does.
    ///
    /// # Errors
    /// An I/O error.
    pub fn lock_holder(&self) -> Result<Option<Holder>, StoreError> {
        lock::holder(&self.private("lock"))
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of `digest` is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.to_string())
    }

    /// Whether a folder is a store that was written to, not merely a layout.
    #[must_use]
    pub fn is_at(folder: &Path) -> bool {
        folder.join(".maas-mirror").exists()
    }

    /// Whether a blob of that digest and length is held. The content is not
    /// read: a name in `blobs/` exists only once its digest held.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest))
            .is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// Reads a small blob (a manifest or a metadata file) and checks its
    /// digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the content is not what its name says.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let bytes = files::read(&path)?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(StoreError::Damaged {
                path,
                reason: "its content is not what its name says".into(),
            })
        }
    }

    /// As [`Store::read_blob`], where it is there, right, and no longer than
    /// `limit` bytes.
    #[must_use]
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let meta = fs::symlink_metadata(self.blob_path(digest)).ok()?;
        (meta.is_file() && meta.len() <= limit).then(|| self.read_blob(digest).ok()).flatten()
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// An I/O error; also where there is no such blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        open_regular(&path).map_err(|source| StoreError::io("open", &path, source))
    }

    /// Every file in `blobs/sha256`: the digest in its name and its length.
    /// Whatever else is there comes back as paths.
    ///
    /// # Errors
    /// An I/O error.
    pub fn blobs(&self) -> Result<(BTreeMap<Digest, u64>, Vec<PathBuf>), StoreError> {
        let mut blobs = BTreeMap::new();
        let mut strangers = Vec::new();
        for entry in files::list(&self.root.join("blobs/sha256"))? {
            let name = entry.file_name();
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(StoreError::io("look at", &entry.path(), source)),
            };
            match name.to_str().and_then(|name| name.parse::<Digest>().ok()) {
                Some(digest) if meta.is_file() && entry.path() == self.blob_path(&digest) => {
                    blobs.insert(digest, meta.len());
                }
                _ => strangers.push(entry.path()),
            }
        }
        Ok((blobs, strangers))
    }

    /// Downloads that were cut short: digest and bytes kept of each.
    ///
    /// # Errors
    /// An I/O error.
    pub fn partials(&self) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut partials = BTreeMap::new();
        for entry in files::list(&self.private("partial"))? {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.parse::<Digest>().ok());
            if let (Some(digest), Ok(meta)) = (digest, entry.metadata()) {
                partials.insert(digest, meta.len());
            }
        }
        Ok(partials)
    }

    /// Bytes that an unprivileged process may still write to the store's file
    /// system.
    ///
    /// # Errors
    /// An I/O error.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|error| StoreError::io("measure", &self.root, error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The newest `updated` accepted for each content id, by state file and
    /// current snapshot alike, whichever is newer. A snapshot that cannot be
    /// read is done without where there is a state: that is written first, so
    /// it is never the older of the two.
    ///
    /// # Errors
    /// [`StoreError`] where the state cannot be read, or neither can.
    pub fn newest_updated(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let mut newest = state::read_newest(&self.private(state::NEWEST))?;
        match self.current() {
            Ok(Some(current)) => state::merge(&mut newest, &current.content.updated),
            Ok(None) => {}
            // The state is written before `index.json`, so it is no older: a
            // sync can mend a damaged description.
            Err(StoreError::Damaged { .. } | StoreError::Io { .. }) if !newest.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(newest)
    }

    fn private(&self, name: &str) -> PathBuf {
        self.root.join(".maas-mirror").join(name)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let layout = self.root.join("oci-layout");
        match files::read_optional(&layout)? {
            Some(bytes) => layout::check_layout(&layout, &bytes)?,
            None if is_empty(&self.root)? => return Err(StoreError::Missing(self.root.clone())),
            None => return Err(StoreError::NotAStore(self.root.clone())),
        }
        // A store that was copied without our private folder (a layout made
        // by another tool, a restored backup) is format 1 with no state.
        let path = self.private("format");
        let Some(text) = files::read_optional(&path)? else {
            return Ok(());
        };
        match String::from_utf8_lossy(&text).trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            Ok(found) => {
                Err(StoreError::NewerFormat { path: self.root.clone(), found, known: FORMAT })
            }
            Err(_) => Err(StoreError::Damaged { path, reason: "it is not a number".into() }),
        }
    }

    /// `oci-layout` is written last: until then the folder is not a store, and
    /// an interrupted start is taken up again by [`is_empty`].
    ///
    /// Under the lock: of two that make one store, the slower would otherwise
    /// put its empty list of snapshots over what the faster has published.
    fn create(&self) -> Result<(), StoreError> {
        files::create_dir(&self.root.join(".maas-mirror"))?;
        let _lock = match lock::Lock::take(&self.private("lock"), "maas-mirror") {
            Ok(lock) => lock,
            Err(locked @ StoreError::Locked { .. }) => return self.wait_until_made(locked),
            Err(error) => return Err(error),
        };
        if self.check_format().is_ok() {
            return Ok(());
        }
        files::create_dir(&self.private("partial"))?;
        files::create_dir(&self.root.join("blobs/sha256"))?;
        files::write_atomically(&self.private("format"), format!("{FORMAT}\n").as_bytes())?;
        // A store that lost its `oci-layout` keeps its snapshots.
        let index = self.root.join("index.json");
        if files::read_optional(&index)?.is_none() {
            let empty = layout::Index::new(Vec::new(), BTreeMap::new());
            files::write_atomically(&index, &layout::to_bytes(&empty))?;
        }
        files::write_atomically(&self.root.join("oci-layout"), layout::LAYOUT.as_bytes())
    }

    /// Waits, for a moment, until the holder of the lock has made the store.
    fn wait_until_made(&self, locked: StoreError) -> Result<(), StoreError> {
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            if self.check_format().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(locked)
    }
}

impl Writer {
    /// The store that this writes to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Whether `root` is absent or holds nothing but what [`Store::create`] makes.
fn is_empty(root: &Path) -> Result<bool, StoreError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(StoreError::io("read", root, source)),
    };
    for entry in entries {
        let name = entry.map_err(|source| StoreError::io("read", root, source))?.file_name();
        // Those that end in `.new` are what a crash leaves of a file that was
        // being written; a fresh ext4 volume brings its lost+found.
        let ours = [
            "blobs",
            "index.json",
            "index.json.new",
            "oci-layout.new",
            ".maas-mirror",
            "lost+found",
        ];
        if !ours.iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}
