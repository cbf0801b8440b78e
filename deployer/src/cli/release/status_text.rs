//! A status, for people.

use std::fmt::Write as _;

use super::super::output::printable;
use super::colour::{Colour, Paint};
use super::status_mirror::mirror;
use crate::apply::{PhaseState, Standing};
use crate::counted::counted;
use crate::status::{EventState, Known, MaasState, PodState, Status};
use crate::wait::spoken;

/// How much of a line is shown.
const WIDTH: usize = 200;

/// The name of the last part of a screen.
pub(super) const VERDICT: &str = "verdict";

/// A part of the screen: its name, and its lines.
type Section = (&'static str, Vec<(Colour, String)>);

/// One screen.
pub(super) fn screen(status: &Status, paint: Paint) -> String {
    let mut text = String::new();
    for (name, lines) in sections(status, true) {
        for (at, (colour, line)) in lines.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            let line = cut(&printable(line).replace('\n', " "));
            let _ = writeln!(text, "{name:<13}{}", paint.on(*colour, &line));
        }
    }
    text
}

/// The same as lines that stand alone, without what changes at every look.
pub(super) fn lines(status: &Status) -> Vec<String> {
    let all = sections(status, false).into_iter();
    all.flat_map(|(name, lines)| {
        lines.into_iter().map(move |(_, line)| format!("{name}: {}", cut(&printable(&line))))
    })
    .collect()
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// `with_ages`: also how long ago things were.
fn sections(status: &Status, with_ages: bool) -> Vec<Section> {
    let mut all = vec![
        ("release", vec![release(status, with_ages)]),
        ("phases", known(&status.phases, |phases| phases.iter().map(phase).collect())),
        ("pods", known(&status.pods, |pods| pods_shown(pods, with_ages))),
        (
            "mirror",
            known(&status.mirrors, |all| all.iter().flat_map(|it| mirror(it, with_ages)).collect()),
        ),
    ];
    if let Some(maas) = &status.maas {
        all.push(("MAAS", known(maas, maas_shown)));
    }
    if let Some((name, there)) = &status.api_key {
        all.push(("API key", known(there, |there| vec![api_key(name, *there)])));
    }
    all.push((
        "certificates",
        known(&status.certificates, |all| all.iter().map(certificate).collect()),
    ));
    all.push((
        "events",
        known(&status.events, |all| all.iter().map(|it| event(it, with_ages)).collect()),
    ));
    all.push((VERDICT, verdict(&status.problems)));
    all
}

/// What is shown of a source; `-` where there is nothing.
fn known<T>(
    source: &Known<T>,
    show: impl FnOnce(&T) -> Vec<(Colour, String)>,
) -> Vec<(Colour, String)> {
    match source {
        Ok(found) => {
            let lines = show(found);
            if lines.is_empty() { vec![(Colour::Plain, "-".to_owned())] } else { lines }
        }
        Err(reason) => vec![unknown(reason)],
    }
}

pub(super) fn unknown(reason: &str) -> (Colour, String) {
    (Colour::Yellow, format!("unknown: {reason}"))
}

fn release(status: &Status, with_ages: bool) -> (Colour, String) {
    let (name, space) = (&status.name, &status.namespace);
    match &status.release {
        Err(reason) => {
            (Colour::Yellow, format!("{name} in {space}; its record is unknown: {reason}"))
        }
        Ok(it) => {
            let when = if with_ages { &it.age } else { &it.updated };
            let text = format!(
                "{name} in {space}: revision {}, {}, {when}; chart {}, MAAS {}",
                it.revision,
                it.status.text(),
                it.chart,
                it.app_version
            );
            let is_well = it.status == crate::release::Status::Deployed;
            (if is_well { Colour::Plain } else { Colour::Red }, text)
        }
    }
}

fn phase(state: &PhaseState) -> (Colour, String) {
    let standing = state.standing();
    let done = state.objects.iter().filter(|one| one.standing == Standing::Done).count();
    let mut text = format!("{:<16}{:<9}", state.phase.word(), standing.name());
    let _ = write!(text, "{done} of {}", state.objects.len());
    if let Some(worst) = state.objects.iter().find(|one| one.standing == standing)
        && standing != Standing::Done
    {
        let _ = write!(text, "; {}: {}", worst.what, worst.reason.as_deref().unwrap_or_default());
    }
    let colour = match standing {
        Standing::Done => Colour::Green,
        Standing::Waiting => Colour::Yellow,
        Standing::Absent | Standing::Failed => Colour::Red,
    };
    (colour, text)
}

fn pods_shown(pods: &[PodState], with_ages: bool) -> Vec<(Colour, String)> {
    let running = || pods.iter().filter(|pod| !pod.is_over());
    let width = running().map(|pod| pod.name.len()).max().unwrap_or(0);
    let mut lines: Vec<(Colour, String)> =
        running().map(|pod| pod_shown(pod, width, with_ages)).collect();
    let over = pods.len() - lines.len();
    if over > 0 {
        lines.push((Colour::Plain, format!("and {over} that have done their work")));
    }
    lines
}

fn pod_shown(pod: &PodState, width: usize, with_ages: bool) -> (Colour, String) {
    let mut text = format!("{:<width$}  {}/{} {}", pod.name, pod.ready, pod.containers, pod.phase);
    if let Some(age) = pod.created.filter(|_| with_ages).and_then(ago) {
        let _ = write!(text, ", {age} old");
    }
    if pod.restarts > 0 {
        let _ = write!(text, ", {}", counted(pod.restarts, "restart"));
    }
    if let Some(node) = &pod.node {
        let _ = write!(text, ", on {node}");
    }
    if let Some(reason) = &pod.reason {
        let _ = write!(text, "; {reason}");
    }
    let colour = match (pod.is_stuck || pod.phase == "Failed", pod.is_ready()) {
        (true, _) => Colour::Red,
        (_, true) => Colour::Plain,
        _ => Colour::Yellow,
    };
    (colour, text)
}

/// How long ago that was.
fn ago(time: jiff::Timestamp) -> Option<String> {
    let seconds = jiff::Timestamp::now().as_second() - time.as_second();
    let seconds = u64::try_from(seconds).ok()?;
    Some(match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        _ => spoken(std::time::Duration::from_secs(seconds)),
    })
}

