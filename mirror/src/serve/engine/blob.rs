//! An open blob.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use memmap2::Mmap;

use super::damage::Damage;
use super::warm::{Warmth, seconds};
use crate::simplestreams::Digest;
use crate::store::{Store, open_regular};
use crate::verify::is_of_blob;

/// Blobs up to this size are sent from memory, head and body in one write.
const SMALL: u64 = 32 * 1024;

/// A blob, opened and mapped.
#[derive(Debug)]
pub(in crate::serve) struct Blob {
    digest: Digest,
    size: u64,
    file: File,
    content: Content,
    /// Device, inode and length of the file that was opened.
    identity: (u64, u64, u64),
    /// When the name was last found to be that file's, in [`seconds`].
    checked: AtomicU32,
    /// Set when the file turned out shorter than it was when it was opened.
    damaged: AtomicBool,
    /// Whom to tell.
    damage: Arc<Damage>,
}

#[derive(Debug)]
enum Content {
    /// The whole of a small blob.
    Memory(Bytes),
    /// The addresses of a large one, and which parts the page cache has.
    Mapped { map: Mmap, warmth: Warmth },
}

impl Blob {
    /// Opens a blob and checks its length, and tells `damage` of one that is not
    /// as it should be. Blocks.
    pub(super) fn open(
        path: &Path,
        digest: Digest,
        size: u64,
        damage: &Arc<Damage>,
    ) -> io::Result<Self> {
        let opened = Self::open_whole(path, digest, size, damage);
        match &opened {
            Ok(_) => damage.opened(&digest),
            Err(error) if is_of_blob(error) => {
                if let Some(damaged_blobs) = damage.report(digest) {
                    tracing::error!(blob = %digest, %error, damaged_blobs, "a blob is damaged");
                }
            }
            Err(_) => {}
        }
        opened
    }

    fn open_whole(
        path: &Path,
        digest: Digest,
        size: u64,
        damage: &Arc<Damage>,
    ) -> io::Result<Self> {
        let file = open_regular(path)?;
        let meta = file.metadata()?;
        let length = meta.len();
        if length != size {
            let text = format!("it has {length} bytes and should have {size}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let content = if size <= SMALL {
            Content::Memory(read_whole(&file, size)?)
        } else {
            let warmth = Warmth::new(&file, size)?;
            Content::Mapped { map: map(&file)?, warmth }
        };
        let (identity, checked) = (identity(&meta), AtomicU32::new(seconds()));
        let (damaged, damage) = (AtomicBool::new(false), Arc::clone(damage));
        Ok(Self { digest, size, file, content, identity, checked, damaged, damage })
    }

    pub(in crate::serve) fn digest(&self) -> Digest {
        self.digest
    }

    pub(in crate::serve) fn size(&self) -> u64 {
        self.size
    }

    /// Whether its content is not in memory.
    pub(in crate::serve) fn is_large(&self) -> bool {
        matches!(self.content, Content::Mapped { .. })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn warmth(&self) -> Option<&Warmth> {
        match &self.content {
            Content::Memory(_) => None,
            Content::Mapped { warmth, .. } => Some(warmth),
        }
    }

    pub(super) fn mapping(&self) -> Option<&Mmap> {
        match &self.content {
            Content::Memory(_) => None,
            Content::Mapped { map, .. } => Some(map),
        }
    }

    /// A part of the content, as addresses that keep the blob open.
    pub(super) fn slice(self: &Arc<Self>, range: Range<usize>) -> Bytes {
        match &self.content {
            Content::Memory(bytes) => bytes.slice(range),
            Content::Mapped { .. } => Bytes::from_owner(Addresses(Arc::clone(self))).slice(range),
        }
    }

    /// Whether the store still has this very file under the blob's name: one
    /// that was repaired has another. Looks once a second.
    pub(super) fn is_current(&self, store: &Store) -> bool {
        let now = seconds();
        if self.checked.load(Ordering::Relaxed) == now {
            return true;
        }
        // A name that is in use is in the kernel's cache: this asks no disk.
        let meta = std::fs::metadata(store.blob_path(&self.digest));
        let same = meta.is_ok_and(|meta| identity(&meta) == self.identity);
        if same {
            self.checked.store(now, Ordering::Relaxed);
        }
        same
    }

    /// The file turned out shorter, or cannot be read: it is not served again,
    /// and moved away. As [`Damage::report`], for the one line in the log.
    pub(super) fn set_damaged(&self) -> Option<u64> {
        self.damaged.store(true, Ordering::Relaxed);
        self.damage.report(self.digest)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

fn identity(meta: &Metadata) -> (u64, u64, u64) {
    (meta.dev(), meta.ino(), meta.len())
}

/// The owner behind a [`Bytes`] that points into a mapping.
struct Addresses(Arc<Blob>);

impl AsRef<[u8]> for Addresses {
    fn as_ref(&self) -> &[u8] {
        self.0.mapping().map_or(&[], |map| map.as_ref())
    }
}

fn read_whole(file: &File, size: u64) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.into())
}

/// Maps a blob for its addresses.
#[allow(unsafe_code, reason = "a mapping has no safe constructor")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the danger of a mapping is that the file changes under it. Blobs
    // are immutable: written once, under another name, and renamed; the store
    // has one owner. Should somebody truncate one all the same, plain HTTP does
    // not notice, as it never reads the mapping: `sendfile` reads the file.
    unsafe { Mmap::map(file) }
}
