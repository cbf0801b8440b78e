//! From a file and a request's headers to a response.

use std::io;
use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::catalog::Entry;
use super::conditional::{self, Condition};
use super::engine::body::BlobBody;
use super::engine::cache::BlobCache;
use super::engine::inflight::InFlight;
use super::mime;
use super::range::{self, ByteRange, Requested};
use super::reply::Reply;
use crate::simplestreams::RelPath;

/// Items are named by version and never change; signed files do.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What a request asks for, judged without touching a disk.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    Part(ByteRange),
    Unsatisfiable,
    NotModified,
    PreconditionFailed,
}

/// Answers a GET or HEAD for `entry`.
pub(super) async fn file(
    blobs: &BlobCache,
    files: &Arc<InFlight>,
    path: &RelPath,
    entry: &Entry,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Reply> {
    let (status, range) = match judge(headers, method, entry) {
        Answer::Whole => (StatusCode::OK, ByteRange { start: 0, end: entry.size }),
        Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Answer::Unsatisfiable => return unsatisfiable(entry.size),
        Answer::PreconditionFailed => {
            return error(StatusCode::PRECONDITION_FAILED, "the file is not the one asked for");
        }
        Answer::NotModified => {
            let mut response = status_only(StatusCode::NOT_MODIFIED);
            describe(response.headers_mut(), entry);
            return response;
        }
    };
    let body = match open(blobs, files, entry, range, method).await {
        Ok(body) => body,
        Err(failure) => {
            let blob = entry.digest;
            tracing::error!(%path, %blob, error = %failure, "a listed file cannot be served");
            return error(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read");
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    describe(headers, entry);
    headers.insert(CONTENT_TYPE, entry.content_type.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
    if status == StatusCode::PARTIAL_CONTENT {
        let ByteRange { start, end } = range;
        insert(headers, CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, entry.size));
    }
    response
}

fn judge(headers: &HeaderMap, method: &Method, entry: &Entry) -> Answer {
    let etag = entry.etag.to_str().unwrap_or_default();
    match conditional::evaluate(headers, etag, entry.modified) {
        Condition::NotModified => return Answer::NotModified,
        Condition::Failed => return Answer::PreconditionFailed,
        Condition::Proceed => {}
    }
    // Ranges are defined for GET alone (RFC 9110 section 14.2).
    let range = headers.get(RANGE).filter(|_| *method == Method::GET);
    match range.filter(|_| conditional::range_applies(headers, etag)) {
        None => Answer::Whole,
        Some(range) => match range::parse(range, entry.size) {
            Requested::Whole => Answer::Whole,
            Requested::Part(part) => Answer::Part(part),
            Requested::Unsatisfiable => Answer::Unsatisfiable,
        },
    }
}

/// Opens the blob, which checks its length: a damaged one is an error and not
/// a short answer. A HEAD opens it too: it promises what a GET does.
async fn open(
    blobs: &BlobCache,
    files: &Arc<InFlight>,
    entry: &Entry,
    range: ByteRange,
    method: &Method,
) -> io::Result<Reply> {
    let blob = blobs.get(entry.digest, entry.size).await?;
    if *method == Method::HEAD || range.length() == 0 {
        return Ok(Reply::empty());
    }
    Ok(Reply::Blob(BlobBody::new(blob, Arc::clone(files), range.start..range.end)))
}

/// The headers that 200, 206 and 304 share.
fn describe(headers: &mut HeaderMap, entry: &Entry) {
    headers.reserve(8);
    headers.insert(ETAG, entry.etag.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(modified) = &entry.last_modified {
        headers.insert(LAST_MODIFIED, modified.clone());
    }
    headers.insert(CACHE_CONTROL, if entry.metadata { REVALIDATE } else { IMMUTABLE });
}

fn unsatisfiable(size: u64) -> Response<Reply> {
    let text = "no byte of the file is in the range";
    let mut response = error(StatusCode::RANGE_NOT_SATISFIABLE, text);
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

/// An error as JSON: a status for programs, a reason for people.
pub(super) fn error(status: StatusCode, reason: &str) -> Response<Reply> {
    let value = serde_json::json!({ "status": status.as_u16(), "reason": reason });
    let mut response = Response::new(Reply::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(mime::JSON));
    response
}

/// 204 to OPTIONS, 405 to anything else that is not GET or HEAD.
pub(super) fn other_method(method: &Method) -> Response<Reply> {
    let mut response = if *method == Method::OPTIONS {
        status_only(StatusCode::NO_CONTENT)
    } else {
        error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served")
    };
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

fn status_only(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    response
}

/// Headers made of digits and digests are always valid.
fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
