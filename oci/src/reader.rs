//! An image layout that lies there to be read: an archive, or a folder.
//!
//! An archive is read through once for its headers; then each blob is found by
//! its digest. Several may be read at once.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::digest::{Digest, Hasher};
use crate::layout::{self, LayoutError};
use crate::registry::MAX_MANIFEST;
use crate::tar::{ArchiveError, Entries, Entry, Input, Name, Place};

/// Bytes of `index.json`, and of a file beside it.
const MAX_TOP: u64 = 4 * 1024 * 1024;

/// Not through links, and nothing that an open would wait for.
const NO_TRICKS: i32 = (OFlags::NOFOLLOW.bits() | OFlags::NONBLOCK.bits()).cast_signed();

/// Why a layout cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The archive is damaged, or not one.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Something that every layout has.
    #[error("it has no {0}: it is not an OCI image layout")]
    Lacks(&'static str),
    /// A specification that is not known.
    #[error("its oci-layout cannot be used")]
    Layout(#[from] LayoutError),
    /// A blob that something names.
    #[error("it does not hold {0:?}")]
    NoBlob(Digest),
    /// Content that is not what its name says.
    #[error("the content of {0:?} is not what its digest says")]
    WrongBlob(Digest),
    /// A file that describes others is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        what: String,
        /// The limit.
        limit: u64,
    },
}

impl ReadError {
    /// Whether what is there is not what it should be; else it could not be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Archive(ArchiveError::Io(_)))
    }
}

/// An image layout.
#[derive(Debug)]
pub struct LayoutReader {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Archive {
        file: Arc<File>,
        index: Place,
        others: BTreeMap<&'static str, Place>,
        blobs: BTreeMap<Digest, Place>,
    },
    Folder,
}

impl LayoutReader {
    /// Opens an archive or a folder; `others` are files that may stand beside
    /// those of a layout.
    ///
    /// # Errors
    /// [`ReadError`] says what is wrong with its structure.
    pub fn open(path: &Path, others: &'static [&'static str]) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io { path: path.to_owned(), source };
        let path_owned = path.to_owned();
        if std::fs::metadata(path).map_err(failed)?.is_dir() {
            let reader = Self { path: path_owned, kind: Kind::Folder };
            layout::check_layout(
                &reader.small("oci-layout")?.ok_or(ReadError::Lacks("oci-layout"))?,
            )?;
            return Ok(reader);
        }
        let file = File::open(path).map_err(failed)?;
        Ok(Self { path: path_owned, kind: scan(file, others)? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of `index.json`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn index(&self) -> Result<Vec<u8>, ReadError> {
        match &self.kind {
            Kind::Archive { file, index, .. } => self.whole(file, *index, "index.json", MAX_TOP),
            Kind::Folder => self.small("index.json")?.ok_or(ReadError::Lacks("index.json")),
        }
    }

    /// A file beside those of a layout; `None` where it is not there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn other(&self, name: &'static str) -> Result<Option<Vec<u8>>, ReadError> {
        match &self.kind {
            Kind::Archive { file, others, .. } => {
                let place = others.get(name);
                place.map(|place| self.whole(file, *place, name, MAX_TOP)).transpose()
            }
            Kind::Folder => self.small(name),
        }
    }

    /// The length of a blob; `None` where it is not there.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        match &self.kind {
            Kind::Archive { blobs, .. } => blobs.get(digest).map(|place| place.size),
            Kind::Folder => {
                let file = std::fs::symlink_metadata(self.blob_path(digest)).ok()?;
                file.is_file().then_some(file.len())
            }
        }
    }

    /// A blob whole; its content is what its digest says.
    ///
    /// # Errors
    /// [`ReadError`], where it is longer than `limit` too.
    pub fn blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ReadError> {
        let size = self.size(digest).ok_or(ReadError::NoBlob(*digest))?;
        if size > limit {
            return Err(ReadError::TooLarge { what: format!("{digest:?}"), limit });
        }
        let mut bytes = Vec::new();
        let failed = |source| ReadError::Io { path: self.path.clone(), source };
        self.open_blob(digest)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(ReadError::WrongBlob(*digest)) }
    }

    /// A manifest or an index whole; as [`LayoutReader::blob`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        self.blob(digest, MAX_MANIFEST)
    }

    /// A blob to be read. Its content is not judged yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open_blob(&self, digest: &Digest) -> Result<Piece, ReadError> {
        match &self.kind {
            Kind::Archive { file, blobs, .. } => {
                let place = blobs.get(digest).ok_or(ReadError::NoBlob(*digest))?;
                Ok(Piece::new(Arc::clone(file), *place))
            }
            Kind::Folder => {
                let path = self.blob_path(digest);
                let file = open_regular(&path).map_err(|source| match source.kind() {
                    io::ErrorKind::NotFound => ReadError::NoBlob(*digest),
                    _ => ReadError::Io { path: path.clone(), source },
                })?;
                let size = file.metadata().map_err(|source| ReadError::Io { path, source })?.len();
                Ok(Piece::new(Arc::new(file), Place { offset: 0, size }))
            }
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.to_string())
    }

    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.path.join(name);
        let failed = |source| ReadError::Io { path: path.clone(), source };
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let size = file.metadata().map_err(failed)?.len();
        self.whole(&file, Place { offset: 0, size }, name, MAX_TOP).map(Some)
    }

    fn whole(
        &self,
        file: &File,
        place: Place,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        if place.size > limit {
            return Err(ReadError::TooLarge { what: what.to_owned(), limit });
        }
        let mut bytes = vec![0; usize::try_from(place.size).unwrap_or(0)];
        let read = file.read_exact_at(&mut bytes, place.offset);
        read.map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}

