//! The bytes of a file on their way to a client.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::range::ByteRange;

/// Bytes read at a time: two of them for each of some hundred clients fit
/// into a small pod.
const CHUNK: u64 = 64 * 1024;

/// A part of a file, streamed.
///
/// Invariants:
/// - it yields exactly the bytes of its range, or ends in an error, upon which
///   hyper cuts the connection: a file that shrank is never padded;
/// - it never waits for a disk on a runtime thread: what the page cache does
///   not have at once (`RWF_NOWAIT`) is read on a thread that may block;
/// - it holds at most one chunk.
#[derive(Debug)]
pub(super) struct FileBody {
    file: Arc<File>,
    next: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl FileBody {
    pub(super) fn new(file: File, range: ByteRange) -> Self {
        Self { file: Arc::new(file), next: range.start, end: range.end, reading: None }
    }

    fn remaining(&self) -> u64 {
        self.end - self.next
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let read = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
            None => {
                let length = self.remaining().min(CHUNK);
                match read_at(&self.file, self.next, length, ReadWriteFlags::NOWAIT) {
                    Err(error) if would_block(&error) => {
                        let (file, at) = (Arc::clone(&self.file), self.next);
                        let read = move || read_at(&file, at, length, ReadWriteFlags::empty());
                        self.reading = Some(tokio::task::spawn_blocking(read));
                        return self.poll_frame(cx);
                    }
                    read => read,
                }
            }
        };
        Poll::Ready(Some(read.and_then(|bytes| {
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short"));
            }
            self.next += bytes.len() as u64;
            Ok(Frame::data(Bytes::from(bytes)))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

/// Up to `length` bytes at `offset`; none at the file's end.
fn read_at(file: &File, offset: u64, length: u64, flags: ReadWriteFlags) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = loop {
        let buffers = &mut [io::IoSliceMut::new(&mut bytes)];
        match rustix::io::preadv2(file, buffers, offset, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    bytes.truncate(read);
    Ok(bytes)
}

/// Cold, or a file system that cannot tell (FUSE, for one): then it means
/// cold.
fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(content).expect("write");
        file
    }

    #[tokio::test]
    async fn exactly_the_range() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for (start, end) in [(0, content.len()), (1, 2), (65_535, 131_073), (1_000_000, 1_200_000)]
        {
            let range = ByteRange { start: start as u64, end: end as u64 };
            let body = FileBody::new(file(&content), range);
            assert_eq!(body.size_hint().exact(), Some(range.length()));
            let bytes = body.collect().await.expect("body").to_bytes();
            assert_eq!(bytes, content[start..end]);
        }
    }

    #[tokio::test]
    async fn a_file_cut_short_is_an_error_not_an_end() {
        let file = file(&[7; 1000]);
        let body = FileBody::new(file, ByteRange { start: 0, end: 2000 });
        let error = body.collect().await.expect_err("cut short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
