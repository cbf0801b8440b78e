//! `wait`: what must be there before a pod goes on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::schema::{self, Recorded};
use super::{region_image, seed_secret};
use crate::cluster::JobState;
use crate::database::{DatabaseError, Session};
use crate::maas::{candidates, is_mirror_ready};
use crate::secret::{Login, SecretError};
use crate::version::Version;
use crate::wait::{DAYS, State, Wait};

/// How long the server may refuse MAAS's user: db-init, which makes that, may be under way.
const REFUSED: Duration = Duration::from_secs(15 * 60);

/// How long it may refuse the administrator, whom nobody makes. The kubelet brings a Secret that
/// was corrected within two minutes.
const REFUSED_ADMIN: Duration = Duration::from_secs(5 * 60);

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// MAAS's user can log in to its database.
    Database,
    /// The administrator can log in to the server.
    DatabaseAdmin,
    /// The schema is of this image's version.
    Schema,
    /// The database has the shared secret.
    SharedSecret,
    /// MAAS's API answers.
    Api,
    /// The mirror is ready.
    Mirror,
    /// A Job is complete.
    Job(String),
    /// Something listens.
    Tcp(String),
}

/// A text that is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is none of: database, database-admin, schema, shared-secret, api, mirror, job/NAME, tcp/HOST:PORT"
)]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let is_address = |address: &str| {
            let parts = address.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match (text, text.split_once('/')) {
            ("database", _) => Ok(Self::Database),
            ("database-admin", _) => Ok(Self::DatabaseAdmin),
            ("schema", _) => Ok(Self::Schema),
            ("shared-secret", _) => Ok(Self::SharedSecret),
            ("api", _) => Ok(Self::Api),
            ("mirror", _) => Ok(Self::Mirror),
            (_, Some(("job", name))) if !name.is_empty() => Ok(Self::Job(name.to_owned())),
            (_, Some(("tcp", address))) if is_address(address) => Ok(Self::Tcp(address.to_owned())),
            _ => Err(TargetError(text.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => formatter.write_str("database"),
            Self::DatabaseAdmin => formatter.write_str("database-admin"),
            Self::Schema => formatter.write_str("schema"),
            Self::SharedSecret => formatter.write_str("shared-secret"),
            Self::Api => formatter.write_str("api"),
            Self::Mirror => formatter.write_str("mirror"),
            Self::Job(name) => write!(formatter, "job/{name}"),
            Self::Tcp(address) => write!(formatter, "tcp/{address}"),
        }
    }
}

/// Waits for the targets, one after the other.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context, targets: &[Target]) -> Result<Report, JobError> {
    let mut report = Report::default();
    for target in targets {
        one(context, target).await?;
        report.noted(format!("ready: {target}"));
    }
    Ok(report)
}

async fn one(context: &Context, target: &Target) -> Result<(), JobError> {
    match target {
        Target::Database => {
            let name = context.settings.database()?.name.clone();
            database(context, &name, REFUSED, || context.mounts.database_user()).await
        }
        Target::DatabaseAdmin => {
            let login = || context.mounts.database_admin();
            database(context, "postgres", REFUSED_ADMIN, login).await
        }
        Target::Schema => schema_of_this_image(context).await,
        Target::SharedSecret => shared_secret(context).await,
        Target::Api => api(context).await,
        Target::Mirror => mirror(context).await,
        Target::Job(name) => job(context, name).await,
        Target::Tcp(address) => tcp(context, address).await,
    }
}

fn wait(context: &Context, what: impl Into<String>) -> Wait {
    Wait::new(what, context.limit(DAYS))
}

