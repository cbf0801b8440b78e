//! `disable-tls`: has MAAS serve its API without TLS.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{region_image, tls_record};
use crate::region_command::Run;

/// How long `config_tls` may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Switches TLS off, where MAAS's database says that it is on.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let held = tls_record::read(&context.maas_database().await?).await?;
    if !held.is_on() {
        report.noted("MAAS serves no TLS");
        return Ok(report);
    }
    region_image::configure(context)?;
    let password = context.mounts.database_user()?.password;
    Run::maas_region(LIMIT).args(["config_tls", "disable"]).mask(&password).run().await?;
    report.changed("switched TLS off");
    // The jobs that wait for it go on then.
    context.maas().await?;
    report.noted("MAAS answers without TLS");
    Ok(report)
}
