//! The HTTP client that fetches from an upstream.
//!
//! One client for everything: metadata read whole under a size limit, items
//! streamed and resumed. Knows nothing of storage.
//!
//! - Redirects: at most 5, other hosts allowed, never from https to http.
//! - Retried: what may pass by itself (429, 5xx, timeouts, resets), with
//!   growing, jittered pauses and `Retry-After`; see [`FetchError::retryable`].
//! - HTTP/1.1 only: several connections carry large files faster than the
//!   windows of one HTTP/2 connection.

mod address;
mod body;
mod error;
mod retry;

use std::path::PathBuf;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};

pub use address::{Address, AddressError};
pub use body::Body;
pub use error::{ConfigError, FetchError, TransportError};
pub use retry::{Backoff, RetryPolicy};

use crate::simplestreams::RelPath;

/// maas.io's stable images.
pub const DEFAULT_UPSTREAM: &str = "https://images.maas.io/ephemeral-v3/stable/";

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 5;

/// How to talk to an upstream.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub stall_timeout: Duration,
    /// How long a whole metadata file may take.
    pub metadata_timeout: Duration,
    /// When and how often to try again.
    pub retry: RetryPolicy,
    /// More certificate authorities, PEM.
    pub ca_files: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            metadata_timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            ca_files: Vec::new(),
        }
    }
}

/// An upstream: where it is, and a client that reaches it.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: reqwest::Client,
    address: Address,
    options: Options,
}

/// Where a download goes on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Bytes that are there already.
    pub from: u64,
    /// The strong ETag under which they came, where one is known.
    pub etag: Option<HeaderValue>,
}

impl Upstream {
    /// A client for the upstream at `address`. Proxies come from the
    /// environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
    ///
    /// # Errors
    /// [`ConfigError`] where a CA file cannot be used.
    pub fn new(address: Address, options: Options) -> Result<Self, ConfigError> {
        let mut headers = HeaderMap::new();
        // The bytes must be those that were signed or hashed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("maas-mirror/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .http1_only()
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout)
            .redirect(Policy::custom(follow));
        for path in &options.ca_files {
            for certificate in read_certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(ConfigError::Client)?;
        Ok(Self { client, address, options })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How often to try again.
    #[must_use]
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.options.retry
    }

    /// Fetches a metadata file whole, trying again where that may help.
    /// `on_retry` is told of each failure that is not the last.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::TooLarge`] as soon as more than `limit`
    /// bytes are announced or have come.
    pub async fn fetch_metadata(
        &self,
        path: &RelPath,
        limit: u64,
        on_retry: impl Fn(&FetchError, Duration),
    ) -> Result<Vec<u8>, FetchError> {
        let mut backoff = self.options.retry.start();
        loop {
            let attempt = self.fetch_once(path, limit);
            let timeout = self.options.metadata_timeout;
            let error = match tokio::time::timeout(timeout, attempt).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(error)) => error,
                Err(_) => FetchError::Slow { url: self.address.display(path), limit: timeout },
            };
            let Some(pause) = backoff.next(&error) else {
                return Err(error);
            };
            on_retry(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch_once(&self, path: &RelPath, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut body = self.open(path, &Resume::default(), None).await?;
        let too_large = || FetchError::TooLarge { url: self.address.display(path), limit };
        if body.length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        // A portal that lies about its content type too.
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(FetchError::Html { url: self.address.display(path) });
        }
        Ok(bytes)
    }

    /// Opens a file for reading, once. With `expected`, a server that
    /// announces another total length is refused before any byte is read.
    ///
    /// The body may start before `resume.from`: a server that knows no ranges,
    /// or whose file has changed since, sends it whole. See [`Body::start`].
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn open(
        &self,
        path: &RelPath,
        resume: &Resume,
        expected: Option<u64>,
    ) -> Result<Body, FetchError> {
        let mut request = self.client.get(self.address.url(path));
        if resume.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", resume.from));
            if let Some(etag) = &resume.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let url = self.address.display(path);
        match request.send().await {
            Ok(response) => Body::accept(response, url, resume, expected),
            Err(error) => Err(FetchError::transport(url, error)),
        }
    }
}

/// Follows a redirect within the rules of the [module](self).
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let secure_before = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(error::RedirectError::TooMany(MAX_REDIRECTS))
    } else if secure_before && attempt.url().scheme() != "https" {
        attempt.error(error::RedirectError::Insecure)
    } else {
        attempt.follow()
    }
}

fn read_certificates(path: &PathBuf) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    let pem =
        std::fs::read(path).map_err(|source| ConfigError::ReadCa { path: path.clone(), source })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::NoCertificate(path.clone())),
    }
}
