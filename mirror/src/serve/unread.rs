//! The body of a request, which nobody reads.
//!
//! MAAS 3.6 sends a GET with `Transfer-Encoding: chunked` and an empty body,
//! whose last chunk may come after the head. An answer that is sent before
//! would leave hyper to close the connection on what still comes, and the
//! reset that follows takes the end of the answer from the client.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;

use super::reply::Reply;
use super::respond;

/// Bytes of a body that are read and dropped. Nothing that is served takes one.
const MOST: u64 = 1024 * 1024;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads what belongs to the request. An answer to it, and the end of the
/// connection, where that is too much or takes too long.
///
/// # Errors
/// The answer.
pub(super) async fn discard<B>(body: &mut B) -> Result<(), Response<Reply>>
where
    B: Body<Data = bytes::Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(());
    }
    match tokio::time::timeout(PATIENCE, read(body)).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "a request has no use for a body that large"))
        }
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body of the request does not come")),
    }
}

/// Whether it ended within [`MOST`] bytes.
async fn read<B>(body: &mut B) -> bool
where
    B: Body<Data = bytes::Bytes> + Unpin,
{
    let mut left = MOST;
    // One that breaks off has ended: the connection will say so.
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
        let Some(rest) = left.checked_sub(length) else { return false };
        left = rest;
    }
    true
}

fn refuse(status: StatusCode, reason: &str) -> Response<Reply> {
    let mut response = respond::error(status, reason);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
