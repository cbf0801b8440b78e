//! `db-sync`: the database's schema, by `maas-region dbupgrade`.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::schema::{self, Recorded};
use super::{db_init, region_image};
use crate::database::{Lock, Session};
use crate::region_command::{CommandError, Run};
use crate::version::Version;

/// How long a migration may take; MAAS's own take minutes, on large databases
/// an hour.
const MIGRATION: Duration = Duration::from_secs(2 * 60 * 60);

/// Brings the schema to this image's version, unless it is there. Of two at
/// once, the second waits and finds it done. One that was killed or failed is
/// gone on with.
///
/// # Errors
/// [`JobError`]; [`JobError::Downgrade`] and [`JobError::HalfMigrated`] where the
/// schema is of a newer MAAS, or on its way there.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let image = region_image::version().await?;
    let session = context.maas_database().await?;
    db_init::check_server(&session).await?;
    let limit = context.limit(MIGRATION);
    let lock = Lock::schema::<JobError>(&session, limit).await?;
    let recorded = schema::recorded(&session).await?;
    schema::check(recorded, image)?;
    if recorded == Recorded::At(image) {
        report.noted(format!("the schema is of MAAS {image} already"));
        return Ok(report);
    }
    if let Recorded::Between { from, to } = recorded {
        let was = schema::way(from, to);
        tracing::warn!(was, "an earlier migration has not ended: going on with it");
        // The server goes on for a while with what a run that died was at.
        lock.others::<JobError>(limit).await?;
    }
    region_image::configure(context)?;
    migrate(context, &session, &lock, recorded, image).await?;
    schema::write(&session, Recorded::At(image)).await?;
    report.changed(match recorded.from() {
        Some(old) => format!("migrated the schema from MAAS {old} to {image}"),
        None => format!("made the schema of MAAS {image}"),
    });
    Ok(report)
}

/// Runs the migration, which is recorded to be under way from before its begin.
async fn migrate(
    context: &Context,
    session: &Session,
    lock: &Lock<'_>,
    recorded: Recorded,
    image: Version,
) -> Result<(), JobError> {
    schema::begin(session, recorded, image).await?;
    let way = schema::way(recorded.from(), image);
    tracing::info!(version = %image, "migrating the schema");
    let password = context.mounts.database_user()?.password;
    let before = session.transaction_number().await?;
    let run = Run::maas_region(context.limit(MIGRATION)).args(["dbupgrade"]).mask(&password);
    let source = tokio::select! {
        done = run.run() => match done {
            Ok(_) if lock.is_held() => return Ok(()),
            Ok(_) => return Err(lost(&way)),
            Err(error) => error,
        },
        // Whoever takes the lock now begins: two at once must not be.
        () = lock.lost() => return Err(lost(&way)),
    };
    if has_ended(&source) && session.transaction_number().await? == before + 1 {
        tracing::info!("nothing was written: the schema is as it was");
        schema::write(session, recorded).await?;
        return Err(source.into());
    }
    Err(JobError::Migration { way, source })
}

/// Whether the program ended by itself, or never began: none of its statements
/// is under way any more.
fn has_ended(error: &CommandError) -> bool {
    match error {
        CommandError::Missing { .. } => true,
        CommandError::Failed { code, .. } => code.is_some(),
        CommandError::Run { .. } | CommandError::Endless { .. } => false,
    }
}

fn lost(way: &str) -> JobError {
    JobError::failed(
        format!(
            "the connection that held the lock of the schema was lost during the migration {way}"
        ),
        "run it again: it goes on from there, and what is done is not done twice",
    )
}
