//! A part of a blob as the body of a response, read into memory.
//!
//! For TLS, which encrypts what it sends: a mapping would be read there, so that
//! a cold page would keep a runtime thread waiting and a failing disk would
//! raise SIGBUS.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::blob::Blob;
use super::body::COLD_READS;
use super::warm::CHUNK;
use crate::verify::is_of_blob;

/// Bytes read at a time while memory allows: four TLS records, which are read,
/// encrypted and sent while they are in the processor's cache.
const LARGE: usize = 64 * 1024;
const MEDIUM: usize = 16 * 1024;
const SMALL: usize = 4 * 1024;

/// As long as clients hold less than the first, pieces are [`LARGE`]; less than
/// the second, [`MEDIUM`]. So a thousand clients that take nothing hold some
/// 40 MB, what is encrypted included, and no number of them waits for others.
const EASY: usize = 2 << 20;
const TIGHT: usize = 6 << 20;

/// Bytes that were read and not yet encrypted, over all clients.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Buffers of [`LARGE`] that nobody uses, at most [`SPARE`]: a new one would have to
/// be zeroed, and its pages taken from the kernel, each time.
static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());
const SPARE: usize = 32;

/// Set where a file system knows no `RWF_NOWAIT`.
static NO_NOWAIT: AtomicBool = AtomicBool::new(false);

/// How many bytes a connection may take into memory at a time now.
pub(in crate::serve) fn piece() -> usize {
    match HELD.load(Ordering::Relaxed) {
        0..EASY => LARGE,
        EASY..TIGHT => MEDIUM,
        _ => SMALL,
    }
}

/// A buffer that counts as held, and is used again.
#[derive(Debug)]
pub(in crate::serve) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        HELD.fetch_add(size, Ordering::Relaxed);
        let free = (size == LARGE)
            .then(|| FREE.lock().unwrap_or_else(PoisonError::into_inner).pop())
            .flatten();
        Self { bytes: free.unwrap_or_else(|| vec![0; size].into()), filled: 0 }
    }

    /// For a read of at most `length`: the size that memory allows now.
    pub(in crate::serve) fn for_read(length: u64) -> Self {
        let size = piece();
        let short = usize::try_from(length).unwrap_or(size) <= SMALL;
        Self::new(if short { SMALL } else { size })
    }

    /// The first bytes of it, `length` at the most.
    pub(in crate::serve) fn space(&mut self, length: u64) -> &mut [u8] {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.get_mut(..length).unwrap_or_default()
    }

    /// What was read into its first `filled` bytes.
    pub(in crate::serve) fn into_bytes(mut self, filled: usize) -> Bytes {
        self.filled = filled;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        if self.bytes.len() == LARGE {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < SPARE {
                free.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// Streams a range of a blob: exactly its bytes, or an error.
#[derive(Debug)]
pub(in crate::serve) struct CopiedBody {
    blob: Arc<Blob>,
    range: Range<u64>,
    /// A read by a thread that may wait.
    reading: Option<JoinHandle<io::Result<Buffer>>>,
}

impl CopiedBody {
    pub(in crate::serve) fn new(blob: Arc<Blob>, range: Range<u64>) -> Self {
        Self { blob, range, reading: None }
    }

    /// Reads on a thread that may wait.
    fn read_cold(&self) -> JoinHandle<io::Result<Buffer>> {
        let (blob, range) = (Arc::clone(&self.blob), self.range.clone());
        tokio::spawn(async move {
            let permit = Arc::clone(&COLD_READS).acquire_owned().await;
            let read = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let length = range.end - range.start;
                let mut buffer = Buffer::for_read(length);
                let space = buffer.space(length);
                blob.file().read_exact_at(space, range.start)?;
                buffer.filled = space.len();
                Ok(buffer)
            });
            read.await.map_err(io::Error::other)?
        })
    }

    /// The blob cannot be read, or ends too early: the connection is cut.
    fn damaged(&self, error: io::Error) -> io::Error {
        // Told once, not by each client.
        if is_of_blob(&error)
            && let Some(damaged_blobs) = self.blob.set_damaged()
        {
            let (blob, offset) = (self.blob.digest(), self.range.start);
            tracing::error!(%blob, offset, %error, damaged_blobs, "a blob cannot be read");
        }
        error
    }
}

/// Reads what the page cache has of `range`, at its start; `None` where that is
/// nothing.
fn read_warm(blob: &Blob, range: &Range<u64>) -> io::Result<Option<Buffer>> {
    let length = range.end - range.start;
    if NO_NOWAIT.load(Ordering::Relaxed) {
        return read_resident(blob, range);
    }
    let mut buffer = Buffer::for_read(length);
    let mut slices = [IoSliceMut::new(buffer.space(length))];
    match rustix::io::preadv2(blob.file(), &mut slices, range.start, ReadWriteFlags::NOWAIT) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short")),
        Ok(read) => {
            buffer.filled = read;
            Ok(Some(buffer))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            NO_NOWAIT.store(true, Ordering::Relaxed);
            read_resident(blob, range)
        }
        Err(error) => Err(error.into()),
    }
}

/// The same where the kernel cannot be asked not to wait: what `mincore` says is
/// in the page cache is read.
fn read_resident(blob: &Blob, range: &Range<u64>) -> io::Result<Option<Buffer>> {
    let (Some(warmth), Some(map)) = (blob.warmth(), blob.mapping()) else { return Ok(None) };
    let chunk = range.start / CHUNK;
    if !usize::try_from(chunk).is_ok_and(|chunk| warmth.is_warm(chunk, map)) {
        return Ok(None);
    }
    let length = range.end.min((chunk + 1) * CHUNK) - range.start;
    let mut buffer = Buffer::for_read(length);
    let space = buffer.space(length);
    blob.file().read_exact_at(space, range.start)?;
    buffer.filled = space.len();
    Ok(Some(buffer))
}

impl Body for CopiedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let read = match &mut self.reading {
            None => read_warm(&self.blob, &self.range),
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error))).map(Some)
            }
        };
        match read {
            Ok(Some(buffer)) => {
                self.range.start += buffer.filled as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(buffer)))))
            }
            Ok(None) => {
                self.reading = Some(self.read_cold());
                self.poll_frame(cx)
            }
            Err(error) => Poll::Ready(Some(Err(self.damaged(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}
