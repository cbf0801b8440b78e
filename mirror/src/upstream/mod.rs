//! The client that fetches from an upstream: a folder on an HTTP server, or a
//! snapshot in an OCI [`registry`].
//!
//! One client for everything: metadata read whole under a size limit, items
//! streamed and resumed. Knows nothing of where a store keeps things.
//!
//! - Redirects: at most 5, other hosts allowed, never from https to http.
//! - Retried: what may pass by itself (429, 5xx, timeouts, resets), with
//!   growing, jittered pauses and `Retry-After`; see [`FetchError::retryable`].
//! - HTTP/1.1 only: several connections carry large files faster than the
//!   windows of one HTTP/2 connection.

mod address;
mod body;
mod error;
pub mod registry;
mod retry;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use oci_client::RegistryOperation;
use reqwest::redirect::{Attempt, Policy};

pub use address::{Address, AddressError};
pub use body::Body;
pub use error::{ConfigError, FetchError, TransportError};
use registry::{Held, Holdings, Registry, Source};
pub use retry::{Backoff, RetryPolicy};

use crate::simplestreams::{Digest, RelPath};

/// maas.io's stable images.
pub const DEFAULT_UPSTREAM: &str = "https://images.maas.io/ephemeral-v3/stable/";

const USER_AGENT: &str = concat!("maas-mirror/", env!("CARGO_PKG_VERSION"));

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
    /// Reaches a registry without TLS.
    pub plain_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            metadata_timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            ca_files: Vec::new(),
            plain_http: false,
        }
    }
}

/// An upstream: where it is, and a client that reaches it.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: reqwest::Client,
    address: Address,
    options: Options,
    /// Where the upstream is a registry.
    source: Option<Arc<Source>>,
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
        let client = http_client(&options)?;
        let source = match address.registry() {
            Some(place) => {
                let pull = RegistryOperation::Pull;
                let registry = Registry::new(client.clone(), place, &options, pull)?;
                Some(Arc::new(Source::new(registry)))
            }
            None => None,
        };
        Ok(Self { client, address, options, source })
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

    /// Asks a registry what it holds now; nothing is asked of other upstreams,
    /// whose metadata alone says it. `held` is content that is at hand: where
    /// the tag names a snapshot that is, this is the only request.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn refresh(
        &self,
        held: &Held,
        on_retry: impl Fn(&FetchError, Duration) + Sync,
    ) -> Result<(), FetchError> {
        if let Some(source) = &self.source {
            source.resolve(held, &self.options.retry, &on_retry).await?;
        }
        Ok(())
    }

    /// What a registry was found to hold; `None` before it was asked, and for
    /// other upstreams.
    #[must_use]
    pub fn holdings(&self) -> Option<Arc<Holdings>> {
        self.source.as_ref()?.found()
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
        let timeout = self.options.metadata_timeout;
        let attempt = || async {
            let attempt = self.fetch_once(path, limit);
            tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
                Err(FetchError::Slow { url: self.address.display(path), limit: timeout })
            })
        };
        self.options.retry.run(on_retry, attempt).await
    }

    async fn fetch_once(&self, path: &RelPath, limit: u64) -> Result<Vec<u8>, FetchError> {
        let body = self.open(path, &Resume::default(), None).await?;
        let bytes = body.read_whole(limit).await?;
        let holdings = self.holdings();
        match holdings.as_ref().and_then(|holdings| holdings.file(path)) {
            Some(file) if Digest::of(&bytes) != file.digest => {
                Err(FetchError::Digest { url: self.address.display(path) })
            }
            _ => Ok(bytes),
        }
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
        if let Some(source) = &self.source {
            return self.open_blob(source, path, resume, expected).await;
        }
        let url = self.address.display(path);
        let Some(address) = self.address.url(path) else {
            return Err(FetchError::NotARegistry { url });
        };
        let mut request = self.client.get(address);
        if resume.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", resume.from));
            if let Some(etag) = &resume.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        match request.send().await {
            Ok(response) => Body::accept(response, url, resume, expected),
            Err(error) => Err(FetchError::transport(url, error)),
        }
    }

    async fn open_blob(
        &self,
        source: &Source,
        path: &RelPath,
        resume: &Resume,
        expected: Option<u64>,
    ) -> Result<Body, FetchError> {
        let holdings = match source.found() {
            Some(found) => found,
            None => {
                let nothing: Held = Arc::new(|_, _| None);
                source.resolve(&nothing, &self.options.retry, &|_, _| {}).await?
            }
        };
        let Some(file) = holdings.file(path) else {
            let address = self.address.to_string();
            return Err(FetchError::NotHeld { address, path: path.clone() });
        };
        source.registry.blob(&file.digest, resume, expected).await
    }
}

/// The client that follows the rules of the [module](self).
fn http_client(options: &Options) -> Result<reqwest::Client, ConfigError> {
    let mut headers = HeaderMap::new();
    // The bytes must be those that were signed or hashed.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
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
        attempt.error(error::RedirectError::TooMany(MAX_REDIRECTS))
    } else if secure_before && attempt.url().scheme() != "https" {
        attempt.error(error::RedirectError::Insecure)
    } else {
        attempt.follow()
    }
}

fn read_ca(path: &PathBuf) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::ReadCa { path: path.clone(), source })
}

fn read_certificates(path: &PathBuf) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    match reqwest::Certificate::from_pem_bundle(&read_ca(path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::NoCertificate(path.clone())),
    }
}
