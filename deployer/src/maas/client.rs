//! Sends requests, and tries again what may pass by itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};
use url::Url;

use super::address::{self, Elsewhere};
use super::clock::Clock;
use super::error::{ConfigError, MaasError, Problem, Unauthorised};
use super::key::ApiKey;
use super::reply::Reply;
use super::request::Request;
use super::retry::{Retries, may_pass};

const USER_AGENT: &str = concat!("maas-deployer/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a whole call may take; MAAS reads an index after it has answered.
const CALL: Duration = Duration::from_secs(60);

/// The largest answer that is read: a listing of some thousand images.
const LARGEST: usize = 64 * 1024 * 1024;

/// How to reach MAAS.
#[derive(Clone, Debug)]
pub struct Options {
    /// A certificate authority of the operator's own, PEM; those that the
    /// system trusts count as well.
    pub ca_file: Option<PathBuf>,
    /// Accepts any certificate.
    pub insecure: bool,
    /// The name to verify and to send over TLS, where it is not the URL's host,
    /// which is connected to all the same.
    pub server_name: Option<String>,
    /// How often to try again.
    pub retries: Retries,
    /// How long a whole call may take.
    pub call: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_file: None,
            insecure: false,
            server_name: None,
            retries: Retries::default(),
            call: CALL,
        }
    }
}

/// A client of MAAS's API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Up to and with `/MAAS/`.
    base: Url,
    key: Option<ApiKey>,
    retries: Retries,
    clock: Clock,
}

/// An attempt that failed.
struct Failed {
    problem: Problem,
    /// After which pause the server wants to be asked again.
    retry_after: Option<Duration>,
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

impl Client {
    /// A client of the MAAS at `base`, without a key.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(base: &str, options: &Options) -> Result<Self, ConfigError> {
        let mut base = address::base(base)?;
        let mut builder = http_client(options)?;
        if let Some(name) = &options.server_name
            && let Some(host) = address::rename(&mut base, name)?
        {
            builder = builder.dns_resolver(Elsewhere::new(host));
        }
        let http = builder.build().map_err(ConfigError::Client)?;
        Ok(Self { http, base, key: None, retries: options.retries, clock: Clock::default() })
    }

