//! Bodies of responses.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::engine::body::BlobBody;
use super::engine::copied::CopiedBody;
use super::pull::body::ArrivingBody;

/// The body of any response.
#[derive(Debug)]
pub(super) enum Reply {
    /// Bytes in memory, or nothing.
    Memory(Option<Bytes>),
    /// A part of a blob.
    Blob(BlobBody),
    /// A part of a blob, read into memory.
    Copied(CopiedBody),
    /// A part of an item that is still arriving.
    Arriving(ArrivingBody),
    /// One after another.
    Parts(VecDeque<Reply>),
    /// What axum's handlers answer.
    Handler(axum::body::Body),
}

impl Reply {
    pub(super) fn empty() -> Self {
        Self::Memory(None)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::Memory(Some(text.into()))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Memory(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Blob(body) => Pin::new(body).poll_frame(cx),
            Self::Copied(body) => Pin::new(body).poll_frame(cx),
            Self::Arriving(body) => Pin::new(body).poll_frame(cx),
            Self::Parts(parts) => {
                while let Some(part) = parts.front_mut() {
                    match ready!(Pin::new(part).poll_frame(cx)) {
                        Some(frame) => return Poll::Ready(Some(frame)),
                        None => parts.pop_front(),
                    };
                }
                Poll::Ready(None)
            }
            Self::Handler(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| Some(frame?.map_err(io::Error::other)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Memory(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Blob(body) => body.is_end_stream(),
            Self::Copied(body) => body.is_end_stream(),
            Self::Arriving(body) => body.is_end_stream(),
            Self::Parts(parts) => parts.iter().all(Body::is_end_stream),
            Self::Handler(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Memory(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Blob(body) => body.size_hint(),
            Self::Copied(body) => body.size_hint(),
            Self::Arriving(body) => body.size_hint(),
            Self::Parts(parts) => {
                let sizes = parts.iter().filter_map(|part| part.size_hint().exact());
                SizeHint::with_exact(sizes.sum())
            }
            Self::Handler(body) => body.size_hint(),
        }
    }
}
