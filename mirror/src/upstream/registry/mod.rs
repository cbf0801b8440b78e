//! OCI registries: a snapshot as upstream, and as target of a push.
//!
//! A registry is believed in nothing. What a tag names is a claim; index,
//! manifests and signed files are taken only under the digest that names them,
//! and what they say is proved by the signatures inside, as with any upstream.
//!
//! Logins and uploads are the `oci-client` crate's. What a registry sends is
//! read here, by the client and under the limits of every other upstream:
//! `oci-client` reads a manifest into memory however long it is, follows a
//! redirect from https to http, and tells neither `Retry-After` nor which range
//! it got.
//!
//! - A login is looked for when the registry asks for one, not before.
//! - Credentials go to the registry, and to the token service that it names;
//!   never to another host that it redirects to.
//! - Without TLS only where [`super::Options::plain_http`] says so, loopback
//!   too: no guess decides whether a password is sent in the clear.

mod credentials;
mod push;
mod reference;
mod snapshot;

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
pub use reference::{Reference, ReferenceError};
pub(super) use snapshot::Source;
pub use snapshot::{Held, Holdings};

use super::{Body, ConfigError, FetchError, Options, Resume, read_ca};
use crate::simplestreams::Digest;
use crate::store::layout;

/// Bytes of a manifest or an index: registries accept no more
/// (distribution-spec, "Pushing Manifests").
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// How long a login may take, the token service included.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a registry says which manifest a tag names.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// One repository of a registry.
pub(super) struct Registry {
    http: reqwest::Client,
    client: oci_client::Client,
    reference: Reference,
    /// `https://HOST/v2/NAME`
    root: String,
    operation: RegistryOperation,
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
    /// A client of the repository that `reference` names. `http` is the client
    /// for what is read.
    pub(super) fn new(
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
            user_agent: super::USER_AGENT,
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
            known: Mutex::default(),
            logging_in: tokio::sync::Mutex::default(),
        })
    }

    /// The digest of the manifest that a tag names, by its headers alone;
    /// `None` where the registry does not say.
    async fn resolve_tag(&self, tag: &str) -> Result<Option<Digest>, FetchError> {
        let url = self.manifest_url(tag);
        let response = self.send(Method::HEAD, &url, &accept_manifests(), None).await?;
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

    /// A manifest or an index, whole; at most `limit` bytes of it.
    async fn manifest(&self, version: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let url = self.manifest_url(version);
        let response = self.send(Method::GET, &url, &accept_manifests(), None).await?;
        let body = Body::accept(response, url, &Resume::default(), None)?;
        body.read_whole(limit).await
    }

    /// Opens a blob for reading; see [`super::Upstream::open`]. What has a
    /// digest for a name needs no `If-Range`: it cannot change.
    pub(super) async fn blob(
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

    fn manifest_url(&self, version: &str) -> String {
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
            async { sent.await.map_err(|error| FetchError::transport(url.to_owned(), error)) }
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

fn accept_manifests() -> HeaderMap {
    let kinds = format!("{}, {}", layout::INDEX, layout::MANIFEST);
    HeaderValue::try_from(kinds).ok().map(|kinds| (ACCEPT, kinds)).into_iter().collect()
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {login}")
}
