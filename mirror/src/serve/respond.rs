//! From a file and a request's headers to a response.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::catalog::Entry;
use super::coding::{self, Encoded};
use super::conditional::{self, Condition};
use super::engine::blob::Blob;
use super::engine::body::BlobBody;
use super::engine::cache::BlobCache;
use super::engine::copied::CopiedBody;
use super::engine::inflight::InFlight;
use super::mime;
use super::pull::{self, Pull, PullError, body::Arriving};
use super::range::{self, ByteRange, Requested};
use super::reply::Reply;

/// Items are named by version and never change; signed files do.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// Nothing may keep what is not known to be right yet.
const UNVERIFIED: HeaderValue = HeaderValue::from_static("no-store");

/// What no header can hold, so that no tag is equal to it.
const NO_ETAG: &str = "\n";

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// A file in the form that a client gets: as it is, or in a content coding.
struct Representation<'a> {
    entry: &'a Entry,
    encoded: Option<&'a Encoded>,
    /// Whether its digest is known to hold; else it is still to arrive.
    verified: bool,
}

impl Representation<'_> {
    fn etag(&self) -> Option<&HeaderValue> {
        let etag = self.encoded.map_or(&self.entry.validators().etag, |encoded| &encoded.etag);
        self.verified.then_some(etag)
    }

    fn digest(&self) -> &HeaderValue {
        self.encoded.map_or(&self.entry.validators().repr_digest, |encoded| &encoded.digest)
    }

    fn size(&self) -> u64 {
        self.encoded.map_or(self.entry.size, |encoded| encoded.bytes.len() as u64)
    }

    fn modified(&self) -> SystemTime {
        self.entry.modified
    }
}

/// What a request asks for, judged without touching a disk.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Send(Requested),
    Unsatisfiable,
    NotModified,
    PreconditionFailed,
}