fn maas_shown(maas: &MaasState) -> Vec<(Colour, String)> {
    let mut lines = vec![match &maas.version {
        Ok(version) => (Colour::Plain, format!("version {version}")),
        Err(reason) => unknown(reason),
    }];
    if let (Err(reason), Err(other)) = (&maas.racks, &maas.images)
        && reason == other
    {
        lines.push((Colour::Yellow, format!("racks and images are unknown: {reason}")));
        return lines;
    }
    lines.extend(known(&maas.racks, |racks| {
        let connected = racks.iter().filter(|rack| rack.is_connected).count();
        let colour = if connected > 0 { Colour::Plain } else { Colour::Red };
        vec![(colour, format!("{connected} of {} connected", counted(racks.len(), "rack")))]
    }));
    let images = known(&maas.images, |images| {
        let line = |image: &crate::status::ImageState| {
            let colour = if image.is_complete { Colour::Plain } else { Colour::Yellow };
            let state = if image.is_complete {
                "imported".to_owned()
            } else {
                format!("{} %", image.percent)
            };
            (colour, format!("{}: {state}", image.name))
        };
        images.iter().map(line).collect()
    });
    lines.extend(images);
    lines
}

fn api_key(name: &str, there: bool) -> (Colour, String) {
    match there {
        true => (Colour::Plain, format!("the Secret {name} is there")),
        false => (Colour::Red, format!("the Secret {name} is not there")),
    }
}

fn certificate(state: &crate::status::CertificateState) -> (Colour, String) {
    let name = format!("Secret {}, {}", state.secret, state.key);
    match (&state.expires, state.days_left()) {
        (Ok(when), Some(days)) if days < 0 => (Colour::Red, format!("{name}: expired at {when}")),
        (Ok(when), Some(days)) => {
            let colour = if days < 90 { Colour::Yellow } else { Colour::Plain };
            (colour, format!("{name}: {} left, until {when}", counted(days, "day")))
        }
        (Err(reason), _) => unknown(&format!("{name}: {reason}")),
        (Ok(when), None) => (Colour::Plain, format!("{name}: until {when}")),
    }
}

fn event(event: &EventState, with_ages: bool) -> (Colour, String) {
    let age = event.last.filter(|_| with_ages).and_then(ago);
    let age = age.map(|age| format!("{age} ago, ")).unwrap_or_default();
    let times = if event.count > 1 && with_ages {
        format!(" ({} times)", event.count)
    } else {
        String::new()
    };
    (Colour::Yellow, format!("{age}{}: {}: {}{times}", event.object, event.reason, event.message))
}

