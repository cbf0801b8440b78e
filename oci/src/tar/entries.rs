//! An archive, entry by entry.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use super::header::{BLOCK, Header, Kind, decode, padding};
use super::{ArchiveError, MAX_ENTRIES, MAX_TRAILER, pax};
use crate::digest::Digest;

/// Where an archive is read from, from its first byte on.
pub enum Input {
    /// A file, in which what is not wanted is passed over.
    File {
        /// The file.
        file: File,
        /// The next byte to be read.
        at: u64,
    },
    /// Anything else.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::File { file, at } => {
                let read = file.read_at(buffer, *at)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

/// What the name of an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `oci-layout`.
    Layout,
    /// `index.json`.
    Index,
    /// `blobs/sha256/<64 hex>`.
    Blob(Digest),
    /// What `docker save` writes beside these, for its own older versions.
    Docker(&'static str),
    /// A folder that a layout has.
    Folder(&'static str),
    /// A file that the reader knows beside these.
    Other(&'static str),
}

impl Name {
    fn of(name: &str, kind: Kind, others: &[&'static str]) -> Option<Self> {
        let plain = name.strip_prefix("./").unwrap_or(name);
        if kind == Kind::Folder {
            let folders = ["", ".", "blobs", "blobs/sha256"];
            let plain = plain.strip_suffix('/').unwrap_or(plain);
            return folders.into_iter().find(|known| *known == plain).map(Self::Folder);
        }
        if let Some(hex) = plain.strip_prefix("blobs/sha256/") {
            let digest: Digest = hex.parse().ok()?;
            // One spelling of each: no second name for a blob.
            return (digest.to_string() == hex).then_some(Self::Blob(digest));
        }
        match plain {
            "oci-layout" => Some(Self::Layout),
            "index.json" => Some(Self::Index),
            "manifest.json" => Some(Self::Docker("manifest.json")),
            "repositories" => Some(Self::Docker("repositories")),
            _ => others.iter().find(|known| **known == plain).map(|known| Self::Other(known)),
        }
    }
}

/// A regular file in an archive.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its length.
    pub size: u64,
    /// Where its content starts in the archive.
    pub offset: u64,
}

/// Reads an archive from its first byte to its last. Every name and size is
/// judged before it comes out of here.
pub struct Entries {
    input: Input,
    /// Bytes read or passed over so far.
    position: u64,
    /// Content of the entry at hand that was not read yet.
    left: u64,
    padding: usize,
    seen: HashSet<Name>,
    others: &'static [&'static str],
    ended: bool,
}

impl Entries {
    /// Reads the archive of an image layout.
    #[must_use]
    pub fn new(input: Input) -> Self {
        Self {
            input,
            position: 0,
            left: 0,
            padding: 0,
            seen: HashSet::new(),
            others: &[],
            ended: false,
        }
    }

    /// Lets files of these names through too.
    #[must_use]
    pub fn knowing(mut self, others: &'static [&'static str]) -> Self {
        self.others = others;
        self
    }

    /// The next regular file; `None` at the end, which must be one.
    ///
    /// # Errors
    /// [`ArchiveError`].
    #[expect(clippy::should_implement_trait, reason = "an iterator goes on after an error")]
    pub fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        self.pass_over()?;
        let mut pax_size = None;
        loop {
            let offset = self.position;
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block == [0; BLOCK] {
                if pax_size.is_some() {
                    return Err(ArchiveError::Stray { offset });
                }
                self.end()?;
                return Ok(None);
            }
            let header = decode(&block, offset)?;
            if header.kind == Kind::Pax {
                if pax_size.is_some() {
                    return Err(ArchiveError::entry(&header.name, "it has two sets of records"));
                }
                pax_size = Some(self.records(&header)?);
                continue;
            }
            let size = pax_size.take().flatten().unwrap_or(header.size);
            if let Some(name) = self.judge(&header, size)? {
                (self.left, self.padding) = (size, padding(size));
                return Ok(Some(Entry { name, size, offset: self.position }));
            }
        }
    }

    /// The name of a file; `None` for a folder.
    fn judge(&mut self, header: &Header, size: u64) -> Result<Option<Name>, ArchiveError> {
        let refused = |reason| Err(ArchiveError::entry(&header.name, reason));
        let Some(name) = Name::of(&header.name, header.kind, self.others) else {
            return refused("no file of that name is in a bundle");
        };
        if !self.seen.insert(name) {
            return refused("it is there twice");
        }
        if self.seen.len() > MAX_ENTRIES {
            return Err(ArchiveError::TooMany { limit: MAX_ENTRIES });
        }
        match name {
            Name::Folder(_) if size > 0 => refused("it is a folder, and has content"),
            Name::Folder(_) => Ok(None),
            _ => Ok(Some(name)),
        }
    }

    /// Reads the records before an entry.
    fn records(&mut self, header: &Header) -> Result<Option<u64>, ArchiveError> {
        if header.size > pax::MAX_PAX {
            return Err(ArchiveError::entry(&header.name, "its records are too long"));
        }
        let mut records = vec![0; usize::try_from(header.size).unwrap_or(0)];
        self.fill(&mut records)?;
        self.padding = padding(header.size);
        self.pass_over()?;
        pax::size(&header.name, &records)
    }

    /// Reads content of the entry at hand; 0 at its end.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.some(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }

    /// Leaves the rest of the entry at hand.
    fn pass_over(&mut self) -> Result<(), ArchiveError> {
        let left = std::mem::take(&mut self.left);
        if let Input::File { file, at } = &mut self.input {
            let length = file.metadata().map_err(ArchiveError::Io)?.len();
            let target = at.saturating_add(left);
            if target > length {
                return Err(ArchiveError::Truncated { offset: length });
            }
            *at = target;
            self.position = target;
        } else {
            let mut scratch = vec![0; 256 * 1024];
            let mut left = left;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
                let read = self.some(scratch.get_mut(..most).unwrap_or_default())?;
                left -= read as u64;
            }
        }
        let mut zeros = [0; BLOCK];
        let offset = self.position;
        let length = std::mem::take(&mut self.padding);
        let zeros = zeros.get_mut(..length).unwrap_or_default();
        self.fill(zeros)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Stray { offset });
        }
        Ok(())
    }

    /// What follows the first block of zeros: another, and no more than the
    /// zeros that tar fills its last record with.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK];
        let offset = self.position;
        self.fill(&mut block)?;
        if block != [0; BLOCK] {
            return Err(ArchiveError::Stray { offset });
        }
        let mut trailer = 0;
        loop {
            let offset = self.position;
            match self.input.read(&mut block) {
                Ok(0) => break,
                Ok(read) => {
                    self.position += read as u64;
                    trailer += read;
                    let zeros = block.get(..read).unwrap_or_default().iter().all(|byte| *byte == 0);
                    if !zeros || trailer > MAX_TRAILER {
                        return Err(ArchiveError::Stray { offset });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Io(error)),
            }
        }
        self.ended = true;
        Ok(())
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), ArchiveError> {
        while !buffer.is_empty() {
            let read = self.some(buffer)?;
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads at least one byte; `buffer` is not empty.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.input.read(buffer) {
                Ok(0) => return Err(ArchiveError::Truncated { offset: self.position }),
                Ok(read) => {
                    self.position += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Io(error)),
            }
        }
    }

    /// The file that is read, where it is one.
    #[must_use]
    pub fn into_file(self) -> Option<File> {
        match self.input {
            Input::File { file, .. } => Some(file),
            Input::Stream(_) => None,
        }
    }
}
