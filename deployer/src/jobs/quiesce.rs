//! `quiesce`: what must end before an upgrade begins.
//!
//! Failed Jobs go: a Job of the same content would keep its failed self, and its
//! name. Where the image brings another version of MAAS, no region may run while
//! the schema changes: the StatefulSet is scaled to none; Helm's upgrade, which
//! follows, brings it back.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{region_image, schema};
use crate::cluster::{Cluster, Pod};
use crate::database::DatabaseError;
use crate::version::Version;
use crate::wait::{State, Wait};

/// How long regions may take to end; their pods have their own grace period.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Removes failed Jobs, and stops the regions where MAAS's version changes.
///
/// # Errors
/// [`JobError`]; [`JobError::Downgrade`] before anything is stopped.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let regions = Regions::new(context).await?;
    let image = region_image::version().await?;
    for job in regions.cluster.delete_failed_jobs(regions.namespace, &regions.selector).await? {
        report.changed(format!("deleted the failed Job {job}"));
    }
    let recorded = match recorded(context).await {
        Ok(recorded) => recorded,
        Err(JobError::Database(error)) if error.is_outside() => {
            return without_database(&regions, &error, report).await;
        }
        Err(error) => return Err(error),
    };
    schema::check(recorded, image)?;
    if recorded == Some(image) {
        report.noted(format!("the schema is of MAAS {image}, as the image: regions go on"));
        return Ok(report);
    }
    stop(context, &regions, recorded, image, &mut report).await?;
    Ok(report)
}

struct Regions<'a> {
    cluster: Cluster,
    namespace: &'a str,
    selector: String,
    statefulset: &'a str,
}

impl<'a> Regions<'a> {
    async fn new(context: &'a Context) -> Result<Self, JobError> {
        let (namespace, release) = context.release()?;
        let statefulset = context.settings.region()?.statefulset.as_str();
        if statefulset.is_empty() {
            return Err(JobError::Settings("the settings have no region.statefulset".to_owned()));
        }
        let selector = format!("app.kubernetes.io/instance={release}");
        Ok(Self { cluster: context.cluster().await?, namespace, selector, statefulset })
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
}

async fn recorded(context: &Context) -> Result<Option<Version>, JobError> {
    let session = context.maas_database().await?;
    schema::recorded(&session).await
}

/// Nothing is known of the schema: there is no way to the database, or no way in. Where no
/// region runs there is nothing to stop, and the upgrade may be what mends that: it brings the
/// right image, the right address, or the job that makes the role.
async fn without_database(
    regions: &Regions<'_>,
    error: &DatabaseError,
    mut report: Report,
) -> Result<Report, JobError> {
    let running = regions.running().await?;
    if running.is_empty() {
        report.noted(format!("the database cannot be reached, and no region runs ({error})"));
        return Ok(report);
    }
    let pods: Vec<String> = running.iter().map(Pod::shown).collect();
    Err(JobError::refused(
        format!(
            "the database cannot be reached ({}), so the version of its schema is not known, and regions run: {}",
            crate::chain(error),
            pods.join(", ")
        ),
        format!(
            "bring the database back, or stop the regions first: kubectl scale -n {} statefulset/{} --replicas=0",
            regions.namespace, regions.statefulset
        ),
    ))
}

async fn stop(
    context: &Context,
    regions: &Regions<'_>,
    recorded: Option<Version>,
    image: Version,
    report: &mut Report,
) -> Result<(), JobError> {
    let (namespace, name) = (regions.namespace, regions.statefulset);
    let Some(scale) = regions.cluster.scale(namespace, name).await? else {
        report.noted(format!("there is no StatefulSet {name} yet"));
        return Ok(());
    };
    let from =
        recorded.map_or_else(|| "an unknown version".to_owned(), |old| format!("MAAS {old}"));
    if scale.wanted > 0 {
        regions.cluster.set_scale(namespace, name, 0).await?;
        report.changed(format!("scaled {name} from {} to 0: {from} becomes {image}", scale.wanted));
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
