//! From a file and a request's headers to a response.

use std::io;
use std::time::SystemTime;

use axum::body::Body;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::FileBody;
use super::catalog::Entry;
use super::conditional::{self, Condition};
use super::mime;
use super::range::{self, ByteRange, Requested};
use crate::simplestreams::RelPath;
use crate::store::Store;

/// Items are named by version and never change; signed files do.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";

const METHODS: &str = "GET, HEAD, OPTIONS";

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
    store: &Store,
    path: &RelPath,
    entry: Entry,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    let etag = format!("\"{}\"", entry.digest);
    let answer = judge(headers, method, &etag, entry);
    let (status, range) = match answer {
        Answer::Whole => (StatusCode::OK, ByteRange { start: 0, end: entry.size }),
        Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Answer::Unsatisfiable => return unsatisfiable(entry.size),
        Answer::PreconditionFailed => {
            return error(StatusCode::PRECONDITION_FAILED, "the file is not the one asked for");
        }
        Answer::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), entry, &etag);
            return response;
        }
    };
    let body = match open(store, entry, range, method).await {
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
    describe(headers, entry, &etag);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(mime::of(path)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
    if status == StatusCode::PARTIAL_CONTENT {
        let ByteRange { start, end } = range;
        let text = format!("bytes {start}-{}/{}", end - 1, entry.size);
        insert(headers, CONTENT_RANGE, &text);
    }
    response
}

fn judge(headers: &HeaderMap, method: &Method, etag: &str, entry: Entry) -> Answer {
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

/// Opens the blob and checks its length, so that a damaged one is an error
/// and not a short answer. A HEAD opens it too: it promises what a GET does.
async fn open(store: &Store, entry: Entry, range: ByteRange, method: &Method) -> io::Result<Body> {
    let path = store.blob_path(&entry.digest);
    let opened = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file, length))
    });
    let (file, length) = opened.await.map_err(io::Error::other)??;
    if length != entry.size {
        let text = format!("it has {length} bytes and should have {}", entry.size);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if *method == Method::HEAD || range.length() == 0 {
        return Ok(Body::empty());
    }
    Ok(Body::new(FileBody::new(file, range)))
}

/// The headers that 200, 206 and 304 share.
fn describe(headers: &mut HeaderMap, entry: Entry, etag: &str) {
    insert(headers, ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if entry.modified > SystemTime::UNIX_EPOCH {
        insert(headers, LAST_MODIFIED, &httpdate::fmt_http_date(entry.modified));
    }
    let caching = if entry.metadata { REVALIDATE } else { IMMUTABLE };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
}

fn unsatisfiable(size: u64) -> Response<Body> {
    let mut response =
        error(StatusCode::RANGE_NOT_SATISFIABLE, "no byte of the file is in the range");
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

/// An error as JSON: a status for programs, a reason for people.
pub(super) fn error(status: StatusCode, reason: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "status": status.as_u16(), "reason": reason }))
}

/// 204 to OPTIONS, 405 to anything else that is not GET or HEAD.
pub(super) fn other_method(method: &Method) -> Response<Body> {
    let mut response = if *method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served")
    };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(mime::JSON));
    response
}

/// Headers made of digits, hex and dates are always valid.
fn insert(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
