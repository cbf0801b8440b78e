//! Where a bundle is read from.
//!
//! Three kinds, one way to read them: first `index.json`, then the blobs that
//! describe what follows, by digest, then everything else in whatever order it
//! comes. A file is read through once for its headers alone, so that what is
//! wrong with its structure is known before anything is done; a stream is read
//! as it comes, and its metadata must come first; a folder is an OCI layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::tar::{ArchiveError, Entries, Entry, Input, Name};
use super::{BundleError, MAX_DESCRIPTION};
use crate::simplestreams::Digest;
use crate::store::layout::EMPTY_CONFIG;
use crate::store::{DescriptionError, open_regular};

/// A bundle that is open for reading.
pub struct Source {
    name: String,
    kind: Kind,
    /// What was read by [`Source::blob`], or listed by [`Source::next`].
    taken: BTreeSet<Digest>,
    /// What is at hand, of which so much is left.
    at_hand: Option<(Digest, u64)>,
}

enum Kind {
    File {
        file: File,
        index: (u64, u64),
        /// Offset and length of each blob.
        blobs: BTreeMap<Digest, (u64, u64)>,
        /// Blobs by offset, for [`Source::next`].
        order: std::vec::IntoIter<(u64, Digest)>,
        /// The next byte of the blob at hand.
        at: u64,
    },
    Stream {
        entries: Entries,
        index: Option<Vec<u8>>,
    },
    Folder {
        root: PathBuf,
        order: Option<std::vec::IntoIter<Digest>>,
        open: Option<File>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens an archive, or the folder of an OCI image layout. A pipe is read
    /// as a stream.
    ///
    /// # Errors
    /// [`BundleError`] says what is wrong with the structure of it.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let name = path.display().to_string();
        let meta = std::fs::metadata(path).map_err(|e| BundleError::io("open", path, e))?;
        if meta.is_dir() {
            for missing in ["oci-layout", "index.json", "blobs/sha256"] {
                if !path.join(missing).exists() {
                    return Err(BundleError::NotALayout { path: path.to_owned(), missing });
                }
            }
            let layout = read_small(&path.join("oci-layout"))?;
            check_layout(&layout)?;
            let kind = Kind::Folder { root: path.to_owned(), order: None, open: None };
            return Ok(Self::new(name, kind));
        }
        let file = File::open(path).map_err(|e| BundleError::io("open", path, e))?;
        if !meta.is_file() {
            return Self::stream(name, Box::new(file));
        }
        let kind = scan(file)?;
        Ok(Self::new(name, kind))
    }

    /// Reads an archive as it comes. `name` is what messages call it.
    ///
    /// # Errors
    /// [`BundleError::Order`] where the metadata does not come first.
    pub fn stream(
        name: impl Into<String>,
        stream: Box<dyn Read + Send>,
    ) -> Result<Self, BundleError> {
        // Headers and small files without a system call each.
        let stream = Box::new(io::BufReader::with_capacity(256 * 1024, stream));
        let mut entries = Entries::new(Input::Stream(stream));
        let mut index = None;
        while index.is_none() {
            match entries.next()? {
                Some(Entry { name: Name::Layout, size, .. }) => {
                    check_layout(&read_entry(&mut entries, size)?)?;
                }
                Some(Entry { name: Name::Index, size, .. }) => {
                    index = Some(read_entry(&mut entries, size)?);
                }
                Some(Entry { name: Name::Blob(_), .. }) => return Err(BundleError::Order),
                Some(_) => {}
                None => return Err(no("index.json")),
            }
        }
        Ok(Self::new(name.into(), Kind::Stream { entries, index }))
    }