fn verdict(problems: &[String]) -> Vec<(Colour, String)> {
    if problems.is_empty() {
        return vec![(Colour::Green, "all is well, as far as it is known".to_owned())];
    }
    problems.iter().map(|problem| (Colour::Red, problem.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apply::{Object, Phase};
    use crate::status::{CertificateState, ImageState, MirrorState, RackState, ReleaseState};

    fn pod(name: &str, ready: usize, reason: Option<&str>) -> PodState {
        PodState {
            name: name.into(),
            phase: "Running".into(),
            ready,
            containers: 2,
            restarts: i32::from(reason.is_some()) * 6,
            created: None,
            node: Some("node-1".into()),
            reason: reason.map(str::to_owned),
            is_stuck: reason.is_some(),
        }
    }

    fn revision() -> ReleaseState {
        ReleaseState {
            revision: 3,
            status: crate::release::Status::Deployed,
            updated: "2026-01-02T03:04:05Z".into(),
            age: "4 min ago (2026-01-02T03:04:05Z)".into(),
            chart: "maas-0.3.0".into(),
            app_version: "3.6.4".into(),
            description: "Upgrade complete".into(),
        }
    }

    fn mirror() -> MirrorState {
        let last = json!({"finished": "2026-01-02T03:00:00Z", "outcome": {"failed": "no route"}});
        MirrorState {
            pod: "maas-region-0".into(),
            ready: Ok(json!({"ready": true, "snapshot": "sha256:0123456789abcdef"})),
            status: Ok(json!({"current": {"items": 12, "bytes": 1_234_567_890_u64},
                "partials": 2, "partial_bytes": 300_000_000, "free_bytes": 5000,
                "last_sync": last, "locked_by": {"command": "maas-mirror serve"}})),
        }
    }

    fn maas() -> MaasState {
        let (name, percent) = ("ubuntu/noble amd64".into(), 40);
        MaasState {
            version: Ok("3.6.4".into()),
            racks: Ok(vec![RackState { hostname: "node-1".into(), is_connected: true }]),
            images: Ok(vec![ImageState { name, percent, is_complete: false }]),
        }
    }

    fn status() -> Status {
        let phase = |phase, what: &str, standing, reason: Option<&str>| PhaseState {
            phase,
            objects: vec![Object {
                what: what.into(),
                standing,
                reason: reason.map(str::to_owned),
            }],
        };
        Status {
            name: "maas".into(),
            namespace: "metal".into(),
            release: Ok(revision()),
            phases: Ok(vec![
                phase(Phase::Configuration, "Service metal/maas-region", Standing::Done, None),
                phase(
                    Phase::Region,
                    "StatefulSet metal/maas-region",
                    Standing::Waiting,
                    Some("0 of 1 ready"),
                ),
            ]),
            pods: Ok(vec![
                pod("maas-rack-x", 2, None),
                pod("maas-region-0", 1, Some("container region: it has ended 6 times")),
            ]),
            mirrors: Ok(vec![mirror()]),
            maas: Some(Ok(maas())),
            api_key: Some(("metal/maas-api-key".into(), Ok(true))),
            certificates: Ok(vec![CertificateState {
                secret: "maas-region-api-tls".into(),
                key: "tls.crt".into(),
                expires: Err("it is no certificate".into()),
            }]),
            events: Ok(vec![EventState {
                last: None,
                object: "Pod maas-region-0".into(),
                reason: "BackOff".into(),
                message: "Back-off restarting failed container".into(),
                count: 3,
            }]),
            problems: vec!["StatefulSet metal/maas-region: 0 of 1 ready".into()],
        }
    }

    #[test]
    fn a_status_is_one_screen() {
        let screen = screen(&status(), Paint::none());
        let kept = include_str!("../../../tests/data/status.txt");
        assert_eq!(screen, kept, "tests/data/status.txt");
    }

    #[test]
    fn what_is_not_known_is_told_once() {
        let reason =
            || "your account has no right to read the Secret metal/maas-api-key".to_owned();
        let mut status = status();
        status.pods = Err("no answer".into());
        if let Some(Ok(maas)) = &mut status.maas {
            (maas.racks, maas.images) = (Err(reason()), Err(reason()));
        }
        let screen = screen(&status, Paint::none());
        assert!(screen.contains("\npods         unknown: no answer\n"), "{screen}");
        assert_eq!(screen.matches("no right to read the Secret").count(), 1, "{screen}");
    }

    #[test]
    fn colours_and_lines_are_only_how_it_is_shown() {
        let coloured = screen(&status(), Paint::all());
        assert!(coloured.contains("\u{1b}[31m"), "{coloured:?}");
        let lines = lines(&status());
        assert!(lines.contains(&"API key: the Secret metal/maas-api-key is there".to_owned()));
        assert!(!lines.iter().any(|line| line.contains("free") || line.contains("times)")));
    }
}