/// Answers a GET or HEAD for `entry`, on the connection of `files`.
pub(super) async fn file(
    blobs: &BlobCache,
    files: &Arc<InFlight>,
    path: &str,
    entry: &Entry,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Reply> {
    let encoded = coding::choose(headers, entry.encodings());
    let representation = Representation { entry, encoded, verified: true };
    let requested = match judge(headers, method, &representation) {
        Answer::Send(requested) => requested,
        other => return without_body(&other, &representation),
    };
    match Source::open(blobs, files, &representation).await {
        Ok(source) => send(&source, &representation, requested, method),
        Err(failure) => {
            let blob = entry.digest;
            tracing::error!(path, %blob, error = %failure, "a listed file cannot be served");
            error(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
        }
    }
}

/// Answers a GET or HEAD for an item that is not held. `begin` has it pulled,
/// and is not called where the headers alone decide.
pub(super) async fn unheld<F: Future<Output = Result<Arc<Pull>, Response<Reply>>>>(
    entry: &Entry,
    method: &Method,
    headers: &HeaderMap,
    begin: impl FnOnce() -> F,
) -> Response<Reply> {
    let representation = Representation { entry, encoded: None, verified: false };
    let requested = match judge(headers, method, &representation) {
        Answer::Send(requested) => requested,
        other => return without_body(&other, &representation),
    };
    if *method == Method::HEAD {
        return send(&Source::Nowhere, &representation, requested, method);
    }
    match begin().await {
        Ok(pull) => {
            let source = Source::Arriving(Arriving::new(pull));
            send(&source, &representation, requested, method)
        }
        Err(response) => response,
    }
}

fn without_body(answer: &Answer, representation: &Representation<'_>) -> Response<Reply> {
    match answer {
        Answer::Send(_) | Answer::Unsatisfiable => unsatisfiable(representation.size()),
        Answer::PreconditionFailed => {
            error(StatusCode::PRECONDITION_FAILED, "the file is not the one asked for")
        }
        Answer::NotModified => {
            let mut response = status_only(StatusCode::NOT_MODIFIED);
            describe(response.headers_mut(), representation);
            response
        }
    }
}

fn judge(headers: &HeaderMap, method: &Method, representation: &Representation<'_>) -> Answer {
    let etag = representation.etag().map_or(Ok(NO_ETAG), HeaderValue::to_str);
    let etag = etag.unwrap_or(NO_ETAG);
    match conditional::evaluate(headers, etag, representation.modified()) {
        Condition::NotModified => return Answer::NotModified,
        Condition::Failed => return Answer::PreconditionFailed,
        Condition::Proceed => {}
    }
    // Ranges are defined for GET alone (RFC 9110 section 14.2).
    let range = headers.get(RANGE).filter(|_| *method == Method::GET);
    let range = range.filter(|_| conditional::range_applies(headers, etag));
    let size = representation.size();
    match range.map_or(Requested::Whole, |range| range::parse(range, size)) {
        Requested::Unsatisfiable => Answer::Unsatisfiable,
        requested => Answer::Send(requested),
    }
}

/// Where the bytes of a representation come from.
enum Source {
    Memory(Bytes),
    Blob(Arc<Blob>, Arc<InFlight>),
    Arriving(Arriving),
    /// For a HEAD, which starts no pull.
    Nowhere,
}

impl Source {
    /// Opens the blob, which checks its length: a damaged one is an error and
    /// not a short answer. For a HEAD too: it promises what a GET does.
    async fn open(
        blobs: &BlobCache,
        files: &Arc<InFlight>,
        representation: &Representation<'_>,
    ) -> io::Result<Self> {
        if let Some(encoded) = representation.encoded {
            return Ok(Self::Memory(encoded.bytes.clone()));
        }
        let Entry { digest, size, .. } = representation.entry;
        Ok(Self::Blob(blobs.get(*digest, *size).await?, Arc::clone(files)))
    }

    /// The bytes of a range; `last` where nothing of the file comes behind
    /// them.
    fn part(&self, range: ByteRange, last: bool) -> Reply {
        match self {
            Self::Memory(bytes) => {
                let place = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                Reply::Memory(place.map(|(start, end)| bytes.slice(start..end)))
            }
            Self::Blob(blob, files) if files.copies() && blob.is_large() => {
                Reply::Copied(CopiedBody::new(Arc::clone(blob), range.start..range.end))
            }
            Self::Blob(blob, files) => {
                let (blob, files) = (Arc::clone(blob), Arc::clone(files));
                Reply::Blob(BlobBody::new(blob, files, range.start..range.end))
            }
            Self::Nowhere => Reply::empty(),
            Self::Arriving(arriving) => {
                Reply::Arriving(arriving.body(range.start..range.end, last))
            }
        }
    }
}

/// The response with a body; without it for a HEAD, headers all the same.
fn send(
    source: &Source,
    representation: &Representation<'_>,
    requested: Requested,
    method: &Method,
) -> Response<Reply> {
    let size = representation.size();
    let mut response = Response::new(Reply::empty());
    describe(response.headers_mut(), representation);
    let content_type = representation.entry.content_type.clone();
    response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    let (length, body) = match requested {
        Requested::Whole | Requested::Unsatisfiable => {
            (size, source.part(ByteRange { start: 0, end: size }, true))
        }
        Requested::Part(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(response.headers_mut(), CONTENT_RANGE, &content_range(range, size));
            (range.length(), source.part(range, true))
        }
        Requested::Parts(ranges) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let boundary = representation.entry.digest.short();
            let kind = format!("multipart/byteranges; boundary={boundary}");
            insert(response.headers_mut(), CONTENT_TYPE, &kind);
            multipart(source, &ranges, size, &boundary, &content_type)
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    if *method != Method::HEAD {
        *response.body_mut() = body;
    }
    response
}

/// Several ranges as `multipart/byteranges` (RFC 9110 section 14.6): length
/// and body. The boundary is a part of the file's digest; content that holds
/// it would have to be made for that.
fn multipart(
    source: &Source,
    ranges: &[ByteRange],
    size: u64,
    boundary: &str,
    content_type: &HeaderValue,
) -> (u64, Reply) {
    let content_type = content_type.to_str().unwrap_or_default();
    let mut parts = VecDeque::new();
    let mut length = 0;
    for (index, range) in ranges.iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        let place = content_range(*range, size);
        let head = format!(
            "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {place}\r\n\r\n"
        );
        length += head.len() as u64 + range.length();
        parts.push_back(Reply::from(head));
        parts.push_back(source.part(*range, index + 1 == ranges.len()));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    length += end.len() as u64;
    parts.push_back(Reply::from(end));
    (length, Reply::Parts(parts))
}

fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// The headers that 200, 206 and 304 share.
fn describe(headers: &mut HeaderMap, representation: &Representation<'_>) {
    let entry = representation.entry;
    headers.reserve(12);
    if let Some(etag) = representation.etag() {
        headers.insert(ETAG, etag.clone());
        headers.insert(REPR_DIGEST, representation.digest().clone());
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(modified) = &entry.validators().last_modified {
        headers.insert(LAST_MODIFIED, modified.clone());
    }
    if let Some(encoded) = representation.encoded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoded.coding));
    }
    if !representation.verified {
        headers.insert(CACHE_CONTROL, UNVERIFIED);
    } else if entry.metadata {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(CACHE_CONTROL, REVALIDATE);
    } else {
        headers.insert(CACHE_CONTROL, IMMUTABLE);
    }
}

fn unsatisfiable(size: u64) -> Response<Reply> {
    let text = "no byte of the file is in the range";
    let mut response = error(StatusCode::RANGE_NOT_SATISFIABLE, text);
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

/// An error as JSON: a status for programs, a reason for people.
pub(super) fn error(status: StatusCode, reason: &str) -> Response<Reply> {
    json(status, &serde_json::json!({ "status": status.as_u16(), "reason": reason }))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Reply> {
    let mut response = Response::new(Reply::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(mime::JSON));
    response
}

/// [`error`] with a word for programs beside it.
pub(super) fn coded_error(status: StatusCode, code: &str, reason: &str) -> Response<Reply> {
    let value = serde_json::json!({ "status": status.as_u16(), "code": code, "reason": reason });
    json(status, &value)
}

/// An item that could not be pulled.
pub(super) fn pull_error(failure: PullError) -> Response<Reply> {
    let (status, code, reason) = failure.describe();
    let mut response = coded_error(status, code, reason);
    let seconds = HeaderValue::from(pull::REMEMBERED.as_secs());
    response.headers_mut().insert(RETRY_AFTER, seconds);
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
