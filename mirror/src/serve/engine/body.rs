//! A part of a blob as the body of a response.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::blob::Blob;
use super::inflight::InFlight;
use super::warm::CHUNK;
use crate::verify::is_of_blob;

/// Warm bytes given to hyper at a time.
const PIECE: u64 = 8 * CHUNK;

/// Cold reads at a time, over all clients: enough to keep a disk busy, few
/// enough that a slow one does not take every blocking thread.
pub(super) static COLD_READS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(32)));

/// Streams a range of a blob: exactly its bytes, or an error.
#[derive(Debug)]
pub(in crate::serve) struct BlobBody {
    blob: Arc<Blob>,
    files: Arc<InFlight>,
    range: Range<u64>,
    warming: Option<JoinHandle<io::Result<()>>>,
}

impl BlobBody {
    /// The bytes `range` of `blob`, on the connection of `files`.
    pub(in crate::serve) fn new(blob: Arc<Blob>, files: Arc<InFlight>, range: Range<u64>) -> Self {
        Self { blob, files, range, warming: None }
    }

    /// The end of what can be sent now without waiting for a disk: the start,
    /// where nothing can.
    fn warm_until(&self) -> u64 {
        let (Some(warmth), Some(map)) = (self.blob.warmth(), self.blob.mapping()) else {
            return self.range.end;
        };
        let most = self.range.end.min(self.range.start + PIECE);
        let mut until = self.range.start;
        while until < most && warmth.is_warm(chunk_of(until), map) {
            until = (until / CHUNK + 1) * CHUNK;
        }
        until.min(most)
    }

    /// Reads the chunk at the start on a thread that may wait.
    fn warm_up(&self) -> JoinHandle<io::Result<()>> {
        let (blob, start) = (Arc::clone(&self.blob), self.range.start);
        tokio::spawn(async move {
            let permit = Arc::clone(&COLD_READS).acquire_owned().await;
            let read = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                read_chunk(&blob, chunk_of(start))
            });
            read.await.map_err(io::Error::other)?
        })
    }
}

fn chunk_of(offset: u64) -> usize {
    usize::try_from(offset / CHUNK).unwrap_or(usize::MAX)
}

/// Reads a chunk through the page cache, and notes that it is there.
fn read_chunk(blob: &Blob, chunk: usize) -> io::Result<()> {
    let start = chunk as u64 * CHUNK;
    let length = blob.size().saturating_sub(start).min(CHUNK);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    if let Err(error) = blob.file().read_exact_at(&mut bytes, start) {
        if is_of_blob(&error)
            && let Some(damaged_blobs) = blob.set_damaged()
        {
            let blob = blob.digest();
            tracing::error!(%blob, offset = start, %error, damaged_blobs, "a blob cannot be read");
        }
        return Err(error);
    }
    if let Some(warmth) = blob.warmth() {
        warmth.set_warm(chunk);
    }
    Ok(())
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let until = match &mut self.warming {
            None => match self.warm_until() {
                until if until > self.range.start => until,
                _ => {
                    self.warming = Some(self.warm_up());
                    return self.poll_frame(cx);
                }
            },
            Some(warming) => {
                let read = ready!(Pin::new(warming).poll(cx));
                self.warming = None;
                if let Err(error) = read.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    return Poll::Ready(Some(Err(error)));
                }
                // What was just read is sent, whatever a probe would say.
                self.range.end.min((self.range.start / CHUNK + 1) * CHUNK)
            }
        };
        let (start, length) = (self.range.start, until - self.range.start);
        self.range.start = until;
        let place = usize::try_from(start).and_then(|s| Ok(s..usize::try_from(until)?));
        let bytes = match place {
            Ok(place) => self.blob.slice(place),
            Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
        };
        if self.blob.mapping().is_some() {
            self.files.add(&self.blob, length);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}
