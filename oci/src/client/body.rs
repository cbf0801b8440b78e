//! A file as it arrives.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{FetchError, Resume};

/// The body of an accepted response.
#[derive(Debug)]
pub struct Body {
    response: reqwest::Response,
    url: String,
    start: u64,
    etag: Option<HeaderValue>,
    pace: Pace,
}

/// How fast a body comes, by the time that was spent waiting for it: what is done with
/// its pieces between, and how long that takes, is nobody's fault but ours.
///
/// A server that drips bytes would otherwise hold a run, and what it has locked, for years.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
}

impl Pace {
    const WINDOW: Duration = Duration::from_secs(60);
    /// 1 KiB a second: slower than any line that carries images.
    const LEAST: usize = 60 * 1024;

    /// Counts a piece; whether the last window had enough of them.
    fn keeps_up(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < Self::WINDOW {
            return true;
        }
        let enough = self.bytes >= Self::LEAST;
        *self = Self::default();
        enough
    }
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
        Ok(Self { response, url, start, etag, pace: Pace::default() })
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
    /// announced end is an error, and so is one that brings next to nothing.
    ///
    /// # Errors
    /// [`FetchError::Transport`], [`FetchError::Drips`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let since = Instant::now();
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|error| FetchError::transport(self.url.clone(), error))?;
        match chunk {
            Some(bytes) if !self.pace.keeps_up(since.elapsed(), bytes.len()) => {
                Err(FetchError::Drips { url: self.url.clone(), window: Pace::WINDOW })
            }
            chunk => Ok(chunk),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of pieces, each after a pause.
    fn body(pause: Duration, piece: usize) -> Body {
        let pieces = futures_util::stream::unfold(0_u32, move |number| async move {
            tokio::time::sleep(pause).await;
            let bytes = Bytes::from(vec![b'x'; piece]);
            (number < 100_000).then_some((Ok::<_, std::io::Error>(bytes), number + 1))
        });
        let response = http::Response::new(reqwest::Body::wrap_stream(pieces));
        Body::accept(response.into(), "http://h/a".to_owned(), &Resume::default(), None)
            .expect("a body")
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let began = Instant::now();
        let mut dripping = body(Duration::from_secs(1), 100);
        let error = loop {
            match dripping.chunk().await {
                Ok(chunk) => assert!(chunk.is_some(), "it came to its end"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, FetchError::Drips { .. }), "{error}");
        assert!(error.retryable() && began.elapsed() < Pace::WINDOW * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_to_blame_for_a_slow_reader() {
        let mut quick = body(Duration::from_millis(1), 100);
        for _ in 0..10 {
            assert!(quick.chunk().await.expect("a piece").is_some());
            tokio::time::sleep(Pace::WINDOW).await;
        }
        // 2 KiB a second are enough.
        let mut slow = body(Duration::from_secs(1), 2048);
        for _ in 0..600 {
            assert!(slow.chunk().await.expect("a piece").is_some());
        }
    }
}