    /// The same client with a key.
    #[must_use]
    pub fn with_key(mut self, key: ApiKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same client with the key of `other`, and what it knows of the clock.
    #[must_use]
    pub fn in_place_of(mut self, other: &Self) -> Self {
        self.key.clone_from(&other.key);
        self.clock = other.clock.clone();
        self
    }

    /// The same client that tries again otherwise.
    #[must_use]
    pub fn with_retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Where MAAS is, up to and with `/MAAS/`.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// MAAS's version. Needs no key; while a region starts, it fails.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn version(&self) -> Result<String, MaasError> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: String,
        }
        let anonymous = Self { key: None, ..self.clone() };
        let answer: Version = anonymous.json(Request::get("version/")).await?;
        Ok(answer.version)
    }

    /// Sends a call of the API and reads its answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, MaasError> {
        let text = self.text(request.clone()).await?;
        serde_json::from_str(&text).map_err(|error| MaasError {
            method: request.method.clone(),
            url: request.url(&self.api()).into(),
            problem: Problem::Nonsense(error.to_string()),
        })
    }

    /// Sends a call of the API and reads its answer as text.
    pub(super) async fn text(&self, request: Request) -> Result<String, MaasError> {
        self.send(&request, request.url(&self.api())).await
    }

    /// Sends a call below `/MAAS/` that is not one of the API.
    pub(super) async fn outside_api(&self, request: Request) -> Result<String, MaasError> {
        self.send(&request, request.url(&self.base)).await
    }

    fn api(&self) -> Url {
        let mut api = self.base.clone();
        let path = format!("{}api/2.0/", self.base.path());
        api.set_path(&path);
        api
    }

    /// Makes something that must not be made twice. Where it may have been made
    /// though the answer was lost, or is none of MAAS's, `find` looks for it first.
    pub(super) async fn make<T: DeserializeOwned>(
        &self,
        request: &Request,
        find: impl AsyncFn() -> Result<Option<T>, MaasError>,
    ) -> Result<T, MaasError> {
        let (begun, mut attempt) = (Instant::now(), 0);
        loop {
            let error = match self.json(request.clone()).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            let exists = error.says_that_it_exists();
            let is_odd = matches!(error.problem, Problem::Nonsense(_));
            if !exists && !is_odd && !error.problem.may_have_happened() {
                return Err(error);
            }
            if let Some(made) = find().await? {
                let reason = error.problem.to_string();
                debug!(url = error.url, reason, "it is made all the same");
                return Ok(made);
            }
            let next = self.retries.next(attempt, begun.elapsed(), None);
            let Some(pause) = next.filter(|_| !exists) else { return Err(error) };
            attempt += 1;
            pause_after(&error.method, &error.url, &error.problem, attempt, pause).await;
        }
    }

    async fn send(&self, request: &Request, url: Url) -> Result<String, MaasError> {
        let (begun, mut attempt) = (Instant::now(), 0);
        loop {
            let Failed { problem, retry_after } = match self.once(request, &url).await {
                Ok(text) => return Ok(text),
                Err(failed) => failed,
            };
            if let Problem::Unauthorised(Unauthorised::Clock { skew_s: Some(ahead_s) }) = problem
                && self.clock.correct(ahead_s)
            {
                continue;
            }
            let next = self.retries.next(attempt, begun.elapsed(), retry_after);
            let Some(pause) = next.filter(|_| may_pass(request, &problem)) else {
                let method = request.method.clone();
                return Err(MaasError { method, url: url.into(), problem });
            };
            attempt += 1;
            pause_after(&request.method, url.as_str(), &problem, attempt, pause).await;
        }
    }

    async fn once(&self, request: &Request, url: &Url) -> Result<String, Failed> {
        let mut builder = self.http.request(request.method.clone(), url.clone());
        if let Some(key) = &self.key
            && let Ok(mut value) = HeaderValue::from_str(&key.header(self.clock.now()))
        {
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        let response = request.add_body(builder).send().await.map_err(|error| transport(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        debug!(method = %request.method, url = url.as_str(), status = status.as_u16(), "answered");
        let body = read(response).await?;
        let body = self.key.as_ref().map_or_else(|| body.clone(), |key| key.mask(&body));
        let reply = Reply { status, headers: &headers, body: &body };
        let Some(problem) = reply.problem() else {
            // Of those who ask without a key, MAAS looks at no clock.
            if self.key.is_some() {
                self.clock.notice(&headers);
            }
            return Ok(body);
        };
        Err(Failed { problem, retry_after: reply.retry_after() })
    }
}

async fn pause_after(method: &Method, url: &str, problem: &Problem, attempt: u32, pause: Duration) {
    let (reason, pause_ms) = (problem.to_string(), pause.as_millis());
    warn!(%method, url, reason, attempt, pause_ms, "trying again");
    tokio::time::sleep(pause).await;
}

/// Whether a mirror of boot images is ready; else, why not.
///
/// # Errors
/// What is wrong, in words.
pub async fn is_mirror_ready(url: &str) -> Result<(), String> {
    let options = Options { retries: Retries::NONE, ..Options::default() };
    let address = format!("{}/", url.trim_end_matches('/'));
    let client = Client::new(&address, &options).map_err(|error| crate::chain(&error))?;
    match client.outside_api(Request::get("readyz")).await {
        Ok(_) => Ok(()),
        Err(MaasError { problem: Problem::Server { status, text }, .. })
            if status == StatusCode::SERVICE_UNAVAILABLE =>
        {
            Err(format!("it is not ready yet: {text}"))
        }
        Err(error) => Err(error.problem.to_string()),
    }
}

fn transport(error: &reqwest::Error) -> Problem {
    // Its own text names the URL, which stands above it already.
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(|| error.to_string(), innermost);
    if error.is_connect() { Problem::Connect(text) } else { Problem::Transport(text) }
}

/// What the system or the TLS library says; the layers between say nothing.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The whole answer, up to a limit.
async fn read(mut response: reqwest::Response) -> Result<String, Problem> {
    let too_large = || Problem::Nonsense(format!("it is larger than {LARGEST} bytes"));
    if response.content_length().is_some_and(|length| length > LARGEST as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn http_client(options: &Options) -> Result<reqwest::ClientBuilder, ConfigError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .http1_only()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(options.call)
        .tls_danger_accept_invalid_certs(options.insecure);
    if let Some(path) = &options.ca_file {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    Ok(builder)
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    let bytes = std::fs::read(path)
        .map_err(|source| ConfigError::ReadCa { path: path.to_owned(), source })?;
    match reqwest::Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::NoCertificate(path.to_owned())),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
