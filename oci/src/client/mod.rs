//! The client that fetches from anywhere, over HTTP.
//!
//! - Redirects: at most 5, other hosts allowed, never from https to http.
//! - Retried: what may pass by itself (429, 5xx, timeouts, resets), with
//!   growing, jittered pauses and `Retry-After`; see [`FetchError::retryable`].
//! - HTTP/1.1 only: several connections carry large files faster than the
//!   windows of one HTTP/2 connection.

mod body;
mod error;
mod retry;

use std::path::PathBuf;
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};

pub use body::Body;
use error::RedirectError;
pub use error::{ConfigError, FetchError, TransportError};
pub use retry::{Backoff, RetryPolicy};

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 5;

/// How to talk to a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the program calls itself.
    pub user_agent: &'static str,
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
    /// Reaches a registry without TLS.
    pub plain_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("oci/", env!("CARGO_PKG_VERSION")),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            metadata_timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            ca_files: Vec::new(),
            plain_http: false,
        }
    }
}

/// Where a download goes on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Bytes that are there already.
    pub from: u64,
    /// The strong ETag under which they came, where one is known.
    pub etag: Option<HeaderValue>,
}

/// The client that follows the rules of the [module](self). Proxies come from the
/// environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
///
/// # Errors
/// [`ConfigError`] where a CA file cannot be used.
pub fn http_client(options: &Options) -> Result<reqwest::Client, ConfigError> {
    let mut headers = HeaderMap::new();
    // The bytes must be those that were signed or hashed.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut builder = reqwest::Client::builder()
        .user_agent(options.user_agent)
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
    builder.build().map_err(ConfigError::Client)
}

/// Follows a redirect within the rules of the [module](self).
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let secure_before = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RedirectError::TooMany(MAX_REDIRECTS))
    } else if secure_before && attempt.url().scheme() != "https" {
        attempt.error(RedirectError::Insecure)
    } else {
        attempt.follow()
    }
}

pub(crate) fn read_ca(path: &PathBuf) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::ReadCa { path: path.clone(), source })
}

fn read_certificates(path: &PathBuf) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    match reqwest::Certificate::from_pem_bundle(&read_ca(path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::NoCertificate(path.clone())),
    }
}
