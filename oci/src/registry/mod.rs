//! OCI registries: what they hold, and what is pushed to them.
//!
//! A registry is believed in nothing. What a tag names is a claim; manifests and
//! blobs are taken only under the digest that names them.
//!
//! Logins and uploads are the `oci-client` crate's. What a registry sends is
//! read here, by the client and under the limits of everything else:
//! `oci-client` reads a manifest into memory however long it is, follows a
//! redirect from https to http, and tells neither `Retry-After` nor which range
//! it got.
//!
//! - A login is looked for when the registry asks for one, not before.
//! - Credentials go to the registry, and to the token service that it names;
//!   never to another host that it redirects to.
//! - Without TLS only where [`Options::plain_http`] says so, loopback
//!   too: no guess decides whether a password is sent in the clear.

mod credentials;
mod push;
mod reference;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use oci_client::RegistryOperation;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;

pub use credentials::CredentialError;
pub use push::{Target, Upload};
pub use reference::{Reference, ReferenceError, Version};

use crate::client::{Body, ConfigError, FetchError, Options, Resume, read_ca};
use crate::digest::Digest;
use crate::layout;

/// Bytes of a manifest or an index: registries accept no more
/// (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// How long a login may take, the token service included.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a registry says which manifest a tag names.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The media types of manifests and indexes.
const OCI_KINDS: &[&str] = &[layout::INDEX, layout::MANIFEST];

/// One repository of a registry.
pub struct Registry {
    http: reqwest::Client,
    client: oci_client::Client,
    reference: Reference,
    /// `https://HOST/v2/NAME`
    root: String,
    operation: RegistryOperation,
    /// Manifests of these media types are asked for.
    kinds: HeaderValue,
    /// How long an answer may take to begin, and a manifest or a config in all.
    patience: Duration,
    /// What the registry was told; `None` until it has asked.
    known: Mutex<Option<Known>>,
    /// Held while a login is under way: the others wait for it.
    logging_in: tokio::sync::Mutex<()>,
}

/// A login that was made.
#[derive(Clone)]
struct Known {
    /// What to send in `Authorization`.
    value: HeaderValue,
    /// Where the login came from; `None` for that of anybody.
    file: Option<PathBuf>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client that reads the repository that `reference` names. `http` is the
    /// client for what is read.
    ///
    /// # Errors
    /// [`ConfigError`] where a CA file cannot be used.
    pub fn new(
        http: reqwest::Client,
        reference: &Reference,
        options: &Options,
    ) -> Result<Self, ConfigError> {
        Self::with(http, reference, options, RegistryOperation::Pull)
    }

    fn with(
        http: reqwest::Client,
        reference: &Reference,
        options: &Options,
        operation: RegistryOperation,
    ) -> Result<Self, ConfigError> {
        let protocol =
            if options.plain_http { ClientProtocol::Http } else { ClientProtocol::Https };
        let certificate = |path: &PathBuf| {
            let data = read_ca(path)?;
            Ok(Certificate { encoding: CertificateEncoding::Pem, data })
        };
        let certificates = options.ca_files.iter().map(certificate);
        let config = ClientConfig {
            protocol,
            use_monolithic_push: true,
            extra_root_certificates: certificates.collect::<Result<_, ConfigError>>()?,
            // Not `read_timeout`: it counts from the first byte of a request to
            // the first of its answer, which an upload takes as long as it takes.
            connect_timeout: Some(options.connect_timeout),
            user_agent: options.user_agent,
            ..ClientConfig::default()
        };
        let client = oci_client::Client::try_from(config).map_err(|error| match error {
            OciDistributionError::RequestError(error) => ConfigError::Client(error),
            error => ConfigError::Registry(error.to_string()),
        })?;
        let scheme = if options.plain_http { "http" } else { "https" };
        let host = reference.to_client().resolve_registry().to_owned();
        Ok(Self {
            http,
            client,
            root: format!("{scheme}://{host}/v2/{}", reference.name()),
            reference: reference.clone(),
            operation,
            kinds: accepted(OCI_KINDS),
            patience: options.metadata_timeout,
            known: Mutex::default(),
            logging_in: tokio::sync::Mutex::default(),
        })
    }

    /// Asks for manifests of other media types than OCI's.
    #[must_use]
    pub fn accepting(mut self, kinds: &[&str]) -> Self {
        self.kinds = accepted(kinds);
        self
    }

    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest of the manifest that a tag names, by its headers alone;
    /// `None` where the registry does not say.
    ///
    /// # Errors
    /// [`FetchError::NoSuchTag`], and whatever else may come between.
    pub async fn resolve_tag(&self, tag: &str) -> Result<Option<Digest>, FetchError> {
        let url = self.manifest_url(tag);
        let response = self.send(Method::HEAD, &url, &self.accept(), None).await?;
        match response.status() {
            StatusCode::OK => {
                let digest = response.headers().get(CONTENT_DIGEST);
                Ok(digest.and_then(|digest| digest.to_str().ok()?.parse().ok()))
            }
            // Some proxies know no HEAD.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(None),
            StatusCode::NOT_FOUND => Err(FetchError::NoSuchTag(self.reference.to_string())),
            status => Err(FetchError::Status { url, status, retry_after: None }),
        }
    }

    /// A manifest or an index, whole; at most `limit` bytes of it. Its
    /// digest is not judged.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Slow`], where it takes too long.
    pub async fn manifest(&self, version: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let url = self.manifest_url(version);
        self.in_time(&url, async {
            let response = self.send(Method::GET, &url, &self.accept(), None).await?;
            let body = Body::accept(response, url.clone(), &Resume::default(), None)?;
            body.read_whole(limit).await
        })
        .await
    }

