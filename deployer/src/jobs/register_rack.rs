//! `register-rack`: makes this rack known to the region, once.
//!
//! What was registered is remembered, as a hash, beside MAAS's own state. Only
//! another URL or another secret registers anew; the rack's id stays its own
//! otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{files, seed_secret, wait_for};
use crate::region_command::Run;
use crate::secret::Secret;

/// How long `maas-rack register` may take: it restarts the rack's service.
const LIMIT: Duration = Duration::from_secs(300);

/// How long it waits for the region; systemd starts it again.
const REGION: Duration = Duration::from_secs(15 * 60);

/// Where MAAS keeps a rack's state, and its configuration.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/var/lib/maas`.
    pub state: PathBuf,
    /// `/etc/maas/rackd.conf`.
    pub configuration: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { state: "/var/lib/maas".into(), configuration: "/etc/maas/rackd.conf".into() }
    }
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    /// SHA-256 of URL and secret.
    sha256: String,
}

/// Registers the rack with the region, unless it is registered there.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context, places: &Places) -> Result<Report, JobError> {
    let mut report = Report::default();
    let url = context.settings.region()?.url.clone();
    let secret = context.mounts.shared_secret()?;
    seed_secret::check(&secret)?;
    let wanted = Registered { sha256: fingerprint(&url, &secret) };
    if read(places)?.as_ref() == Some(&wanted) && is_whole(places)? {
        report.noted(format!("the rack is registered with {url}"));
        return Ok(report);
    }
    let patient = Context { timeout: Some(context.limit(REGION)), ..context.clone() };
    wait_for::run(&patient, &[wait_for::Target::Api]).await?;
    // The secret comes on stdin, which the command reads where a URL is given.
    Run::new("maas-rack", LIMIT)
        .args(["register", "--url", &url])
        .stdin(Secret::new(format!("{}\n", secret.expose())))
        .mask(&secret)
        .run()
        .await?;
    let record = serde_json::to_vec(&wanted).unwrap_or_default();
    files::write(&record_path(places), &record, 0o600)?;
    report.changed(format!("registered the rack with {url}"));
    Ok(report)
}

/// Whether this rack was registered, with whichever region.
///
/// # Errors
/// [`JobError`] where the record cannot be read.
pub fn is_registered(places: &Places) -> Result<bool, JobError> {
    Ok(read(places)?.is_some() && is_whole(places)?)
}

/// Whether what `maas-rack register` writes is there still.
fn is_whole(places: &Places) -> Result<bool, JobError> {
    let there = |path: &Path| Ok::<_, JobError>(files::read(path)?.is_some_and(|c| !c.is_empty()));
    Ok(there(&places.configuration)? && there(&places.state.join("secret"))?)
}

fn record_path(places: &Places) -> PathBuf {
    places.state.join("maas-deployer-registered.json")
}

/// A record that cannot be understood is none.
fn read(places: &Places) -> Result<Option<Registered>, JobError> {
    let content = files::read(&record_path(places))?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

fn fingerprint(url: &str, secret: &Secret) -> String {
    let mut hash = Sha256::new();
    hash.update(url.trim_end_matches('/'));
    hash.update([0]);
    hash.update(secret.expose());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_url_or_secret_is_another_registration() {
        let of = |url: &str, secret: &str| fingerprint(url, &Secret::new(secret));
        assert_eq!(of("http://maas/MAAS", "a"), of("http://maas/MAAS/", "a"));
        assert_ne!(of("http://maas/MAAS", "a"), of("http://maas/MAAS", "b"));
        assert_ne!(of("http://maas/MAAS", "a"), of("https://maas/MAAS", "a"));
    }
}
