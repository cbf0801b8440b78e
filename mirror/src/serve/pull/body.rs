//! A part of an item that is still arriving, as the body of a response.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::sync::{Semaphore, watch};

use super::item::Progress;
use super::{HELD_BACK, Pull};

/// Bytes given to hyper at a time.
const PIECE: u64 = 64 * 1024;

/// Reads at a time that wait for the disk. What has just been written is in
/// the page cache; a client that is slow, or a file system that cannot tell,
/// comes here.
static COLD_READS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(16)));

/// What the bodies of one response share: the pass that its bytes are of.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Arriving {
    pull: Arc<Pull>,
    sent_of: Arc<OnceLock<u32>>,
}

impl Arriving {
    /// For one response.
    pub(in crate::serve) fn new(pull: Arc<Pull>) -> Self {
        Self { pull, sent_of: Arc::default() }
    }

    /// The bytes `range`; `last` where they end the response, which then keeps
    /// some back.
    pub(in crate::serve) fn body(&self, range: Range<u64>, last: bool) -> ArrivingBody {
        let kept_back = if last { HELD_BACK } else { 0 };
        let reader = Reader {
            progress: self.pull.watch(),
            sent_of: Arc::clone(&self.sent_of),
            until: range.end.saturating_sub(kept_back).max(range.start),
            range: range.clone(),
        };
        ArrivingBody { left: range.end - range.start, state: State::Idle(reader) }
    }
}

/// Streams a range of an item as it arrives: exactly its bytes, or an error,
/// which cuts the connection.
pub(in crate::serve) struct ArrivingBody {
    left: u64,
    state: State,
}

type Reading = Pin<Box<dyn Future<Output = (Reader, io::Result<Bytes>)> + Send>>;

enum State {
    Idle(Reader),
    Reading(Reading),
    Ended,
}

impl std::fmt::Debug for ArrivingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivingBody").field("left", &self.left).finish_non_exhaustive()
    }
}

struct Reader {
    progress: watch::Receiver<Progress>,
    sent_of: Arc<OnceLock<u32>>,
    range: Range<u64>,
    /// Until the digest holds, nothing from here on is sent.
    until: u64,
}

impl Reader {
    /// The next bytes, once they are there.
    async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let now = self.progress.borrow_and_update().clone();
            self.check_pass(now.pass)?;
            // What is whole is right, even where it could then not be kept.
            if now.end.is_some() && !now.whole {
                return Err(io::Error::other("the item could not be pulled"));
            }
            let ready = if now.whole { self.range.end } else { now.available.min(self.until) };
            if self.range.start >= ready {
                let changed = self.progress.changed().await;
                changed.map_err(|_| io::Error::other("the pull is gone"))?;
                continue;
            }
            let Some(file) = now.file else {
                return Err(io::Error::other("what arrives cannot be read"));
            };
            let length = (ready - self.range.start).min(PIECE);
            let bytes = read(&file, self.range.start, length).await?;
            // What was read meanwhile may be of another pass.
            if self.progress.borrow().pass != now.pass {
                continue;
            }
            if *self.sent_of.get_or_init(|| now.pass) != now.pass {
                continue;
            }
            self.range.start += bytes.len() as u64;
            return Ok(bytes);
        }
    }

    /// Bytes of two passes must not meet in one response: only the last of
    /// them was checked.
    fn check_pass(&self, pass: u32) -> io::Result<()> {
        match self.sent_of.get() {
            Some(sent_of) if *sent_of != pass => {
                Err(io::Error::other("the item is fetched from its first byte again"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads up to `length` bytes: what the page cache has at once, the rest on a
/// thread that may wait.
async fn read(file: &Arc<File>, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let read = rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT);
    let read = match read {
        Ok(read) if read > 0 => read,
        _ => {
            let permit = Arc::clone(&COLD_READS).acquire_owned().await;
            let file = Arc::clone(file);
            let cold = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let read = file.read_at(&mut buffer, offset)?;
                Ok::<_, io::Error>((buffer, read))
            });
            let read;
            (buffer, read) = cold.await.map_err(io::Error::other)??;
            read
        }
    };
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short"));
    }
    buffer.truncate(read);
    Ok(buffer.into())
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut reading = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(mut reader) => Box::pin(async move {
                let next = reader.next().await;
                (reader, next)
            }),
            State::Reading(reading) => reading,
            State::Ended => return Poll::Ready(None),
        };
        let Poll::Ready((reader, next)) = reading.as_mut().poll(cx) else {
            self.state = State::Reading(reading);
            return Poll::Pending;
        };
        let next = next.map(|bytes| {
            self.left -= bytes.len() as u64;
            self.state = State::Idle(reader);
            Frame::data(bytes)
        });
        Poll::Ready(Some(next))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
