//! Sends requests, and tries again what may pass by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use rand::RngExt as _;
use reqwest::redirect::Policy;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};
use url::Url;

use super::address::{self, Elsewhere};
use super::error::{ConfigError, MaasError, Problem, Unauthorised};
use super::key::ApiKey;
use super::reply::Reply;
use super::request::Request;

const USER_AGENT: &str = concat!("maas-deployer/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a whole call may take: adding a source makes MAAS read its index.
const CALL: Duration = Duration::from_secs(90);

/// The largest answer that is read: a listing of some thousand images.
const LARGEST: usize = 64 * 1024 * 1024;

/// How to reach MAAS.
#[derive(Clone, Debug, Default)]
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
}

/// How often, and after which pauses, a call is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// How often.
    pub count: u32,
    /// The first pause; each is twice the one before, up to the longest.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 6, first: Duration::from_millis(500), longest: Duration::from_secs(10) }
    }
}

impl Retries {
    /// No second try: for those who wait themselves.
    pub const NONE: Self = Self { count: 0, first: Duration::ZERO, longest: Duration::ZERO };

    /// The pause before the `attempt`th retry, shortened at random by up to a
    /// quarter, so that several jobs do not come back at once.
    fn pause(self, attempt: u32) -> Duration {
        let full = self.first.saturating_mul(1 << attempt.min(16)).min(self.longest);
        full.mul_f64(1.0 - rand::rng().random_range(0.0..0.25))
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
        Ok(Self { http, base, key: None, retries: options.retries })
    }

    /// The same client with a key.
    #[must_use]
    pub fn with_key(mut self, key: ApiKey) -> Self {
        self.key = Some(key);
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

    async fn send(&self, request: &Request, url: Url) -> Result<String, MaasError> {
        let mut attempt = 0;
        loop {
            let problem = match self.once(request, &url).await {
                Ok(text) => return Ok(text),
                Err(problem) => problem,
            };
            if attempt >= self.retries.count || !may_pass(request, &problem) {
                let method = request.method.clone();
                return Err(MaasError { method, url: url.into(), problem });
            }
            let pause = self.retries.pause(attempt);
            attempt += 1;
            let (method, url, reason) = (&request.method, url.as_str(), problem.to_string());
            warn!(%method, url, reason, attempt, pause_ms = pause.as_millis(), "trying again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, request: &Request, url: &Url) -> Result<String, Problem> {
        let mut builder = self.http.request(request.method.clone(), url.clone());
        if let Some(key) = &self.key
            && let Ok(mut value) = HeaderValue::from_str(&key.header())
        {
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        let response = request.add_body(builder).send().await.map_err(|error| transport(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        debug!(method = %request.method, url = url.as_str(), status = status.as_u16(), "answered");
        let body = read(response).await?;
        let body = self.key.as_ref().map_or_else(|| body.clone(), |key| key.mask(&body));
        match (Reply { status, headers: &headers, body: &body }).problem() {
            Some(problem) => Err(problem),
            None => Ok(body),
        }
    }
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

/// Whether the same call may succeed soon, and does no harm if it is repeated.
fn may_pass(request: &Request, problem: &Problem) -> bool {
    match problem {
        Problem::Connect(_) | Problem::Unauthorised(Unauthorised::Nonce) => true,
        Problem::Transport(_) => request.repeatable,
        Problem::Server { status, .. } | Problem::WebPage { status, .. } => {
            // After a 504 the call may still be under way.
            status.is_server_error()
                && (request.repeatable || *status != StatusCode::GATEWAY_TIMEOUT)
        }
        _ => false,
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
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Problem::Nonsense(format!("it is larger than {LARGEST} bytes")));
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
        .timeout(CALL)
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
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_limit() {
        let retries = Retries::default();
        assert!(retries.pause(0) <= Duration::from_millis(500));
        assert!(retries.pause(3) >= Duration::from_secs(3));
        assert!(retries.pause(30) <= Duration::from_secs(10));
    }

    #[test]
    fn what_an_answer_settles_is_not_tried_again() {
        let get = Request::get("x/");
        let post = Request::post("x/");
        let server = |status| Problem::Server { status, text: String::new() };
        assert!(may_pass(&post, &server(StatusCode::INTERNAL_SERVER_ERROR)));
        assert!(may_pass(&post, &server(StatusCode::BAD_GATEWAY)));
        assert!(!may_pass(&post, &server(StatusCode::GATEWAY_TIMEOUT)));
        assert!(may_pass(&get, &server(StatusCode::GATEWAY_TIMEOUT)));
        assert!(may_pass(&post, &Problem::Connect(String::new())));
        assert!(!may_pass(&post, &Problem::Transport(String::new())));
        assert!(may_pass(&get, &Problem::Transport(String::new())));
        assert!(!may_pass(&get, &Problem::Forbidden));
        assert!(!may_pass(&get, &Problem::Invalid(super::super::error::Complaints::default())));
    }
}