    /// A small blob of that length, such as a config, whole. Its digest is not judged.
    ///
    /// # Errors
    /// As [`Registry::manifest`].
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, FetchError> {
        self.in_time(&self.blob_url(digest), async {
            self.blob(digest, &Resume::default(), Some(size)).await?.read_whole(size).await
        })
        .await
    }

    async fn in_time<T>(
        &self,
        url: &str,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let limit = self.patience;
        let ended = tokio::time::timeout(limit, work).await;
        ended.unwrap_or_else(|_| Err(FetchError::Slow { url: url.to_owned(), limit }))
    }

    /// Opens a blob for reading, once. With `expected`, a server that announces
    /// another total length is refused before any byte is read. The body may
    /// start before `resume.from`; see [`Body::start`]. What has a digest for a
    /// name needs no `If-Range`: it cannot change.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn blob(
        &self,
        digest: &Digest,
        resume: &Resume,
        expected: Option<u64>,
    ) -> Result<Body, FetchError> {
        let url = self.blob_url(digest);
        let mut headers = HeaderMap::new();
        if resume.from > 0 {
            let range = format!("bytes={}-", resume.from);
            headers.extend(HeaderValue::try_from(range).ok().map(|range| (RANGE, range)));
        }
        let response = self.send(Method::GET, &url, &headers, None).await?;
        Body::accept(response, url, resume, expected)
    }

    /// The URL of a manifest, for people.
    #[must_use]
    pub fn manifest_url(&self, version: &str) -> String {
        format!("{}/manifests/{version}", self.root)
    }

    fn blob_url(&self, digest: &Digest) -> String {
        format!("{}/blobs/{}", self.root, digest.to_oci())
    }

    /// Sends a request, and once more after a login where the registry asks
    /// for one.
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Option<bytes::Bytes>,
    ) -> Result<reqwest::Response, FetchError> {
        let known = self.login();
        let request = |login: Option<&Known>| {
            let mut request = self.http.request(method.clone(), url).headers(headers.clone());
            if let Some(login) = login {
                request = request.header(AUTHORIZATION, &login.value);
            }
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let sent = request.send();
            // Each line of its head may come within the time in which a server may say nothing.
            self.in_time(url, async {
                sent.await.map_err(|error| FetchError::transport(url.to_owned(), error))
            })
        };
        let response = request(known.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        drop(response);
        let login = self.log_in(known.as_ref()).await?;
        let response = request(Some(&login)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            *self.known() = None;
            return Err(self.refused(login.file));
        }
        Ok(response)
    }

    fn accept(&self) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, self.kinds.clone())])
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The login that was made last.
    fn login(&self) -> Option<Known> {
        self.known().clone()
    }

    /// Logs in, unless another request has done so since `stale` was sent.
    async fn log_in(&self, stale: Option<&Known>) -> Result<Known, FetchError> {
        let _guard = self.logging_in.lock().await;
        let is_fresh = |known: &Known| stale.is_none_or(|stale| stale.value != known.value);
        if let Some(fresh) = self.login().filter(is_fresh) {
            return Ok(fresh);
        }
        let registry = || self.reference.registry().to_owned();
        let login = credentials::find(self.reference.registry()).await;
        let login =
            login.map_err(|source| FetchError::Credentials { registry: registry(), source })?;
        let auth = login.as_ref().map_or(RegistryAuth::Anonymous, |login| login.auth.clone());
        let file = login.map(|login| login.file);
        let reference = self.reference.to_client();
        let asked = self.client.auth(&reference, &auth, self.operation);
        let token = match tokio::time::timeout(LOGIN_TIMEOUT, asked).await {
            Ok(Ok(token)) => token,
            Ok(Err(OciDistributionError::AuthenticationFailure(_))) => {
                return Err(self.refused(file));
            }
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => {
                let url = format!("the login at {}", registry());
                return Err(FetchError::Slow { url, limit: LOGIN_TIMEOUT });
            }
        };
        let value = match (token, &auth) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, RegistryAuth::Basic(name, password)) => basic(name, password),
            (None, _) => return Err(self.refused(None)),
        };
        // A token that no header can hold is none.
        let value = HeaderValue::try_from(value).map_err(|_| self.refused(file.clone()));
        let mut value = value?;
        value.set_sensitive(true);
        let known = Known { value, file };
        *self.known() = Some(known.clone());
        Ok(known)
    }

    /// The registry takes no such login; `file` is where it came from.
    fn refused(&self, file: Option<PathBuf>) -> FetchError {
        let registry = self.reference.registry().to_owned();
        FetchError::Unauthorized { registry, file }
    }

    /// An error of the OCI client in our own terms. Its texts repeat what the
    /// registry sent, and URLs that may be signed: they are left out.
    fn failed(&self, error: OciDistributionError) -> FetchError {
        let url = self.root.clone();
        match error {
            OciDistributionError::RequestError(error) => FetchError::transport(url, error),
            OciDistributionError::ServerError { code: 401, .. }
            | OciDistributionError::UnauthorizedError { .. } => {
                self.refused(self.login().and_then(|login| login.file))
            }
            OciDistributionError::ServerError { code, .. } => match StatusCode::from_u16(code) {
                Ok(status) => FetchError::Status { url, status, retry_after: None },
                Err(_) => FetchError::NotARegistry { url },
            },
            _ => FetchError::NotARegistry { url },
        }
    }
}

fn accepted(kinds: &[&str]) -> HeaderValue {
    let any = || HeaderValue::from_static("*/*");
    HeaderValue::try_from(kinds.join(", ")).unwrap_or_else(|_| any())
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {login}")
}
