//! What jobs have in common that run in the region's image.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::{files, region_conf};
use crate::region_command::Run;
use crate::version::Version;

/// The group that MAAS's programs run as.
const GROUP: &str = "maas";

/// The version of MAAS in this image.
pub(super) async fn version() -> Result<Version, JobError> {
    let query = ["--show", "--showformat=${Version}", "maas-region-api"];
    let printed = Run::new("dpkg-query", Duration::from_secs(30)).args(query).run().await?;
    printed.stdout.parse().map_err(JobError::ImageVersion)
}

/// Writes the configuration that `maas-region` reads in this container.
pub(super) fn configure(context: &Context) -> Result<(), JobError> {
    let path = configuration();
    let content = region_conf::content(context)?;
    if files::read(&path)?.as_deref() != Some(content.expose().as_bytes()) {
        files::write(&path, content.expose().as_bytes(), 0o640)?;
    }
    hand_over(&path);
    Ok(())
}

/// Where MAAS's programs look for it: as they do, in `MAAS_REGION_CONFIG` first.
fn configuration() -> PathBuf {
    std::env::var_os("MAAS_REGION_CONFIG")
        .map_or_else(|| PathBuf::from("/etc/maas/regiond.conf"), PathBuf::from)
}

/// Lets MAAS's group read the file, where there is such a group and we may.
fn hand_over(path: &Path) {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let id = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(GROUP)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    if let Some(id) = id
        && let Err(error) = chown(path, None, Some(id))
    {
        tracing::warn!(path = %path.display(), %error, "cannot give the file to the group maas");
    }
}
