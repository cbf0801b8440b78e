//! What of a status is wrong. What is not known is no part of it, but for the objects and pods
//! themselves.

use super::Status;
use crate::apply::Standing;
use crate::counted::counted;
use crate::release::Status as State;

/// From how many days on an expiry is told as wrong.
pub(super) const SOON_DAYS: i64 = 14;

pub(super) fn problems(status: &Status) -> Vec<String> {
    let mut all = Vec::new();
    if let Ok(release) = &status.release
        && release.status != State::Deployed
    {
        let (revision, state) = (release.revision, release.status.text());
        all.push(format!("revision {revision} is {state}: {}", release.description));
    }
    // Of nothing that matters most it can be said that it is well.
    if let Err(reason) = &status.phases {
        all.push(format!("it is not known how the release's objects stand: {reason}"));
    }
    if let Err(reason) = &status.pods {
        all.push(format!("it is not known how its pods stand: {reason}"));
    }
    for phase in status.phases.iter().flatten() {
        let wrong = phase.objects.iter().filter(|object| object.standing != Standing::Done);
        all.extend(wrong.map(|object| {
            let reason = object.reason.as_deref().unwrap_or("it is not as it should be");
            format!("{}: {reason}", object.what)
        }));
    }
    for pod in status.pods.iter().flatten().filter(|pod| pod.is_stuck) {
        all.push(format!("pod {}: {}", pod.name, pod.reason.as_deref().unwrap_or("it is stuck")));
    }
    for mirror in status.mirrors.iter().flatten() {
        mirror_problems(mirror, &mut all);
    }
    maas_problems(status, &mut all);
    if let Some((name, Ok(false))) = &status.api_key {
        all.push(format!(
            "the Secret {name} with MAAS's API key is not there: an upgrade makes it \
             again, with the same values too"
        ));
    }
    for certificate in status.certificates.iter().flatten() {
        let name = format!("{} in the Secret {}", certificate.key, certificate.secret);
        match certificate.days_left() {
            Some(days) if days < 0 => all.push(format!("{name} has expired")),
            Some(days) if days < SOON_DAYS => {
                all.push(format!("{name} expires in {}", counted(days, "day")));
            }
            _ => {}
        }
    }
    all
}

fn mirror_problems(mirror: &super::MirrorState, all: &mut Vec<String>) {
    for (fingerprint, when) in mirror.keys() {
        match super::days_until(when) {
            days if days < 0 => {
                all.push(format!("the mirror's signing key {fingerprint} has expired"));
            }
            days if days < SOON_DAYS => {
                let left = counted(days, "day");
                all.push(format!("the mirror's signing key {fingerprint} expires in {left}"));
            }
            _ => {}
        }
    }
    let Ok(ready) = &mirror.ready else { return };
    let pod = &mirror.pod;
    if mirror.is_ready() == Some(false) {
        let reason = ready.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default();
        all.push(format!("the mirror in {pod} is not ready: {reason}"));
    }
    if let Some(reason) = mirror.failed_sync() {
        all.push(format!("the last sync of the mirror in {pod} failed: {reason}"));
    }
    let damaged = ready.get("damaged_blobs").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if damaged > 0 {
        all.push(format!("the mirror in {pod} found {}", counted(damaged, "damaged file")));
    }
}

fn maas_problems(status: &Status, all: &mut Vec<String>) {
    let Some(Ok(maas)) = &status.maas else { return };
    if let Ok(racks) = &maas.racks
        && !racks.iter().any(|rack| rack.is_connected)
    {
        all.push("no rack is connected to MAAS".to_owned());
    }
    for image in maas.images.iter().flatten().filter(|image| !image.is_complete) {
        all.push(format!("MAAS has {} % of {}", image.percent, image.name));
    }
}
