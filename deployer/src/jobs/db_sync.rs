//! `db-sync`: the database's schema, by `maas-region dbupgrade`.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{region_image, schema};
use crate::database::Lock;
use crate::region_command::Run;

/// How long a migration may take; MAAS's own take minutes, on large databases
/// an hour.
const MIGRATION: Duration = Duration::from_secs(2 * 60 * 60);

/// Brings the schema to this image's version, unless it is there. Of two at
/// once, the second waits and finds it done.
///
/// # Errors
/// [`JobError`]; [`JobError::Downgrade`] where the schema is of a newer MAAS.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let image = region_image::version().await?;
    let session = context.maas_database().await?;
    let limit = context.limit(MIGRATION);
    let lock = Lock::schema::<JobError>(&session, limit).await?;
    let recorded = schema::recorded(&session).await?;
    schema::check(recorded, image)?;
    if recorded == Some(image) {
        report.noted(format!("the schema is of MAAS {image} already"));
        return Ok(report);
    }
    region_image::configure(context)?;
    tracing::info!(version = %image, "migrating the schema");
    let password = context.mounts.database_user()?.password;
    Run::maas_region(limit).args(["dbupgrade"]).mask(&password).run().await?;
    if !lock.is_held() {
        return Err(JobError::failed(
            "the connection that held the lock of the schema was lost during the migration",
            "run it again: a migration that is done is not done twice",
        ));
    }
    schema::record(&session, image).await?;
    report.changed(match recorded {
        Some(old) => format!("migrated the schema from MAAS {old} to {image}"),
        None => format!("made the schema of MAAS {image}"),
    });
    Ok(report)
}
