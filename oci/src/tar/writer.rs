//! An archive that is written.

use std::io::{self, Write};

use super::header::{END, encode, padding};
use crate::digest::{Digest, Hasher};

/// Writes an archive of regular files, and hashes it as a whole.
pub struct Writer<W> {
    out: W,
    hasher: Hasher,
    length: u64,
    /// Bytes of the file at hand that are still to come.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which is asked once for each piece.
    pub fn new(out: W) -> Self {
        Self { out, hasher: Hasher::default(), length: 0, left: 0, padding: 0 }
    }

    /// A file whose bytes are known. `name` has at most 100 bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end()
    }

    /// Begins a file of that length; [`Writer::write`] brings its bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        (self.left, self.padding) = (size, padding(size));
        self.put(&encode(name, size))
    }

    /// The next bytes of the file at hand.
    ///
    /// # Errors
    /// The system's, or that there are more than were announced.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(length)?;
        self.put(bytes)
    }

    /// Ends the file at hand.
    ///
    /// # Errors
    /// The system's, or that bytes are missing.
    pub fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(length());
        }
        let padding = std::mem::take(&mut self.padding);
        self.put(END.get(..padding).unwrap_or_default())
    }

    /// Ends the archive. Gives back what it was written to, its digest and its
    /// length.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> io::Result<(W, Digest, u64)> {
        self.put(&END)?;
        self.out.flush()?;
        Ok((self.out, self.hasher.finish(), self.length))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn length() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a file of another length than was announced")
}

/// What a file of so many bytes takes in an archive.
#[must_use]
pub fn packed(size: u64) -> u64 {
    (super::BLOCK as u64).saturating_add(size).saturating_add(padding(size) as u64)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::super::{Entries, Input, Name};
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(Vec::new());
        writer.file("oci-layout", b"{}").expect("write");
        let digest = Digest::of(b"abc");
        writer.begin(&format!("blobs/sha256/{digest}"), 3).expect("begin");
        writer.write(b"ab").expect("write");
        writer.write(b"c").expect("write");
        writer.end().expect("end");
        let (bytes, whole, length) = writer.finish().expect("finish");
        assert_eq!((whole, length), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(length, packed(2) + packed(3) + 1024);
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&bytes).expect("write");
        file.rewind().expect("rewind");
        let mut entries = Entries::new(Input::File { file, at: 0 });
        assert_eq!(entries.next().expect("entry").map(|entry| entry.name), Some(Name::Layout));
        let blob = entries.next().expect("entry").expect("a blob");
        assert_eq!((blob.name, blob.size), (Name::Blob(digest), 3));
        assert!(entries.next().expect("end").is_none());
    }

    #[test]
    fn lengths_must_be_those_announced() {
        let mut writer = Writer::new(Vec::new());
        writer.begin("a", 2).expect("begin");
        assert!(writer.write(b"abc").is_err());
        writer.write(b"a").expect("write");
        assert!(writer.end().is_err());
    }
}
