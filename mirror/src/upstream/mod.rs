//! The client that fetches from an upstream: a folder on an HTTP server, or a
//! snapshot in an OCI [`registry`].
//!
//! One client for everything: metadata read whole under a size limit, items
//! streamed and resumed, by the rules of [`oci::client`]. Knows nothing of where
//! a store keeps things.

mod address;
pub mod registry;

use std::sync::Arc;
use std::time::Duration;

use http::header::{IF_RANGE, RANGE};

pub use address::{Address, AddressError};
pub use oci::client::{
    Backoff, Body, ConfigError, FetchError, Options, Resume, RetryPolicy, TransportError,
};
use registry::{Held, Holdings, Source};

use crate::simplestreams::{Digest, RelPath};

/// maas.io's stable images.
pub const DEFAULT_UPSTREAM: &str = "https://images.maas.io/ephemeral-v3/stable/";

/// What the program calls itself.
pub const USER_AGENT: &str = concat!("maas-mirror/", env!("CARGO_PKG_VERSION"));

/// An upstream: where it is, and a client that reaches it.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: reqwest::Client,
    address: Address,
    options: Options,
    /// Where the upstream is a registry.
    source: Option<Arc<Source>>,
}

impl Upstream {
    /// A client for the upstream at `address`. Proxies come from the
    /// environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
    ///
    /// # Errors
    /// [`ConfigError`] where a CA file cannot be used.
    pub fn new(address: Address, options: Options) -> Result<Self, ConfigError> {
        let client = oci::client::http_client(&options)?;
        let source = match address.registry() {
            Some(place) => {
                let registry = oci::registry::Registry::new(client.clone(), place, &options)?;
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
            return Err(FetchError::NotHeld { address, path: path.to_string() });
        };
        source.registry.blob(&file.digest, resume, expected).await
    }
}
