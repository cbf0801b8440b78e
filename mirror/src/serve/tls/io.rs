//! What hyper reads from and writes to on a TLS connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio_rustls::server::TlsStream;

use crate::serve::engine::copied;
use crate::serve::engine::stream::FileStream;

/// A TLS connection after its handshake.
#[derive(Debug)]
pub(super) struct TlsIo(TokioIo<TlsStream<TokioIo<FileStream>>>);

impl TlsIo {
    pub(super) fn new(stream: TlsStream<TokioIo<FileStream>>) -> Self {
        Self(TokioIo::new(stream))
    }

    /// Lets rustls encrypt as much ahead of the socket as memory allows now:
    /// many records leave by one system call, and a client that takes nothing
    /// holds no more than this.
    fn bound(&mut self) {
        self.0.inner_mut().get_mut().1.set_buffer_limit(Some(copied::piece()));
    }
}

impl Read for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for TlsIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bound();
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bound();
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
