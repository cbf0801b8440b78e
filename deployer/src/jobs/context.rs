//! What every job has: its settings, its secrets, how to reach the others.

use std::path::PathBuf;
use std::time::Duration;

use super::error::JobError;
use super::files;
use crate::cluster::Cluster;
use crate::database::{Server, Session};
use crate::maas::{ApiKey, Client, Options, Problem, Retries, candidates};
use crate::secret::{Mounts, Secret};
use crate::settings::Settings;
use crate::wait::{State, Wait, WaitError};

/// What every job has.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the chart told it.
    pub settings: Settings,
    /// Where its secrets are.
    pub mounts: Mounts,
    /// How long it may wait for one thing, where the user said so.
    pub timeout: Option<Duration>,
    /// How often calls of MAAS are tried again.
    pub retries: Retries,
}

impl Context {
    /// How long to wait: as the user said, else `default`.
    pub(super) fn limit(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    /// The database server.
    pub(super) fn server(&self) -> Result<Server, JobError> {
        let ca = self.mounts.path("database-ca/ca.crt");
        Ok(Server::new(self.settings.database()?, Some(ca)))
    }

    /// A session with MAAS's database, as MAAS's own user.
    pub(super) async fn maas_database(&self) -> Result<Session, JobError> {
        let login = self.mounts.database_user()?;
        Ok(self.server()?.connect(&login, &self.settings.database()?.name).await?)
    }

    /// The cluster that this pod is in.
    pub(super) async fn cluster(&self) -> Result<Cluster, JobError> {
        Ok(Cluster::connect().await?)
    }

    /// The namespace and the name of the release.
    pub(super) fn release(&self) -> Result<(&str, &str), JobError> {
        let release = self.settings.release()?;
        Ok((&release.namespace, &release.name))
    }

    /// The command that shows the region's log.
    pub(super) fn region_logs(&self) -> String {
        self.settings.names().region_logs()
    }

    /// How clients of MAAS are made.
    fn maas_options(&self) -> Result<Options, JobError> {
        let tls = self.settings.tls();
        let mut options = Options { retries: self.retries, ..Options::default() };
        if tls.enabled {
            options.ca_file = self.ca_file()?;
            options.insecure = tls.insecure;
            options.server_name = Some(tls.server_name).filter(|name| !name.is_empty());
        }
        Ok(options)
    }

    /// The authority of MAAS's certificate. A certificate of a public authority
    /// comes without one, or with an empty file: those of the system do then.
    pub(super) fn ca_file(&self) -> Result<Option<PathBuf>, JobError> {
        let path = self.mounts.path("maas-tls/ca.crt");
        let content = files::read(&path)?.unwrap_or_default();
        Ok((!content.trim_ascii().is_empty()).then_some(path))
    }

    /// A client of MAAS, once its API answers.
    pub(super) async fn maas(&self) -> Result<Client, JobError> {
        let (tls, region) = (self.settings.tls(), self.settings.region()?);
        let urls = candidates(&region.url, &tls)?;
        self.first_ready(&urls.iter().map(ToString::to_string).collect::<Vec<_>>()).await
    }

    /// The client of the first of `urls` at which MAAS's API answers. Without TLS,
    /// a MAAS that serves it still is waited for: disable-tls is under way.
    pub(super) async fn first_ready(&self, urls: &[String]) -> Result<Client, JobError> {
        let mut what = format!("MAAS's API at {}", urls.first().map_or("", String::as_str));
        if let Some(name) = self.maas_options()?.server_name {
            what = format!("{what} as {name}");
        }
        let mut serves_tls = false;
        let wait = Wait::new(what, self.limit(Duration::from_secs(900))).next(self.region_logs());
        let found = wait.until(async || {
            let look = self.look_for_api(urls).await?;
            serves_tls = matches!(look, Look::StillTls(_));
            Ok(look.state())
        });
        found.await.map_err(|error| match error {
            JobError::Wait(error) if serves_tls => {
                JobError::Wait(WaitError { next: Some(self.job_logs("disable-tls")), ..error })
            }
            error => error,
        })
    }

    /// One look. Its clients are new each time, as a mounted authority may come
    /// late, or be replaced.
    async fn look_for_api(&self, urls: &[String]) -> Result<Look, JobError> {
        let (wants_tls, options) = (self.settings.tls().enabled, self.maas_options()?);
        let mut reasons = Vec::new();
        for url in urls {
            let client = Client::new(url, &options)?;
            let once = client.clone().with_retries(Retries::NONE);
            let Err(error) = once.version().await else { return Ok(Look::Ready(Box::new(client))) };
            if let (false, Some(to)) = (wants_tls, error.redirected_to_tls()) {
                return Ok(Look::StillTls(to.to_owned()));
            }
            // The only place to look at says to look elsewhere.
            if urls.len() == 1 && matches!(error.problem, Problem::Redirect(_)) {
                return Err(error.into());
            }
            reasons.push(match urls.len() {
                1 => error.problem.to_string(),
                _ => format!("{}: {}", client.base(), error.problem),
            });
        }
        Ok(Look::NotYet(reasons.join("; ")))
    }

    /// A client like `maas`, made anew; none where MAAS's API does not answer now.
    /// Its authority, or the port that it is at, may have changed since.
    pub(super) async fn reconnected(&self, maas: &Client) -> Option<Client> {
        let (tls, region) = (self.settings.tls(), self.settings.region().ok()?);
        let urls = candidates(&region.url, &tls).ok()?;
        let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        match self.look_for_api(&urls).await {
            Ok(Look::Ready(client)) => Some(client.in_place_of(maas)),
            _ => None,
        }
    }

    /// The command that shows the log of the newest Job of a kind.
    pub(super) fn job_logs(&self, job: &str) -> String {
        self.settings.names().job_logs(job)
    }

    /// A client of MAAS with an administrator's key, once its API answers: the
    /// key of its mounted Secret; else the key that MAAS gives the mounted admin,
    /// for a Secret that is in another namespace cannot be mounted.
    pub(super) async fn maas_with_key(&self) -> Result<Client, JobError> {
        let has_login = self.mounts.path("secrets/admin/PASSWORD").exists();
        let wait = Wait::new("the API key's Secret", self.limit(Duration::from_secs(300)))
            .next(self.job_logs("export-api-key"));
        // The kubelet brings a Secret into a running pod within two minutes.
        let key = wait
            .until(async || match self.mounts.api_key()? {
                Some(text) => Ok(State::Ready(Some(parse_key(&text)?))),
                None if has_login => Ok(State::Ready(None)),
                None => {
                    let reason = "it is not there yet".to_owned();
                    Ok::<_, JobError>(State::Waiting(reason))
                }
            })
            .await?;
        let maas = self.maas().await?;
        let key = match key {
            Some(key) => key,
            None => self.key_of_admin(&maas).await?,
        };
        Ok(maas.with_key(key))
    }

    /// The key that MAAS gives the mounted admin.
    pub(super) async fn key_of_admin(&self, maas: &Client) -> Result<ApiKey, JobError> {
        let admin = self.mounts.admin()?;
        let key = maas.authenticate(&admin).await.map_err(|error| match error.problem {
            Problem::Forbidden => JobError::failed(
                format!("MAAS does not accept the password of {} in the admin Secret", admin.username),
                "put the user's present password into the admin Secret, or set it in MAAS to the Secret's; \
                 a user that is deactivated cannot log in either",
            ),
            _ => error.into(),
        })?;
        let user = maas.clone().with_key(key.clone()).whoami().await?;
        if user.is_superuser {
            return Ok(key);
        }
        Err(JobError::failed(
            format!("the user {} of the admin Secret is no administrator of MAAS", user.username),
            "name an administrator in the admin Secret",
        ))
    }
}

/// What one look at MAAS's API found.
enum Look {
    Ready(Box<Client>),
    /// It redirects to there, which nobody wants.
    StillTls(String),
    NotYet(String),
}

impl Look {
    fn state(self) -> State<Client> {
        match self {
            Self::Ready(client) => State::Ready(*client),
            Self::StillTls(to) => State::Waiting(format!(
                "MAAS still serves TLS, and redirects to {to}: waiting for the job disable-tls"
            )),
            Self::NotYet(reason) => State::Waiting(reason),
        }
    }
}

pub(super) fn parse_key(text: &Secret) -> Result<ApiKey, JobError> {
    Ok(text.expose().parse::<ApiKey>()?)
}
