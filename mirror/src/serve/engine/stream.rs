//! A connection's I/O, which sends files as files.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::blob::Blob;
use super::inflight::InFlight;

/// The most that one `sendfile` moves; the kernel's own limit.
const MOST: usize = 0x7fff_f000;

/// A TCP connection under hyper. See the [module](super).
#[derive(Debug)]
pub(in crate::serve) struct FileStream {
    socket: TokioIo<TcpStream>,
    files: Arc<InFlight>,
    stall: Stall,
}

/// Ends a connection whose client takes nothing for too long.
#[derive(Debug)]
struct Stall {
    limit: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// A write went through.
    fn progressed(&mut self) {
        self.timer = None;
    }

    /// A write waits; an error once it has waited too long.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))
    }
}

/// What comes first of what is to be written.
enum First<'a> {
    /// A part of a file.
    File { blob: Arc<Blob>, offset: u64, length: usize },
    /// Bytes in memory; `more` when a file comes behind them.
    Memory { slices: &'a [IoSlice<'a>], more: bool },
}

impl FileStream {
    pub(in crate::serve) fn new(
        socket: TcpStream,
        files: Arc<InFlight>,
        stall_limit: Duration,
    ) -> Self {
        let stall = Stall { limit: stall_limit, timer: None };
        Self { socket: TokioIo::new(socket), files, stall }
    }

    fn first<'a>(&self, slices: &'a [IoSlice<'a>]) -> First<'a> {
        for (index, slice) in slices.iter().enumerate() {
            if slice.is_empty() {
                continue;
            }
            let Some((blob, offset)) = self.files.find(slice.as_ptr().addr()) else { continue };
            let before = slices.get(..index).unwrap_or_default();
            if before.iter().all(|slice| slice.is_empty()) {
                return First::File { blob, offset, length: slice.len() };
            }
            return First::Memory { slices: before, more: true };
        }
        First::Memory { slices, more: false }
    }

    /// Runs `write` when the socket takes bytes, and again until it has taken
    /// some or says to wait. Of a write of `most` bytes that took less, the
    /// rest waits until there is room for much: what the client makes room for
    /// meanwhile would go in many small pieces, each the work of a system call.
    fn poll_socket(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = self.socket.inner();
        loop {
            match socket.poll_write_ready(cx)? {
                Poll::Pending => return self.stall.poll_waiting(cx).map(Err),
                Poll::Ready(()) => {}
            }
            let mut taken = None;
            let tried = socket.try_io(Interest::WRITABLE, || {
                let written = write(socket)?;
                taken = Some(written);
                if written > 0 && written < most && is_full(socket) {
                    // The runtime forgets that the socket was writable.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            let written = match (tried, taken) {
                (_, Some(written)) => Ok(written),
                (Err(error), None) => Err(error),
                (Ok(()), None) => continue,
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => {
                    self.stall.progressed();
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        blob: &Arc<Blob>,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let length = length.min(MOST);
        let send = |socket: &TcpStream| {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(socket, blob.file(), Some(&mut offset), length)?)
        };
        let sent = ready!(self.poll_socket(cx, length, send))?;
        if sent == 0 {
            if let Some(damaged_blobs) = blob.set_damaged() {
                let blob = blob.digest();
                tracing::error!(%blob, offset, damaged_blobs, "a blob was cut short on the disk");
            }
            let text = "the file was cut short";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        self.files.sent(blob, sent as u64);
        Poll::Ready(Ok(sent))
    }

    fn poll_memory(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        match slices.iter().find(|slice| !slice.is_empty()) {
            // The head of a file: let the kernel put both into one packet.
            Some(slice) if more => self.poll_socket(cx, 0, |socket| {
                Ok(rustix::net::send(socket, slice, SendFlags::MORE | SendFlags::NOSIGNAL)?)
            }),
            _ => self.poll_socket(cx, 0, |socket| Ok(rustix::io::writev(socket, slices)?)),
        }
    }
}

/// Whether the socket has little room. Where it has, the kernel will say when
/// that changes: looking asks it to.
pub(super) fn is_full(socket: &TcpStream) -> bool {
    let mut sockets = [PollFd::new(socket, PollFlags::OUT)];
    rustix::event::poll(&mut sockets, Some(&Timespec::default())) == Ok(0)
}

impl Read for FileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl Write for FileStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.first(slices) {
            First::File { blob, offset, length } => self.poll_file(cx, &blob, offset, length),
            First::Memory { slices, more } => self.poll_memory(cx, slices, more),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
