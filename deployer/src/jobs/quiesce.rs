//! `quiesce`: what must end before an upgrade begins.
//!
//! Jobs go that have failed, and those that would go on with what the upgrade is to
//! change: `old_jobs` says which. Where the image brings another version of MAAS, no
//! region may run while the schema changes: the StatefulSet is scaled to none; Helm's
//! upgrade, which follows, brings it back.
//!
//! The database says which version it is of. Where it cannot be asked, as when its
//! password was changed and db-init has yet to set it, regions may go on only if
//! they run the very image that the upgrade brings.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::old_jobs::{Judge, OldJobs};
use super::region_image;
use super::report::Report;
use super::schema::{self, Recorded};
use crate::cluster::{Cluster, Image, Pod};
use crate::database::{ConnectProblem, DatabaseError, LockHolder, Session};
use crate::secret::Login;
use crate::version::Version;
use crate::wait::{State, Wait};

/// How long regions may take to end; their pods have their own grace period.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long a node may take to tell which image this very pod runs.
const OWN_IMAGE_LIMIT: Duration = Duration::from_secs(30);

/// The container of MAAS in a region's pod.
const REGION: &str = "region";

/// The container of this job.
const OWN: &str = "quiesce";

/// How long a migration whose Job was deleted may hold its lock.
const UNLOCK: Duration = Duration::from_secs(5 * 60);

/// Removes Jobs that must not go on, and stops the regions where MAAS's version changes.
/// `coming` are the names of the Jobs that the upgrade brings.
///
/// # Errors
/// [`JobError`]; [`JobError::Downgrade`] and [`JobError::HalfMigrated`] before anything is stopped.
pub async fn run(context: &Context, coming: &[String]) -> Result<Report, JobError> {
    let mut report = Report::default();
    let regions = Regions::new(context).await?;
    let image = region_image::version().await?;
    // What is refused leaves all as it is, Jobs and their logs too.
    let schema = recorded(context).await?;
    let mut plan = match &schema {
        Schema::Of(_, recorded) => decide(*recorded, image)?,
        Schema::Unknown(reason) => without_database(context, &regions, reason).await?,
    };
    let is_migrating = schema.is_migrating().await?;
    let jobs = OldJobs {
        cluster: &regions.cluster,
        namespace: regions.namespace,
        selector: &regions.selector,
        judge: Judge { prefix: &regions.prefix, coming, is_migrating },
    };
    let had_migration = jobs.delete(context, &mut report).await?;
    if let (true, Schema::Of(session, _)) = (had_migration, &schema) {
        unlocked(context, session).await?;
        // It may have begun or ended since it was asked about.
        plan = decide(schema::recorded(session).await?, image)?;
    }
    match plan {
        Plan::GoOn(reason) => report.noted(reason),
        Plan::Stop(recorded) => stop(context, &regions, recorded, image, &mut report).await?,
    }
    Ok(report)
}

/// What is to become of the regions.
enum Plan {
    /// They go on, and why.
    GoOn(String),
    /// They end, as the schema is so and will be of another version.
    Stop(Recorded),
}

fn decide(recorded: Recorded, image: Version) -> Result<Plan, JobError> {
    schema::check(recorded, image)?;
    if recorded == Recorded::At(image) {
        return Ok(Plan::GoOn(format!(
            "the schema is of MAAS {image}, as the image: regions go on"
        )));
    }
    Ok(Plan::Stop(recorded))
}

/// A migration whose Job was deleted holds its lock until its session has ended.
async fn unlocked(context: &Context, session: &Session) -> Result<(), JobError> {
    Wait::new("the lock of the schema to be free", context.limit(UNLOCK))
        .next("SELECT * FROM pg_stat_activity, in MAAS's database")
        .until(async || {
            Ok::<_, JobError>(match LockHolder::of_schema(session).await? {
                None => State::Ready(()),
                Some(LockHolder { pid, address }) => {
                    State::Waiting(format!("it holds the lock: process {pid} of {address}"))
                }
            })
        })
        .await
}

struct Regions<'a> {
    cluster: Cluster,
    namespace: &'a str,
    /// What the names of the release's objects begin with.
    prefix: String,
    selector: String,
    statefulset: &'a str,
}

