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
use crate::serve::engine::copied::Buffer;

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
            let bytes = read(&file, self.range.start, ready - self.range.start).await;
            // What was read meanwhile may be of another pass, or have gone
            // with this one.
            if self.progress.borrow().pass != now.pass {
                continue;
            }
            let bytes = bytes?;
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
/// thread that may wait. No more than memory allows now: clients that take
/// nothing hold it, and on HTTP/2 each of them many times.
async fn read(file: &Arc<File>, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = Buffer::for_read(length);
    let mut slices = [IoSliceMut::new(buffer.space(length))];
    let read = rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT);
    let read = match read {
        Ok(read) if read > 0 => read,
        _ => {
            let permit = Arc::clone(&COLD_READS).acquire_owned().await;
            let file = Arc::clone(file);
            let cold = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let read = file.read_at(buffer.space(length), offset)?;
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
    Ok(buffer.into_bytes(read))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::serve::pull::PullError;
    use crate::simplestreams::{Digest, RelPath};
    use crate::store::Store;
    use crate::sync::{Event, Observer as _};

    const SIZE: u64 = 3 * HELD_BACK;

    /// A pull whose download is played by the test.
    struct Scene {
        dir: tempfile::TempDir,
        pull: Arc<Pull>,
        path: RelPath,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("folder");
            let store = Store::open_or_create(dir.path().join("store")).expect("store");
            let pull = Arc::new(Pull::new(store, Digest::of(b""), SIZE));
            Self { dir, pull, path: RelPath::new("a").expect("path") }
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("store/.maas-mirror/partial").join(Digest::of(b"").to_string())
        }

        /// A pass of which `from` bytes, all `byte`, are there.
        fn started(&self, byte: u8, from: u64) {
            self.write(byte, from);
            self.pull.event(&Event::Started { path: &self.path, from, size: SIZE });
        }

        fn write(&self, byte: u8, length: u64) {
            let length = usize::try_from(length).expect("small");
            fs::write(self.file(), vec![byte; length]).expect("write");
        }

        fn progress(&self, done: u64) {
            self.pull.event(&Event::Progress { path: &self.path, done });
        }
    }

    /// All that a body has to say now, and whether it then waits (`None`),
    /// ends, or breaks.
    async fn drain(body: &mut ArrivingBody) -> (Vec<u8>, Option<Result<(), String>>) {
        let mut bytes = Vec::new();
        loop {
            // Reads that go to another thread take a moment.
            let next = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            let limit = std::time::Duration::from_millis(300);
            match tokio::time::timeout(limit, next).await {
                Err(_) => return (bytes, None),
                Ok(None) => return (bytes, Some(Ok(()))),
                Ok(Some(Err(error))) => return (bytes, Some(Err(error.to_string()))),
                Ok(Some(Ok(frame))) => bytes.extend(frame.into_data().expect("data")),
            }
        }
    }

    #[tokio::test]
    async fn the_last_bytes_wait_for_the_digest_and_no_longer() {
        let scene = Scene::new();
        scene.started(1, 0);
        let arriving = Arriving::new(Arc::clone(&scene.pull));
        let mut body = arriving.body(0..SIZE, true);
        assert_eq!(drain(&mut body).await, (vec![], None));
        scene.write(1, SIZE);
        scene.progress(SIZE);
        let (bytes, end) = drain(&mut body).await;
        assert_eq!((bytes.len() as u64, end), (SIZE - HELD_BACK, None));
        scene.pull.event(&Event::Whole { path: &scene.path });
        let (bytes, end) = drain(&mut body).await;
        assert_eq!((bytes.len() as u64, end), (HELD_BACK, Some(Ok(()))));
        // It is right, whatever becomes of it on the disk.
        let mut late = Arriving::new(Arc::clone(&scene.pull)).body(0..1, true);
        scene.pull.end(Err(PullError::Space));
        assert_eq!(drain(&mut late).await, (vec![1], Some(Ok(()))));
    }

    /// Clients that take nothing, and more of them than memory allows for.
    #[tokio::test]
    async fn pieces_shrink_while_much_is_held() {
        let scene = Scene::new();
        scene.started(1, SIZE);
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut body = Arriving::new(Arc::clone(&scene.pull)).body(0..SIZE, true);
            let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            held.push(next.expect("a frame").expect("bytes").into_data().expect("data"));
        }
        assert!(held.last().is_some_and(|last| (1..=16 * 1024).contains(&last.len())));
    }

    #[tokio::test]
    async fn a_failure_cuts() {
        let scene = Scene::new();
        scene.started(1, SIZE);
        let mut body = Arriving::new(Arc::clone(&scene.pull)).body(0..SIZE, true);
        scene.pull.end(Err(PullError::Mismatch));
        assert!(matches!(drain(&mut body).await, (bytes, Some(Err(_))) if bytes.is_empty()));
    }

    #[tokio::test]
    async fn bytes_of_two_passes_do_not_meet() {
        let scene = Scene::new();
        scene.started(1, HELD_BACK);
        let arriving = Arriving::new(Arc::clone(&scene.pull));
        // Two parts of one response, and a response that has nothing yet.
        let (mut first, mut second) = (arriving.body(0..10, false), arriving.body(20..30, true));
        let mut other = Arriving::new(Arc::clone(&scene.pull)).body(SIZE - 10..SIZE, true);
        assert_eq!(drain(&mut first).await, (vec![1; 10], Some(Ok(()))));
        assert_eq!(drain(&mut second).await, (vec![], None));
        assert_eq!(drain(&mut other).await, (vec![], None));
        scene.pull.event(&Event::Restarting { path: &scene.path });
        scene.write(2, SIZE);
        scene.progress(SIZE);
        scene.pull.event(&Event::Whole { path: &scene.path });
        assert!(matches!(drain(&mut second).await, (bytes, Some(Err(_))) if bytes.is_empty()));
        assert_eq!(drain(&mut other).await, (vec![2; 10], Some(Ok(()))));
    }

    #[tokio::test]
    async fn a_file_cut_short_is_an_error_and_not_padded() {
        let scene = Scene::new();
        scene.started(1, SIZE);
        scene.write(1, 100);
        let mut body = Arriving::new(Arc::clone(&scene.pull)).body(0..SIZE, true);
        let (bytes, end) = drain(&mut body).await;
        assert_eq!(bytes, vec![1; 100]);
        assert!(matches!(end, Some(Err(_))));
    }
}
