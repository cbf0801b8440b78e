//! A file as it arrives.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{FetchError, Resume};

/// The body of an accepted response.
#[derive(Debug)]
pub struct Body {
    response: reqwest::Response,
    url: String,
    start: u64,
    etag: Option<HeaderValue>,
}

impl Body {
    /// Judges status and headers.
    ///
    /// # Errors
    /// [`FetchError`], where it is not what was asked for.
    pub fn accept(
        response: reqwest::Response,
        url: String,
        resume: &Resume,
        expected: Option<u64>,
    ) -> Result<Self, FetchError> {
        let status = response.status();
        let headers = response.headers();
        let (start, total) = match status {
            StatusCode::OK => (0, response.content_length()),
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((start, total)) if start == resume.from => (start, total),
                _ => return Err(FetchError::Range { url }),
            },
            _ => {
                return Err(FetchError::Status { url, status, retry_after: retry_after(headers) });
            }
        };
        if is_html(headers) {
            return Err(FetchError::Html { url });
        }
        match (total, expected) {
            (Some(announced), Some(listed)) if announced != listed => {
                return Err(FetchError::Length { url, announced, listed });
            }
            _ => {}
        }
        let etag = headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned();
        Ok(Self { response, url, start, etag })
    }

    /// Which byte of the file comes first: the one asked for, or 0.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The strong ETag to resume under.
    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref()
    }

    /// Bytes that this body announces.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The error for a body that brings next to nothing within `window`.
    #[must_use]
    pub fn too_slow(&self, window: Duration) -> FetchError {
        FetchError::Drips { url: self.url.clone(), window }
    }

    /// The rest of it, whole.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`] as soon as more than `limit` bytes are announced
    /// or have come; as [`Body::chunk`].
    pub async fn read_whole(mut self, limit: u64) -> Result<Vec<u8>, FetchError> {
        let too_large = |url: &str| FetchError::TooLarge { url: url.to_owned(), limit };
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_large(&self.url));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large(&self.url));
            }
            bytes.extend_from_slice(&chunk);
        }
        // A portal that lies about its content type too.
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(FetchError::Html { url: self.url });
        }
        Ok(bytes)
    }

    /// The next piece; `None` at the end. A connection that breaks before the
    /// announced end is an error.
    ///
    /// # Errors
    /// [`FetchError::Transport`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| FetchError::transport(self.url.clone(), error))
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with(b"text/html")
}

/// First byte and total length of a `Content-Range: bytes A-B/TOTAL` (RFC 9110
/// section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}
