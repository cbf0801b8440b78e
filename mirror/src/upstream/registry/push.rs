//! A repository that is written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;

use super::reference::Version;
use super::{Reference, Registry};
use crate::simplestreams::Digest;
use crate::upstream::{ConfigError, FetchError, Options, RetryPolicy, http_client};

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
        let Version::Tag(tag) = &reference.version else {
            return Err(ConfigError::NoTag(reference.to_string()));
        };
        let push = RegistryOperation::Push;
        let registry = Registry::new(http_client(options)?, reference, options, push)?;
        let (retry, stall_timeout) = (options.retry.clone(), options.stall_timeout);
        Ok(Self { registry, tag: tag.clone(), retry, stall_timeout })
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
        self.has(&url, &super::accept_manifests(), None).await
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
    pub async fn put_manifest(&self, kind: &'static str, bytes: &[u8]) -> Result<(), FetchError> {
        self.put(&Digest::of(bytes).to_oci(), kind, bytes).await
    }

    /// Puts an index under the tag.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn put_tagged(&self, kind: &'static str, bytes: &[u8]) -> Result<(), FetchError> {
        self.put(&self.tag, kind, bytes).await
    }

    async fn put(&self, version: &str, kind: &'static str, bytes: &[u8]) -> Result<(), FetchError> {
        let url = self.registry.manifest_url(version);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let body = Some(Bytes::copy_from_slice(bytes));
        let response = self.registry.send(Method::PUT, &url, &headers, body).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
            status => Err(FetchError::Status { url, status, retry_after: None }),
        }
    }
}