/// Reads the headers of a whole archive.
fn scan(file: File, others: &'static [&'static str]) -> Result<Kind, ReadError> {
    let mut entries = Entries::new(Input::File { file, at: 0 }).knowing(others);
    let (mut layout, mut index, mut blobs) = (None, None, BTreeMap::new());
    let mut beside = BTreeMap::new();
    while let Some(Entry { name, size, offset }) = entries.next()? {
        let place = Place { offset, size };
        match name {
            Name::Layout => layout = Some(place),
            Name::Index => index = Some(place),
            Name::Blob(digest) => {
                blobs.insert(digest, place);
            }
            Name::Other(name) => {
                beside.insert(name, place);
            }
            Name::Docker(_) | Name::Folder(_) => {}
        }
    }
    let layout = layout.ok_or(ReadError::Lacks("oci-layout"))?;
    let index = index.ok_or(ReadError::Lacks("index.json"))?;
    let file = Arc::new(entries.into_file().ok_or(ReadError::Lacks("oci-layout"))?);
    let mut text = Vec::new();
    let read = Piece::new(Arc::clone(&file), layout).take(MAX_TOP).read_to_end(&mut text);
    read.map_err(ArchiveError::Io)?;
    layout::check_layout(&text)?;
    Ok(Kind::Archive { file, index, others: beside, blobs })
}

fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(NO_TRICKS).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Piece {
    file: Arc<File>,
    place: Place,
}

impl Piece {
    /// What lies at `place` of `file`.
    #[must_use]
    pub fn new(file: Arc<File>, place: Place) -> Self {
        Self { file, place }
    }

    /// Bytes that are left of it.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.place.size
    }

    /// The digest of what is left of it.
    ///
    /// # Errors
    /// The system's.
    pub fn digest(&mut self) -> io::Result<Digest> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = self.read(&mut buffer)?;
            match buffer.get(..read) {
                Some([]) | None => return Ok(hasher.finish()),
                Some(bytes) => hasher.update(bytes),
            }
        }
    }
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.place.size).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.file.read_at(buffer, self.place.offset)?;
        if read == 0 {
            // It was cut short since it was looked at.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.place.offset += read as u64;
        self.place.size -= read as u64;
        Ok(read)
    }
}