impl<'a> Regions<'a> {
    async fn new(context: &'a Context) -> Result<Self, JobError> {
        let release = context.settings.release()?;
        let statefulset = context.settings.region()?.statefulset.as_str();
        if statefulset.is_empty() {
            return Err(JobError::Settings("the settings have no region.statefulset".to_owned()));
        }
        Ok(Self {
            cluster: context.cluster().await?,
            namespace: &release.namespace,
            prefix: format!("{}-", release.fullname),
            // As a part of another chart, this one shares its release with the other parts.
            selector: format!(
                "app.kubernetes.io/name=maas,app.kubernetes.io/instance={}",
                release.name
            ),
            statefulset,
        })
    }

    /// Those whose own containers have started. One that waits in its init containers is no
    /// region yet, and will be none until the schema is its own.
    async fn running(&self) -> Result<Vec<Pod>, JobError> {
        let mut alive = self.alive().await?;
        alive.retain(|pod| pod.phase != "Pending");
        Ok(alive)
    }

    async fn alive(&self) -> Result<Vec<Pod>, JobError> {
        let pods = self.cluster.pods_of(self.namespace, &self.selector, self.statefulset).await?;
        Ok(pods.into_iter().filter(Pod::is_alive).collect())
    }

    /// What runs, or is to run, another image than the one that the upgrade brings; `None` where
    /// nothing does.
    ///
    /// A region began to run when the schema was of its own version, and db-sync has changed none
    /// under it: so what brings the same image brings the schema's version.
    async fn of_another_image(
        &self,
        context: &Context,
        running: &[Pod],
    ) -> Result<Option<String>, JobError> {
        let Ok(upgrade) = context.settings.upgrade() else {
            return Ok(Some("this upgrade does not say which image it brings".to_owned()));
        };
        let name = &upgrade.region_image;
        let next = self.cluster.next_image(self.namespace, self.statefulset, REGION).await?;
        if next.as_ref() != Some(name) {
            let next = next.as_deref().unwrap_or("none");
            return Ok(Some(format!("{} has the image {next}, not {name}", self.statefulset)));
        }
        let brought = Image { name: name.clone(), digest: self.own_digest(context).await? };
        Ok(running.iter().find_map(|pod| {
            let image = pod.images.get(REGION).cloned().unwrap_or_default();
            let (from, to) = (shown(&image), shown(&brought));
            let differs = !image.is_same(&brought);
            differs.then(|| format!("{} runs the image {from}, not {to}", pod.name))
        }))
    }

    /// The digest of this very pod's image, which is the region's; `None` where it cannot be had.
    async fn own_digest(&self, context: &Context) -> Result<Option<String>, JobError> {
        // A pod is called as its host.
        let Ok(own) = std::env::var("HOSTNAME") else { return Ok(None) };
        let limit = context.limit(OWN_IMAGE_LIMIT).min(OWN_IMAGE_LIMIT);
        let found = Wait::new("the node to tell the image of this pod", limit)
            .until(async || {
                let pod = self.cluster.pod(self.namespace, &own).await?;
                let Some(image) = pod.as_ref().and_then(|pod| pod.images.get(OWN)) else {
                    return Ok(State::Ready(None));
                };
                Ok(match &image.digest {
                    Some(digest) => State::Ready(Some(digest.clone())),
                    None => State::Waiting(format!("{own} has no digest yet")),
                })
            })
            .await;
        match found {
            // Loaded into the node by hand, it has none.
            Err(JobError::Wait(_)) => Ok(None),
            other => other,
        }
    }
}

fn shown(image: &Image) -> String {
    let digest = image.digest.as_ref().map(|digest| format!(" ({digest})"));
    format!("{}{}", image.name, digest.unwrap_or_default())
}

/// What the database says of its schema.
enum Schema {
    /// It is so, as db-sync recorded it; and the session that said it.
    Of(Session, Recorded),
    /// It cannot be asked, and why.
    Unknown(String),
}

impl Schema {
    /// Whether a migration is under way, rather than half done.
    async fn is_migrating(&self) -> Result<bool, JobError> {
        match self {
            Self::Of(session, Recorded::Between { .. }) => {
                Ok(LockHolder::of_schema(session).await?.is_some())
            }
            _ => Ok(false),
        }
    }
}

