//! A repository that is written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;

use super::reference::Version;
use super::{Reference, Registry};
use crate::client::{ConfigError, FetchError, Options, RetryPolicy, http_client};
use crate::digest::Digest;

/// How long a registry may take to answer once it has all of a blob: some hash
/// it then, or move it to where it stays.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(600);

/// A tag in a repository that is written to.
#[derive(Debug)]
pub struct Target {
    registry: Registry,
    tag: String,
    retry: RetryPolicy,
    stall_timeout: Duration,
}

/// What came of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// The registry has the blob.
    Done,
    /// It asked for a login, which it has now: the upload is to be made again.
    LoggedIn,
}

impl Target {
    /// A client that pushes to `reference`.
    ///
    /// # Errors
    /// [`ConfigError::NoTag`], or where a CA file cannot be used.
    pub fn new(reference: &Reference, options: &Options) -> Result<Self, ConfigError> {
        match reference.version {
            Version::Tag(_) => Self::of(http_client(options)?, reference, options),
            Version::Digest(_) => Err(ConfigError::NoTag(reference.to_string())),
        }
    }

    /// A client that pushes to `reference`, which may name a digest: what is put
    /// there must have it. `http` may be shared.
    ///
    /// # Errors
    /// Where a CA file cannot be used.
    pub fn of(
        http: reqwest::Client,
        reference: &Reference,
        options: &Options,
    ) -> Result<Self, ConfigError> {
        let registry = Registry::with(http, reference, options, RegistryOperation::Push)?;
        let (retry, stall_timeout) = (options.retry.clone(), options.stall_timeout);
        Ok(Self { registry, tag: reference.version(), retry, stall_timeout })
    }

    /// Asks for manifests of other media types than OCI's.
    #[must_use]
    pub fn accepting(mut self, kinds: &[&str]) -> Self {
        self.registry = self.registry.accepting(kinds);
        self
    }

    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.registry.reference
    }

    /// How often to try again.
    #[must_use]
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.retry
    }

    /// What the tag names now; `None` where it does not exist or the registry
    /// does not say.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn tagged(&self) -> Result<Option<Digest>, FetchError> {
        match self.registry.resolve_tag(&self.tag).await {
            Err(FetchError::NoSuchTag(_)) => Ok(None),
            other => other,
        }
    }

    /// Whether the registry has a blob of that digest and length.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, FetchError> {
        let url = self.registry.blob_url(digest);
        self.has(&url, &HeaderMap::new(), Some(size)).await
    }

    /// Whether the registry has a manifest.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool, FetchError> {
        let url = self.registry.manifest_url(&digest.to_oci());
        self.has(&url, &self.registry.accept(), None).await
    }

    async fn has(
        &self,
        url: &str,
        headers: &HeaderMap,
        size: Option<u64>,
    ) -> Result<bool, FetchError> {
        let response = self.registry.send(Method::HEAD, url, headers, None).await?;
        match response.status() {
            StatusCode::OK => {
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
                Ok(size.is_none() || length.is_none() || length == size)
            }
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(FetchError::Status { url: url.to_owned(), status, retry_after: None }),
        }
    }

    /// Has the registry take a blob from another of its repositories, `from`.
    /// Whether it did: not all know how, or let one.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, FetchError> {
        let uploads = format!("{}/blobs/uploads/", self.registry.root);
        let url = format!("{uploads}?mount={}&from={from}", digest.to_oci());
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        let response = self.registry.send(Method::POST, &url, &headers, Some(Bytes::new())).await?;
        match response.status() {
            StatusCode::CREATED => Ok(true),
            // It has begun an upload instead, which is not gone on with.
            StatusCode::ACCEPTED => {
                self.cancel(response.headers()).await;
                Ok(false)
            }
            status if status.is_server_error() => {
                Err(FetchError::Status { url, status, retry_after: None })
            }
            _ => Ok(false),
        }
    }

    /// Gives up an upload that was begun. Registries forget such uploads by
    /// themselves, later.
    async fn cancel(&self, headers: &HeaderMap) {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let url = url::Url::parse(&self.registry.root)
            .and_then(|root| root.join(location.unwrap_or_default()));
        let Ok(url) = url else { return };
        // The login goes nowhere else.
        if location.is_some() && url.as_str().starts_with(&self.registry.root) {
            let _ = self.registry.send(Method::DELETE, url.as_str(), &HeaderMap::new(), None).await;
        }
    }

    /// Uploads a blob, once, in one request. `content` is its bytes; an error
    /// among them breaks the upload off, and the registry keeps nothing.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn put_blob(
        &self,
        digest: &Digest,
        size: u64,
        content: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Upload, FetchError> {
        let (digest, reference) = (digest.to_oci(), self.reference().to_client());
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        let content = content.map(move |piece| {
            let piece = piece.map_err(OciDistributionError::from)?;
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok(piece)
        });
        let client = &self.registry.client;
        let upload = client.push_blob_stream(&reference, content, &digest, Some(size));
        let mut upload = Box::pin(upload);
        let uploaded = loop {
            let before = taken.load(Ordering::Relaxed);
            let limit = if before == size { COMMIT_TIMEOUT } else { self.stall_timeout };
            match tokio::time::timeout(limit, &mut upload).await {
                Ok(uploaded) => break uploaded,
                Err(_) if taken.load(Ordering::Relaxed) == before => {
                    let url = self.registry.root.clone();
                    return Err(FetchError::Stalled { url, limit });
                }
                Err(_) => {}
            }
        };
        match uploaded {
            Ok(_) => Ok(Upload::Done),
            Err(OciDistributionError::ServerError { code: 401, .. }) => {
                self.registry.log_in(self.registry.login().as_ref()).await?;
                Ok(Upload::LoggedIn)
            }
            Err(error) => Err(self.registry.failed(error)),
        }
    }

    /// Puts a manifest or an index under its digest.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn put_manifest(&self, kind: &str, bytes: &[u8]) -> Result<(), FetchError> {
        self.put(&Digest::of(bytes).to_oci(), kind, bytes).await
    }

    /// Puts an index under the tag.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn put_tagged(&self, kind: &str, bytes: &[u8]) -> Result<(), FetchError> {
        self.put(&self.tag, kind, bytes).await
    }

    async fn put(&self, version: &str, kind: &str, bytes: &[u8]) -> Result<(), FetchError> {
        let url = self.registry.manifest_url(version);
        let kind = HeaderValue::try_from(kind)
            .map_err(|_| FetchError::NotARegistry { url: url.clone() })?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let body = Some(Bytes::copy_from_slice(bytes));
        let response = self.registry.send(Method::PUT, &url, &headers, body).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
            status => Err(FetchError::Status { url, status, retry_after: None }),
        }
    }
}