    fn new(name: String, kind: Kind) -> Self {
        Self { name, kind, taken: BTreeSet::new(), at_hand: None }
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of `index.json`.
    pub(super) fn index(&mut self) -> Result<Vec<u8>, BundleError> {
        match &mut self.kind {
            Kind::File { file, index: (offset, size), .. } => read_at(file, *offset, *size),
            Kind::Stream { index, .. } => index.take().ok_or_else(|| no("index.json")),
            Kind::Folder { root, .. } => read_small(&root.join("index.json")),
        }
    }

    /// Whether a blob is in it; `None` where that is not known yet.
    pub(super) fn has(&self, digest: &Digest) -> Option<bool> {
        match &self.kind {
            Kind::File { blobs, .. } => Some(blobs.contains_key(digest)),
            Kind::Stream { .. } => None,
            Kind::Folder { root, .. } => Some(folder_blob(root, digest).is_file()),
        }
    }

    /// A blob that describes what follows, whole; its content is what its name
    /// says. Blobs must be asked for in the order in which bundles are written.
    pub(super) fn blob(
        &mut self,
        digest: &Digest,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, BundleError> {
        let missing = || BundleError::MissingBlob { digest: *digest, what: what.into() };
        let fits = |size| if size > limit { Err(too_large(what, limit)) } else { Ok(()) };
        let bytes = match &mut self.kind {
            Kind::File { file, blobs, .. } => {
                let (offset, size) = *blobs.get(digest).ok_or_else(missing)?;
                fits(size)?;
                read_at(file, offset, size)?
            }
            Kind::Folder { root, .. } => {
                let path = folder_blob(root, digest);
                let file = match open_regular(&path) {
                    Ok(file) => file,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    Err(error) => return Err(BundleError::io("open", &path, error)),
                };
                let size = file.metadata().map_err(|e| BundleError::io("read", &path, e))?.len();
                fits(size)?;
                read_at(&file, 0, size)?
            }
            Kind::Stream { entries, .. } => {
                let empty = Digest::of(EMPTY_CONFIG);
                let entry = loop {
                    match entries.next()? {
                        Some(Entry { name: Name::Blob(found), size, .. }) => {
                            if found == *digest {
                                break size;
                            }
                            // It is known without being read.
                            if found != empty {
                                return Err(BundleError::Order);
                            }
                        }
                        Some(_) => {}
                        None => return Err(missing()),
                    }
                };
                fits(entry)?;
                read_entry(entries, entry)?
            }
        };
        if Digest::of(&bytes) != *digest {
            return Err(BundleError::WrongBlob { digest: *digest });
        }
        self.taken.insert(*digest);
        Ok(bytes)
    }

    /// The next blob that was not read by [`Source::blob`], with its length;
    /// `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Digest, u64)>, BundleError> {
        let found = loop {
            let found = match &mut self.kind {
                Kind::File { blobs, order, at, .. } => order.next().map(|(offset, digest)| {
                    *at = offset;
                    (digest, blobs.get(&digest).map_or(0, |(_, size)| *size))
                }),
                Kind::Stream { entries, .. } => loop {
                    match entries.next()? {
                        Some(Entry { name: Name::Blob(digest), size, .. }) => {
                            break Some((digest, size));
                        }
                        Some(Entry { name: Name::Layout, size, .. }) => {
                            check_layout(&read_entry(entries, size)?)?;
                        }
                        Some(_) => {}
                        None => break None,
                    }
                },
                Kind::Folder { root, order, open } => {
                    let order = match order {
                        Some(order) => order,
                        None => order.insert(list(root)?.into_iter()),
                    };
                    match order.next() {
                        None => None,
                        Some(digest) => {
                            let path = folder_blob(root, &digest);
                            let failed = |error| BundleError::io("open", &path, error);
                            let file = open_regular(&path).map_err(failed)?;
                            let size = file.metadata().map_err(failed)?.len();
                            *open = Some(file);
                            Some((digest, size))
                        }
                    }
                }
            };
            if found.is_none_or(|(digest, _)| !self.taken.contains(&digest)) {
                break found;
            }
        };
        self.at_hand = found;
        Ok(found)
    }

    /// Reads the content of what [`Source::next`] gave; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        let Some((digest, left)) = &mut self.at_hand else {
            return Ok(0);
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = match &mut self.kind {
            Kind::Stream { entries, .. } => entries.read(buffer)?,
            Kind::File { file, at, .. } => {
                use std::os::unix::fs::FileExt as _;
                let read = file.read_at(buffer, *at).map_err(ArchiveError::Io)?;
                *at += read as u64;
                read
            }
            Kind::Folder { open, .. } => {
                let read = open.as_mut().map_or(Ok(0), |file| file.read(buffer));
                read.map_err(ArchiveError::Io)?
            }
        };
        if read == 0 {
            // It was cut short since it was looked at.
            return Err(BundleError::WrongBlob { digest: *digest });
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// Reads the headers of a whole archive.
fn scan(file: File) -> Result<Kind, BundleError> {
    let mut entries = Entries::new(Input::File { file, at: 0 });
    let (mut layout, mut index, mut blobs) = (false, None, BTreeMap::new());
    while let Some(Entry { name, size, offset }) = entries.next()? {
        match name {
            Name::Layout => {
                check_layout(&read_entry(&mut entries, size)?)?;
                layout = true;
            }
            Name::Index => index = Some((offset, size)),
            Name::Blob(digest) => {
                blobs.insert(digest, (offset, size));
            }
            Name::Docker(_) | Name::Folder(_) | Name::Other(_) => {}
        }
    }
    let Some(file) = entries.into_file().filter(|_| layout) else {
        return Err(no("oci-layout"));
    };
    let index = index.ok_or_else(|| no("index.json"))?;
    let mut order: Vec<_> = blobs.iter().map(|(digest, (offset, _))| (*offset, *digest)).collect();
    order.sort_unstable();
    Ok(Kind::File { file, index, blobs, order: order.into_iter(), at: 0 })
}

fn no(what: &str) -> BundleError {
    BundleError::Contradiction(format!("it has no {what}: it is not an OCI image layout"))
}

fn too_large(what: &'static str, limit: u64) -> BundleError {
    BundleError::TooLarge { what, limit }
}

fn check_layout(bytes: &[u8]) -> Result<(), BundleError> {
    crate::store::layout::check_layout(Path::new("oci-layout"), bytes).map_err(|error| {
        let source = DescriptionError::new(crate::chain(&error));
        BundleError::Description { what: "oci-layout", source }
    })
}

/// The JSON at the top of a layout is small.
const MAX_TOP: u64 = 4 * 1024 * 1024;

fn read_entry(entries: &mut Entries, size: u64) -> Result<Vec<u8>, BundleError> {
    if size > MAX_DESCRIPTION {
        return Err(too_large("a file that describes it", MAX_DESCRIPTION));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        let read = entries.read(rest)?;
        rest = rest.get_mut(read..).unwrap_or_default();
    }
    Ok(bytes)
}

fn read_at(file: &File, offset: u64, size: u64) -> Result<Vec<u8>, BundleError> {
    use std::os::unix::fs::FileExt as _;
    if size > MAX_DESCRIPTION.max(super::MAX_METADATA) {
        return Err(too_large("a file that describes it", MAX_DESCRIPTION));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset).map_err(ArchiveError::Io)?;
    Ok(bytes)
}

fn read_small(path: &Path) -> Result<Vec<u8>, BundleError> {
    let failed = |error| BundleError::io("read", path, error);
    let file = open_regular(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > MAX_TOP {
        return Err(too_large("a file at the top of the layout", MAX_TOP));
    }
    let mut bytes = Vec::new();
    file.take(MAX_TOP).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn folder_blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.to_string())
}

/// The blobs of a layout. What else lies there is not ours to judge: a store
/// is such a folder too.
fn list(root: &Path) -> Result<Vec<Digest>, BundleError> {
    let folder = root.join("blobs/sha256");
    let failed = |error| BundleError::io("read", &folder, error);
    let mut digests = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(digest) = name.to_str().and_then(|name| name.parse().ok()) {
            digests.push(digest);
        }
    }
    digests.sort_unstable();
    Ok(digests)
}
