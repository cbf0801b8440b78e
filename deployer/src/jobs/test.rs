//! `test`: whether an installation does what it is for.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::resources::{Wanted, look};
use super::wait_for;
use crate::maas::Client;
use crate::wait::{State, Wait};

/// How long a rack may take to connect: one may just have been started anew.
const RACK: Duration = Duration::from_secs(120);

/// Checks the API key, the racks, the images and the mirror.
///
/// # Errors
/// [`JobError`]; all that is wrong in one.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let maas = context.maas_with_key().await?;
    let user = maas.whoami().await?;
    let mut wrong = Vec::new();
    if user.is_superuser {
        report.noted(format!("the API key works; it is {}'s", user.username));
    } else {
        wrong.push(format!("the API key is {}'s, who is no administrator", user.username));
    }
    rack(context, &maas, &mut wrong, &mut report).await?;
    if let Ok(images) = context.settings.images() {
        for wanted in look(&maas, images).await? {
            if wanted.is_complete() {
                report.noted(format!("{} is imported", wanted.name));
            } else {
                wrong.extend(Wanted::lacks(&wanted));
            }
        }
    }
    if let Ok(mirror) = context.settings.mirror() {
        let urls = mirror.urls();
        let lacking = wait_for::lacking_mirrors(&urls).await;
        wrong.extend(lacking.iter().map(|(url, reason)| format!("the mirror at {url}: {reason}")));
        if lacking.is_empty() {
            report.noted(format!("ready: the mirror at {}", urls.join(", the mirror at ")));
        }
    }
    if wrong.is_empty() {
        return Ok(report);
    }
    Err(JobError::Several {
        reason: "the installation is not whole".to_owned(),
        details: wrong,
        hint: format!(
            "look at: {}; and at the logs of what is not ready",
            context.settings.names().kubectl("get", "pods,jobs", None)
        ),
    })
}

async fn rack(
    context: &Context,
    maas: &Client,
    wrong: &mut Vec<String>,
    report: &mut Report,
) -> Result<(), JobError> {
    let connected = Wait::new("a rack to connect", context.limit(RACK))
        .pause(Duration::from_secs(5))
        .until(async || {
            let racks = maas.racks().await?;
            let connected: Vec<String> = racks
                .iter()
                .filter(|rack| rack.is_connected("rackd"))
                .map(|rack| rack.hostname.clone())
                .collect();
            if !connected.is_empty() {
                return Ok(State::Ready(connected));
            }
            let all =
                racks.iter().map(|rack| format!("{} is {}", rack.hostname, rack.status("rackd")));
            let all: Vec<String> = all.collect();
            Ok::<_, JobError>(State::Waiting(if all.is_empty() {
                "MAAS knows of none".to_owned()
            } else {
                all.join(", ")
            }))
        })
        .await;
    match connected {
        Ok(connected) => report.noted(format!("connected: {}", connected.join(", "))),
        Err(JobError::Wait(error)) => wrong.push(format!("no rack is connected: {}", error.last)),
        Err(error) => return Err(error),
    }
    Ok(())
}