/// Asks as whoever gets in: before the upgrade that is who the Secret says, unless another upgrade
/// that brought this one's password ended half way.
async fn recorded(context: &Context) -> Result<Schema, JobError> {
    let server = context.server()?;
    let name = &context.settings.database()?.name;
    let mut reasons = Vec::new();
    for login in logins(context)? {
        let error = match server.connect(&login, name).await {
            Ok(session) => match schema::recorded(&session).await {
                Ok(recorded) => return Ok(Schema::Of(session, recorded)),
                Err(JobError::Database(error)) if error.is_outside() => error,
                Err(error) => return Err(error),
            },
            Err(error) if error.is_outside() => error,
            Err(error) => return Err(error.into()),
        };
        reasons.push(crate::chain(&error));
        if !is_refused(&error) {
            break;
        }
    }
    reasons.dedup();
    if reasons.is_empty() {
        reasons.push("there is no Secret with a login yet".to_owned());
    }
    Ok(Schema::Unknown(reasons.join("; ")))
}

/// What the Secret says before the upgrade, then what the upgrade brings.
fn logins(context: &Context) -> Result<Vec<Login>, JobError> {
    let present = context.mounts.present_database_user()?;
    let brought = match context.mounts.database_user() {
        Ok(login) => Some(login),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error.into()),
    };
    let mut logins: Vec<Login> = present.into_iter().chain(brought).collect();
    logins.dedup();
    Ok(logins)
}

/// Whether the server is there and does not let this login in: another may be.
fn is_refused(error: &DatabaseError) -> bool {
    use ConnectProblem::{Other, Password, Rules};
    matches!(error.connect_problem(), Some(Password | Rules(_) | Other(_)))
}

/// Nothing is known of the schema: there is no way to the database, or no way in. Where no
/// region runs there is nothing to stop, and the upgrade may be what mends that: it brings the
/// right image, the right address, or the job that makes the role or sets its password.
async fn without_database(
    context: &Context,
    regions: &Regions<'_>,
    reason: &str,
) -> Result<Plan, JobError> {
    let running = regions.running().await?;
    if running.is_empty() {
        return Ok(Plan::GoOn(format!(
            "the database cannot be asked, and no region runs ({reason})"
        )));
    }
    let Some(other) = regions.of_another_image(context, &running).await? else {
        return Ok(Plan::GoOn(format!(
            "the database cannot be asked ({reason}); the image stays, and with it MAAS's version: regions go on"
        )));
    };
    let pods: Vec<String> = running.iter().map(Pod::shown).collect();
    Err(JobError::refused(
        format!(
            "the database cannot be asked which version its schema is of ({reason}), regions run ({}), and MAAS's version may change: {other}",
            pods.join(", ")
        ),
        format!(
            "bring the database back; or, where its password was changed, upgrade with the old image first; or stop the regions: kubectl scale -n {} statefulset/{} --replicas=0",
            regions.namespace, regions.statefulset
        ),
    ))
}

async fn stop(
    context: &Context,
    regions: &Regions<'_>,
    recorded: Recorded,
    image: Version,
    report: &mut Report,
) -> Result<(), JobError> {
    let (namespace, name) = (regions.namespace, regions.statefulset);
    let Some(scale) = regions.cluster.scale(namespace, name).await? else {
        report.noted(format!("there is no StatefulSet {name} yet"));
        return Ok(());
    };
    let why = match recorded {
        Recorded::Nothing => format!("an unknown version becomes {image}"),
        Recorded::At(old) => format!("MAAS {old} becomes {image}"),
        Recorded::Between { from, to } => {
            format!("a migration {} has begun and not ended", schema::way(from, to))
        }
    };
    if scale.wanted > 0 {
        regions.cluster.set_scale(namespace, name, 0).await?;
        report.changed(format!("scaled {name} from {} to 0: {why}", scale.wanted));
    }
    Wait::new(format!("the pods of {name} to end"), context.limit(LIMIT))
        .next(format!("kubectl get pods -n {namespace} -l {}", regions.selector))
        .until(async || {
            let alive = regions.alive().await?;
            Ok::<_, JobError>(if alive.is_empty() {
                State::Ready(())
            } else {
                let pods: Vec<String> = alive.iter().map(Pod::shown).collect();
                State::Waiting(pods.join(", "))
            })
        })
        .await?;
    report.noted(format!("no pod of {name} runs"));
    Ok(())
}