/// The login is read anew at each look: a Secret that is corrected reaches a running pod too. One
/// that the server refuses for as long as `refused` needs a person.
async fn database(
    context: &Context,
    name: &str,
    refused: Duration,
    login: impl Fn() -> Result<Login, SecretError>,
) -> Result<(), JobError> {
    let server = context.server()?;
    let what = format!("database '{name}' on {} as '{}'", server.name(), login()?.username);
    let mut patience = Patience { limit: refused, since: None };
    wait(context, what)
        .next(context.job_logs("db-init"))
        .until(async || {
            let Err(error) = server.connect(&login()?, name).await else {
                return Ok(State::Ready(()));
            };
            if patience.is_over(error.passes()) {
                return Err(error.into());
            }
            not_yet(error)
        })
        .await
}

/// How long a refusal may last without a break: a server that is away refuses nobody.
struct Patience {
    limit: Duration,
    since: Option<Instant>,
}

impl Patience {
    fn is_over(&mut self, passes: bool) -> bool {
        if passes {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.limit
    }
}

/// A server that is not there yet, or does not know a user or database that
/// db-init makes, is waited for; what only a person can mend is not.
fn not_yet<T>(error: DatabaseError) -> Result<State<T>, JobError> {
    match error.connect_problem() {
        Some(crate::database::ConnectProblem::Tls { .. }) | None if !error.passes() => {
            Err(error.into())
        }
        Some(problem) => Ok(State::Waiting(problem.to_string())),
        None => Ok(State::Waiting(crate::chain(&error))),
    }
}

/// Looks at MAAS's database until `look` is content.
async fn in_database(
    context: &Context,
    wait: Wait,
    look: impl AsyncFn(&Session) -> Result<State<()>, JobError>,
) -> Result<(), JobError> {
    let server = context.server()?;
    let name = &context.settings.database()?.name;
    wait.until(async || {
        let login = context.mounts.database_user()?;
        let session = match server.connect(&login, name).await {
            Ok(session) => session,
            Err(error) => return not_yet(error),
        };
        match look(&session).await {
            Err(JobError::Database(error)) if error.passes() => not_yet(error),
            other => other,
        }
    })
    .await
}

async fn schema_of_this_image(context: &Context) -> Result<(), JobError> {
    let image = region_image::version().await?;
    let wait = wait(context, format!("the schema of MAAS {image}"));
    in_database(context, wait.next(context.job_logs("db-sync")), async |session| {
        let recorded = schema::recorded(session).await?;
        schema::check(recorded, image)?;
        Ok(schema_state(recorded, image))
    })
    .await
}

fn schema_state(recorded: Recorded, image: Version) -> State<()> {
    match recorded {
        Recorded::At(recorded) if recorded == image => State::Ready(()),
        Recorded::At(recorded) => State::Waiting(format!("the schema is of MAAS {recorded}")),
        Recorded::Between { from, to } => {
            let way = schema::way(from, to);
            State::Waiting(format!("a migration of the schema {way} has begun and not ended"))
        }
        Recorded::Nothing => State::Waiting("db-sync has recorded no version".to_owned()),
    }
}

async fn shared_secret(context: &Context) -> Result<(), JobError> {
    let wait = wait(context, "the shared secret in the database");
    in_database(context, wait.next(context.job_logs("seed-secret")), async |session| {
        Ok(if seed_secret::is_there(session).await? {
            State::Ready(())
        } else {
            State::Waiting("it is not there yet".to_owned())
        })
    })
    .await
}

/// With TLS on, the plain port counts too: enable-tls has yet to run.
async fn api(context: &Context) -> Result<(), JobError> {
    let region = context.settings.region()?;
    let mut urls: Vec<String> =
        candidates(&region.url, &context.settings.tls())?.iter().map(ToString::to_string).collect();
    if !urls.iter().any(|url| url.trim_end_matches('/') == region.url.trim_end_matches('/')) {
        urls.push(region.url.clone());
    }
    let patient = Context { timeout: Some(context.limit(DAYS)), ..context.clone() };
    patient.first_ready(&urls).await.map(drop)
}

/// The mirrors, which may have to fetch, or be brought, what they are to serve. All of them: a
/// region imports from the one beside it.
pub(super) async fn mirror(context: &Context) -> Result<(), JobError> {
    let mirror = context.settings.mirror()?;
    let urls = mirror.urls();
    let what = match &urls[..] {
        [one] => format!("the mirror at {one}"),
        all => format!("the mirrors of {} regions", all.len()),
    };
    let looks: Vec<_> =
        urls.iter().map(|url| format!("{}/readyz", url.trim_end_matches('/'))).collect();
    Wait::new(what, context.limit(mirror.wait.unwrap_or(DAYS)))
        .pause(Duration::from_secs(2))
        .next(format!("curl {}", looks.join(" ")))
        .until(async || {
            let lacking = lacking_mirrors(&urls).await;
            Ok(match &lacking[..] {
                [] => State::Ready(()),
                [(_, reason)] if urls.len() == 1 => State::Waiting(reason.clone()),
                some => {
                    let each = some.iter().map(|(url, reason)| format!("{url}: {reason}"));
                    State::Waiting(each.collect::<Vec<_>>().join("; "))
                }
            })
        })
        .await
}

/// Those that are not ready, and why.
pub(super) async fn lacking_mirrors(urls: &[String]) -> Vec<(&str, String)> {
    let looks =
        urls.iter().map(async |url| Some((url.as_str(), is_mirror_ready(url).await.err()?)));
    futures_util::future::join_all(looks).await.into_iter().flatten().collect()
}

async fn job(context: &Context, name: &str) -> Result<(), JobError> {
    let cluster = context.cluster().await?;
    let (namespace, _) = context.release()?;
    let logs = format!("kubectl logs -n {namespace} job/{name} --tail=50");
    let look = format!("look at: {logs}");
    wait(context, format!("the Job {name}"))
        .pause(Duration::from_secs(2))
        .next(&logs)
        .until(async || match cluster.job(namespace, name).await {
            Ok(JobState::Complete) => Ok(State::Ready(())),
            Ok(JobState::Failed(reason)) => {
                Err(JobError::failed(format!("the Job {name} has failed: {reason}"), look.clone()))
            }
            Ok(JobState::Active(reason)) => Ok(State::Waiting(format!("{reason}; {look}"))),
            Ok(JobState::Absent) => Ok(State::Waiting("there is none yet".to_owned())),
            // An API server that starts anew.
            Err(error) if error.passes() => Ok(State::Waiting(crate::chain(&error))),
            Err(error) => Err(error.into()),
        })
        .await
}

async fn tcp(context: &Context, address: &str) -> Result<(), JobError> {
    wait(context, format!("a server at {address}"))
        .until(async || {
            let connect = tokio::net::TcpStream::connect(address);
            Ok(match tokio::time::timeout(Duration::from_secs(5), connect).await {
                Ok(Ok(_)) => State::Ready(()),
                Ok(Err(error)) => State::Waiting(error.to_string()),
                Err(_) => State::Waiting("no answer within 5 s".to_owned()),
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_borne_for_a_while_and_an_absence_for_days() {
        let mut patience = Patience { limit: REFUSED_ADMIN, since: None };
        let minute = Duration::from_secs(60);
        assert!(!patience.is_over(false));
        tokio::time::advance(4 * minute).await;
        assert!(!patience.is_over(false));
        tokio::time::advance(24 * 60 * minute).await;
        assert!(!patience.is_over(true));
        assert!(!patience.is_over(false), "the server was away between");
        tokio::time::advance(6 * minute).await;
        assert!(patience.is_over(false));
    }

    #[test]
    fn targets_are_read_and_shown() {
        for text in [
            "database",
            "database-admin",
            "schema",
            "shared-secret",
            "api",
            "mirror",
            "job/maas-db-sync-0a1b2c3d",
            "tcp/maas:5432",
            "tcp/[::1]:80",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["", "db", "job/", "tcp/maas", "tcp/:80", "tcp/maas:http", "tcp/x:70000"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
