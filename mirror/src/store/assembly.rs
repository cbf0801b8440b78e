//! Blobs that come in ranges, in any order, over several runs.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::{BlobError, StoreError, Writer, files, layout};
use crate::simplestreams::{Digest, Hasher};

/// The folder of what is being assembled, in `.maas-mirror`.
pub(super) const FOLDER: &str = "import";

/// A blob that is put together from ranges. What came survives a crash; the
/// whole gets its name in `blobs/` only when its digest holds. All methods
/// block.
#[derive(Debug)]
pub struct Assembly {
    file: File,
    path: PathBuf,
    record: PathBuf,
    target: PathBuf,
    digest: Digest,
    size: u64,
    /// First byte and length of what came, by first byte.
    came: Vec<(u64, u64)>,
}

impl Writer {
    /// Starts the blob of `digest`, or goes on with what earlier runs brought.
    ///
    /// # Errors
    /// An I/O error.
    pub fn assembly(&self, digest: Digest, size: u64) -> Result<Assembly, StoreError> {
        let folder = self.store().private(FOLDER);
        files::create_dir(&folder)?;
        let path = folder.join(digest.to_string());
        let record = folder.join(format!("{digest}.json"));
        let failed = |source| StoreError::io("write", &path, source);
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        let file = files::open(&mut options, &path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let noted = files::read_optional(&record)?;
        let came: Option<Vec<(u64, u64)>> =
            noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // A record without the bytes that it tells of is none.
        let inside = |(offset, length): &(u64, u64)| {
            offset.checked_add(*length).is_some_and(|end| end <= size)
        };
        let came = came.filter(|came| length == size && came.iter().all(inside));
        let came = came.unwrap_or_default();
        if length != size {
            // Once the file has its length, an old record would be believed.
            files::remove(&record)?;
            file.set_len(size).map_err(failed)?;
        }
        let target = self.store().blob_path(&digest);
        Ok(Assembly { file, path, record, target, digest, size, came })
    }
}

impl Assembly {
    /// Whether a range came before.
    #[must_use]
    pub fn has(&self, offset: u64, length: u64) -> bool {
        self.came.contains(&(offset, length))
    }

    /// Whether every byte came.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut sorted = self.came.clone();
        sorted.sort_unstable();
        let mut end = 0;
        for (offset, length) in sorted {
            if offset > end {
                return false;
            }
            end = end.max(offset.saturating_add(length));
        }
        end >= self.size
    }

    /// Writes bytes at their place; they count once they are noted.
    ///
    /// # Errors
    /// An I/O error.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|source| StoreError::io("write", &self.path, source))
    }

    /// Notes that a range came, durably.
    ///
    /// # Errors
    /// An I/O error.
    pub fn note(&mut self, offset: u64, length: u64) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| StoreError::io("sync", &self.path, source))?;
        self.came.push((offset, length));
        files::write_atomically(&self.record, &layout::to_bytes(&self.came))
    }

    /// Checks the digest of the whole and gives it its name. Where it does not
    /// hold, all of it is removed: which range is wrong is not known.
    ///
    /// # Errors
    /// [`BlobError::Mismatch`] or an I/O error.
    pub fn finish(mut self) -> Result<(), BlobError> {
        let actual = self.hash()?;
        if actual != self.digest {
            files::remove(&self.record)?;
            files::remove(&self.path)?;
            return Err(BlobError::Mismatch { expected: self.digest, actual });
        }
        self.file.sync_data().map_err(|source| StoreError::io("sync", &self.path, source))?;
        files::rename(&self.path, &self.target)?;
        Ok(files::remove(&self.record)?)
    }

    fn hash(&mut self) -> Result<Digest, StoreError> {
        let failed = |source| StoreError::io("read", &self.path, source);
        let mut file = files::open_regular(&self.path).map_err(failed)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            match buffer.get(..read).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => hasher.update(bytes),
                None => return Ok(hasher.finish()),
            }
        }
    }
}
