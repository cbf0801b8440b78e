//! Where a bundle is written to.
//!
//! An archive is packed by one thread, which reads and hashes each blob, and
//! hashed as a whole and written by another. A file is written beside its
//! place, under `NAME.new`, and gets its name when it is whole and synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::tar::{END, encode, padding};
use super::{BundleError, Piece};
use crate::simplestreams::{Digest, Hasher};

/// Bytes that pass from one thread to the other at once, and how many times.
const CHUNK: usize = 1024 * 1024;
const QUEUE: usize = 4;

/// Where to write a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An archive, or several beside each other where it is split.
    File(PathBuf),
    /// The folder of an OCI image layout.
    Folder(PathBuf),
    /// An archive, on the program's standard output.
    Stdout,
}

/// Takes the files of a layout, one after the other.
pub(super) trait Pack {
    /// A file whose bytes are known.
    fn known(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError>;
    /// A blob that is read now. Its digest is checked.
    fn blob(&mut self, piece: &Piece, from: &mut dyn Read) -> Result<(), BundleError>;
}

/// Packs an archive into `out`. Returns its digest and length, and `out`.
pub(super) fn archive<W: Write + Send>(
    out: W,
    path: &Path,
    wrote: &(dyn Fn(u64) + Sync),
    fill: impl FnOnce(&mut dyn Pack) -> Result<(), BundleError>,
) -> Result<(Digest, u64, W), BundleError> {
    let (sender, receiver) = sync_channel(QUEUE);
    let (give_back, pool) = sync_channel(QUEUE + 1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_out(out, receiver, &give_back, wrote));
        let mut tar = Tar { buffer: Vec::with_capacity(CHUNK), sender, pool };
        let filled = fill(&mut tar).and_then(|()| tar.end());
        // The writer ends when nothing more can come.
        drop(tar);
        let written = match writer.join() {
            Ok(written) => written.map_err(|error| BundleError::io("write", path, error)),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // Why it could not be written is the better reason of the two.
        let (digest, length, out) = written?;
        filled?;
        Ok((digest, length, out))
    })
}

fn write_out<W: Write>(
    mut out: W,
    chunks: Receiver<Vec<u8>>,
    give_back: &SyncSender<Vec<u8>>,
    wrote: &(dyn Fn(u64) + Sync),
) -> io::Result<(Digest, u64, W)> {
    let mut hasher = Hasher::default();
    let mut length = 0;
    for mut chunk in chunks {
        out.write_all(&chunk)?;
        hasher.update(&chunk);
        length += chunk.len() as u64;
        wrote(chunk.len() as u64);
        chunk.clear();
        // There is room for all that are on the way.
        let _ = give_back.try_send(chunk);
    }
    out.flush()?;
    Ok((hasher.finish(), length, out))
}

struct Tar {
    buffer: Vec<u8>,
    sender: SyncSender<Vec<u8>>,
    pool: Receiver<Vec<u8>>,
}

impl Tar {
    fn ship(&mut self) -> Result<(), BundleError> {
        let next = self.pool.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let full = std::mem::replace(&mut self.buffer, next);
        // The writer hangs up only when it has failed; it says why.
        self.sender.send(full).map_err(|_| {
            BundleError::io("write", Path::new("the archive"), io::ErrorKind::BrokenPipe.into())
        })
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), BundleError> {
        while !bytes.is_empty() {
            let room = CHUNK.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() >= CHUNK {
                self.ship()?;
            }
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<(), BundleError> {
        self.put(END.get(..padding(size)).unwrap_or_default())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        self.put(&END)?;
        if self.buffer.is_empty() { Ok(()) } else { self.ship() }
    }
}

impl Pack for Tar {
    fn known(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let size = bytes.len() as u64;
        self.put(&encode(name, size))?;
        self.put(bytes)?;
        self.pad(size)
    }

    fn blob(&mut self, piece: &Piece, from: &mut dyn Read) -> Result<(), BundleError> {
        self.put(&encode(&super::plan::blob_name(&piece.digest), piece.size))?;
        let mut hasher = Hasher::default();
        let mut left = piece.size;
        while left > 0 {
            let room = CHUNK.saturating_sub(self.buffer.len()).max(1) as u64;
            let start = self.buffer.len();
            let read = from.take(room.min(left)).read_to_end(&mut self.buffer);
            let read = read.map_err(|error| unreadable(piece, error))?;
            if read == 0 {
                return Err(damaged(piece));
            }
            hasher.update(self.buffer.get(start..).unwrap_or_default());
            left = left.saturating_sub(read as u64);
            if self.buffer.len() >= CHUNK {
                self.ship()?;
            }
        }
        check(piece, hasher)?;
        self.pad(piece.size)
    }
}

/// Writes a layout into a folder.
pub(super) struct Folder<'a> {
    pub(super) root: &'a Path,
    pub(super) wrote: &'a (dyn Fn(u64) + Sync),
}

impl Folder<'_> {
    /// Writes a file whose bytes are known.
    pub(super) fn small(&self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let path = self.root.join(name);
        self.write(name, |file| {
            file.write_all(bytes).map_err(|error| BundleError::io("write", &path, error))
        })
    }

    fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        let path = self.root.join(name);
        let mut temporary =
            File::create(beside(&path)).map_err(|error| BundleError::io("write", &path, error))?;
        fill(&mut temporary)?;
        temporary.sync_data().map_err(|error| BundleError::io("sync", &path, error))?;
        fs::rename(beside(&path), &path).map_err(|error| BundleError::io("rename to", &path, error))
    }
}

impl Pack for Folder<'_> {
    fn known(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        (self.wrote)(bytes.len() as u64);
        // What lists the others comes last.
        if name == "index.json" { Ok(()) } else { self.small(name, bytes) }
    }

    fn blob(&mut self, piece: &Piece, from: &mut dyn Read) -> Result<(), BundleError> {
        let name = super::plan::blob_name(&piece.digest);
        self.write(&name, |file| {
            let path = self.root.join(&name);
            let mut buffer = vec![0; CHUNK];
            let mut hasher = Hasher::default();
            let mut left = piece.size;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let read = from.read(buffer.get_mut(..most).unwrap_or_default());
                let read = read.map_err(|error| unreadable(piece, error))?;
                let bytes = buffer.get(..read).filter(|bytes| !bytes.is_empty());
                let bytes = bytes.ok_or_else(|| damaged(piece))?;
                file.write_all(bytes).map_err(|error| BundleError::io("write", &path, error))?;
                hasher.update(bytes);
                left -= read as u64;
                (self.wrote)(read as u64);
            }
            check(piece, hasher)
        })
    }
}

fn check(piece: &Piece, hasher: Hasher) -> Result<(), BundleError> {
    if hasher.finish() == piece.digest { Ok(()) } else { Err(damaged(piece)) }
}

pub(super) fn damaged(piece: &Piece) -> BundleError {
    BundleError::Damaged { path: piece.path.to_string(), digest: piece.whole() }
}

/// A source of its own kind of errors hands them through as such.
fn unreadable(piece: &Piece, error: io::Error) -> BundleError {
    match error.downcast::<BundleError>() {
        Ok(error) => error,
        Err(error) => BundleError::io("read the content of", Path::new(piece.path.as_str()), error),
    }
}

/// A file under its temporary name; removed, unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Makes it, in the place of what a killed run left.
    pub(super) fn create(path: &Path) -> Result<(Self, File), BundleError> {
        let temporary = beside(path);
        let failed = |error| BundleError::io("write", &temporary, error);
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let file = options.open(&temporary).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BundleError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        Ok((Self { path: path.to_owned(), kept: false }, file))
    }

    /// Gives it its name.
    pub(super) fn keep(mut self) -> Result<(), BundleError> {
        let renamed = fs::rename(beside(&self.path), &self.path);
        renamed.map_err(|error| BundleError::io("rename to", &self.path, error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(beside(&self.path));
        }
    }
}

pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Makes names in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), BundleError> {
    let folder = folder_of(path);
    let synced = File::open(&folder).and_then(|dir| dir.sync_all());
    synced.map_err(|error| BundleError::io("sync", &folder, error))
}

pub(super) fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}
