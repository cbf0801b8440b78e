//! `probe`: whether a region or a rack is well. Run by the kubelet every few
//! seconds, so it needs no settings, starts nothing heavy, and answers soon.

use std::time::Duration;

use super::error::JobError;
use super::register_rack::{Places, is_registered};
use super::report::Report;
use crate::maas::{Client, MaasError, Options, Problem, Retries};
use crate::region_command::Run;
use crate::settings::Names;

/// How long one part of it may take.
const LIMIT: Duration = Duration::from_secs(8);

/// Where a region answers.
const REGION: &str = "http://127.0.0.1:5240/MAAS";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A region.
    Region,
    /// A rack.
    Rack,
    /// Any pod that runs systemd.
    Any,
}

/// Asks whether `subject` is ready; or, with `live`, whether it is any use to
/// wait for it: a database that is down, or slow, makes no region dead.
///
/// # Errors
/// [`JobError`] where it is not.
pub async fn run(
    subject: Subject,
    live: bool,
    region: Option<&str>,
    names: &Names,
) -> Result<Report, JobError> {
    let mut report = Report::default();
    match (subject, live) {
        (Subject::Region, true) => region_lives(region.unwrap_or(REGION), names).await?,
        (Subject::Region, false) => region_is_ready(region.unwrap_or(REGION), names).await?,
        (Subject::Rack, false) => rack_is_ready(names).await?,
        (Subject::Rack | Subject::Any, _) => systemd_lives().await?,
    }
    report.noted("well");
    Ok(report)
}

async fn version(url: &str, names: &Names) -> Result<Result<(), MaasError>, JobError> {
    // Itself: whose certificate it is does not matter.
    let options = Options { insecure: true, retries: Retries::NONE, ..Options::default() };
    let client = Client::new(url, &options)?;
    match tokio::time::timeout(LIMIT, client.version()).await {
        Ok(answer) => Ok(answer.map(drop)),
        Err(_) => Err(JobError::failed(
            format!("{url} does not answer within {} s", LIMIT.as_secs()),
            format!("look at the region's log: {}", names.region_logs()),
        )),
    }
}

async fn region_is_ready(url: &str, names: &Names) -> Result<(), JobError> {
    let error = match version(url, names).await? {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    // With TLS on, the plain port redirects to the port that has it.
    if let Problem::Redirect(to) = &error.problem
        && let Some(secure) = local(to)
    {
        return Ok(version(&secure, names).await??);
    }
    Err(error.into())
}

/// The URL that was redirected to, on this host.
fn local(to: &str) -> Option<String> {
    let url = url::Url::parse(to).ok()?;
    let port = url.port_or_known_default()?;
    (url.scheme() == "https").then(|| format!("https://127.0.0.1:{port}/MAAS"))
}

/// Fails only where nothing listens: a region that does not answer, or not in
/// time, may wait for its database, and a new one would wait for it as well.
async fn region_lives(url: &str, names: &Names) -> Result<(), JobError> {
    let address = url::Url::parse(url).ok().and_then(|url| {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port_or_known_default()?))
    });
    let Some((host, port)) = address else {
        return Err(JobError::failed(format!("'{url}' is no URL"), "give --url http://HOST:PORT"));
    };
    let connect = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(LIMIT, connect).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(JobError::failed(
                format!("nothing listens on {host}, port {port}"),
                format!(
                    "look at the region's log: {}; the pod is started anew",
                    names.region_logs()
                ),
            ))
        }
        _ => Ok(()),
    }
}

async fn rack_is_ready(names: &Names) -> Result<(), JobError> {
    if !is_registered(&Places::default())? {
        return Err(JobError::failed(
            "the rack is not registered yet",
            format!("look at: {}", names.job_logs("rack")),
        ));
    }
    Run::new("systemctl", LIMIT).args(["is-active", "maas-rackd.service"]).run().await?;
    Ok(())
}

/// systemd answers, whatever the state of its units. It exits with 1 unless all
/// is well.
async fn systemd_lives() -> Result<(), JobError> {
    let asked = Run::new("systemctl", LIMIT).args(["is-system-running"]).run().await;
    let state = match asked {
        Ok(_) => return Ok(()),
        Err(crate::region_command::CommandError::Failed { tail, .. }) => tail,
        Err(error) => return Err(error.into()),
    };
    let alive = ["initializing", "starting", "running", "degraded", "maintenance", "stopping"];
    if alive.contains(&state.trim()) {
        return Ok(());
    }
    Err(JobError::failed(format!("systemd is {}", state.trim()), "the pod is started anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_looked_for_on_this_host() {
        let to = "https://maas.example.org:5443/MAAS/api/2.0/version/";
        assert_eq!(local(to).unwrap(), "https://127.0.0.1:5443/MAAS");
        assert_eq!(local("https://maas/MAAS/").unwrap(), "https://127.0.0.1:443/MAAS");
        assert_eq!(local("http://maas/MAAS/"), None);
        assert_eq!(local("/MAAS/l/"), None);
    }
}
