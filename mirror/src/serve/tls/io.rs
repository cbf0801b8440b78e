//! What hyper reads from and writes to on a TLS connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::serve::engine::copied;
use crate::serve::engine::stream::FileStream;

/// A TLS connection after its handshake.
#[derive(Debug)]
pub(super) struct TlsIo {
    stream: TokioIo<TlsStream<TokioIo<FileStream>>>,
    /// Whether, at the end, to wait until the client has closed too.
    lingers: bool,
    /// Whether our side is closed.
    closed: bool,
}

impl TlsIo {
    /// A connection that `lingers` waits for its client at the end. HTTP/2 clients
    /// write while they read: a socket that is closed with bytes unread, or gets
    /// some afterwards, is reset, and what the client has not read yet is lost.
    /// The connection's owner bounds the wait.
    pub(super) fn new(stream: TlsStream<TokioIo<FileStream>>, lingers: bool) -> Self {
        Self { stream: TokioIo::new(stream), lingers, closed: false }
    }

    /// Reads and drops what still comes, to its end.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer);
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Lets rustls encrypt as much ahead of the socket as memory allows now:
    /// many records leave by one system call, and a client that takes nothing
    /// holds no more than this.
    fn bound(&mut self) {
        self.stream.inner_mut().get_mut().1.set_buffer_limit(Some(copied::piece()));
    }
}

impl Read for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for TlsIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bound();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bound();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closed = true;
        }
        if self.lingers {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
