//! What is installed: the release, its workloads, MAAS itself, drift.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Names;
use super::probe::{Ended, Probe, answer, put, schema};
use super::report::{Check, listed};
use super::workloads::Workload;
use crate::apply::{Action, ApplyError, Conflict, Readiness, Trial, trouble_of_pod};
use crate::chart;
use crate::counted::counted;
use crate::release::{Status, Stored};

/// The name of the probe that runs the job `test`.
pub(super) const ABOUT: &str = "maas";

/// Judges the record.
pub(super) fn release(names: &Names, last: Option<&Stored>) -> Vec<Check> {
    let id = "release.deployed";
    let (release, space) = (&names.release, &names.namespace);
    let Some(last) = last else {
        let check = Check::fail(id, format!("the release {release} in {space}"), "there is none");
        return vec![check.hint(format!(
            "name its namespace with -n; maas-deployer check --pre {release} -n {space} checks what an installation needs"
        ))];
    };
    let info = &last.release.info;
    let what = format!("revision {} of {release}, {}", last.release.version, info.status.text());
    let mut checks = vec![match info.status {
        Status::Deployed => Check::pass(id, what),
        status if status.is_pending() => {
            let why =
                format!("it was begun {} by {} and never finished", last.begun(), last.maker());
            Check::fail(id, what, why).hint(format!(
                "wait if somebody is at it; if that run was killed, with its -f and --set options: maas-deployer upgrade {release} -n {space} --recover"
            ))
        }
        Status::Uninstalling => {
            let why =
                format!("that was begun {} by {}, and never finished", last.begun(), last.maker());
            Check::fail(id, what, why).hint(format!(
                "wait if somebody is at it; if that run was killed: maas-deployer uninstall {release} -n {space}"
            ))
        }
        _ => Check::fail(id, what, info.description.clone())
            .hint(format!("maas-deployer history {release} -n {space}")),
    }];
    let (own, its) = (chart::metadata(), last.release.chart_name());
    let ours = format!("{}-{}", own.name, own.version);
    let what = format!("the chart {its}");
    checks.push(if its == ours {
        Check::pass("release.chart", format!("{what}, this program's own"))
    } else {
        Check::warn("release.chart", what, format!("this program has {ours}"))
            .hint(format!("maas-deployer upgrade {release} -n {space} brings it"))
    });
    checks
}

/// Judges one workload by its readiness; `None` where it is not there.
pub(super) fn workload(
    names: &Names,
    one: &Workload,
    state: Option<Readiness>,
    pods: &[Pod],
) -> Check {
    let id = format!("workloads.{}", one.component);
    let (what, space) = (one.shown(), &names.namespace);
    let kind = one.kind.to_lowercase();
    let describe = format!("kubectl -n {space} describe {kind} {}", one.name);
    let why = match state {
        None => {
            let hint = format!("maas-deployer upgrade {} -n {space} makes it anew", names.release);
            return Check::fail(id, what, "it is not there").hint(hint);
        }
        Some(Readiness::Ready) => {
            let is = if one.kind == "Job" { "is complete" } else { "is ready" };
            return Check::pass(id, format!("{what} {is}"));
        }
        Some(Readiness::Waiting(why) | Readiness::Failed(why)) => why,
    };
    let own = pods.iter().filter(|pod| pod.name_any().starts_with(&format!("{}-", one.name)));
    let trouble = own.filter_map(|pod| Some((pod.name_any(), trouble_of_pod(pod)?))).next();
    match trouble {
        Some((pod, trouble)) => {
            let container = trouble.container.map(|name| format!(" -c {name}")).unwrap_or_default();
            let hint = format!(
                "kubectl -n {space} describe pod {pod}\nkubectl -n {space} logs {pod}{container} --tail=50"
            );
            Check::fail(id, what, format!("{why}; pod {pod}: {}", trouble.reason)).hint(hint)
        }
        None => Check::fail(id, what, why).hint(describe),
    }
}

/// The pod of `helm test`, told to answer in JSON and not to wait long.
pub(super) fn test(test: &Workload) -> Probe {
    let mut spec = test.written.clone();
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let args = json!(["job", "test", "--timeout", "30s", "-o", "json", "-q"]);
        put(container, "args", args);
    }
    put(&mut spec, "terminationGracePeriodSeconds", json!(0));
    Probe {
        about: ABOUT.to_owned(),
        spec,
        secret: std::collections::BTreeMap::new(),
        is_about_images: false,
    }
}

/// Judges by what the job `test` said.
pub(super) fn maas(names: &Names, ended: &Ended, log: &[String]) -> Vec<Check> {
    let (id, what) = ("maas.test", "MAAS, from a pod");
    let space = &names.namespace;
    let said = match ended {
        Ended::Stuck(why) => {
            return vec![Check::skip(id, what, format!("no pod could look at it: {why}"))];
        }
        Ended::Late(why) => {
            let why = format!("the pod that looks at it did not end in time: {why}");
            return vec![
                Check::fail(id, what, why).hint(format!("kubectl -n {space} get pods,events")),
            ];
        }
        Ended::Seen(_) => answer(log),
    };
    let Some(said) = said else {
        let last = log.last().map_or("it said nothing", String::as_str);
        return vec![Check::fail(id, what, format!("the pod that looks at it failed: {last}"))];
    };
    let texts = |key: &str| -> Vec<String> {
        let list = said.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if schema(&said) == "maas-deployer/job/1" {
        return texts("notes").into_iter().map(|note| Check::pass(id, note)).collect();
    }
    let details = texts("details");
    let reasons = if details.is_empty() { vec![texts("causes").join(": ")] } else { details };
    let hint = said.get("hint").and_then(Value::as_str).unwrap_or("kubectl get pods").to_owned();
    reasons.into_iter().map(|why| Check::fail(id, what, why).hint(hint.clone())).collect()
}

/// Judges how what is there differs from what was recorded.
pub(super) fn drift(names: &Names, trials: &[Trial]) -> Vec<Check> {
    let (id, what) = ("drift.objects", "the record beside what is there");
    let hint = format!(
        "maas-deployer diff {} -n {} shows it; an upgrade puts it back, with --force-conflicts where another program says that it owns the field",
        names.release, names.namespace
    );
    let (mut changed, mut unknown) = (Vec::new(), Vec::new());
    for trial in trials {
        match &trial.outcome {
            Ok(None) => {}
            Ok(Some(Action::Create)) => changed.push(format!("{} is gone", trial.what)),
            Ok(Some(_)) => changed.push(format!("{} differs", trial.what)),
            Err(ApplyError::Conflicts { conflicts, .. }) => {
                let by: Vec<&str> = conflicts.iter().map(|one| one.manager.as_str()).collect();
                changed.push(format!("{} was changed by {}", trial.what, by.join(", ")));
            }
            Err(ApplyError::Foreign { .. }) => {
                changed.push(format!("{} is another's now", trial.what));
            }
            Err(error) => unknown.push(format!("{}: {}", trial.what, crate::chain(error))),
        }
    }
    let mut checks = Vec::new();
    if !changed.is_empty() {
        let why = format!(
            "{} of {}: {}",
            counted(changed.len(), "object"),
            trials.len(),
            listed(&changed, 5)
        );
        checks.push(Check::warn(id, what, why).hint(hint));
    } else if unknown.is_empty() {
        checks.push(Check::pass(
            id,
            format!("{} are as they were recorded", counted(trials.len(), "object")),
        ));
    }
    if !unknown.is_empty() {
        checks.push(Check::skip(id, what, format!("not seen: {}", listed(&unknown, 3))));
    }
    checks.extend(beside(names, trials));
    checks
}

/// Judges what others set in objects beside what was recorded: an upgrade does not take it away.
fn beside(names: &Names, trials: &[Trial]) -> Option<Check> {
    let of = |trial: &Trial| {
        let field =
            |one: &Conflict| format!("{} of {}, set by {}", one.field, trial.what, one.manager);
        trial.beside.iter().map(field).collect::<Vec<_>>()
    };
    let fields: Vec<String> = trials.iter().flat_map(of).collect();
    let first = trials.iter().find(|trial| !trial.beside.is_empty())?;
    let object = first.what.to_lowercase().replacen(' ', "/", 1);
    Some(
        Check::warn("drift.others", "fields beside those of the release", listed(&fields, 5)).hint(
            format!(
                "an upgrade leaves them as they are; where nobody needs them: kubectl -n {} edit {object}",
                names.namespace
            ),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Status as Is;
    use super::super::workloads::tests::{of_chart, rendered};
    use super::super::workloads::workloads;
    use super::*;

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    #[test]
    fn a_workload_that_is_not_ready_says_why_its_pod_is_not() {
        let region = of_chart("region", json!({}));
        assert_eq!(workload(&names(), &region, Some(Readiness::Ready), &[]).status, Is::Pass);
        assert_eq!(workload(&names(), &region, None, &[]).why, "it is not there");
        let status = json!({"name": "region", "ready": false, "image": "", "imageID": "", "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}});
        let pod = json!({"metadata": {"name": "maas-region-0"}, "status": {"containerStatuses": [status]}});
        let pods = [serde_json::from_value(pod).unwrap()];
        let waiting = Some(Readiness::Waiting("0 of 1 ready".into()));
        let found = workload(&names(), &region, waiting, &pods);
        assert_eq!(found.why, "0 of 1 ready; pod maas-region-0: ImagePullBackOff: no such image");
        assert!(found.hint.unwrap().contains("kubectl -n ns logs maas-region-0 -c region"));
    }

    #[test]
    fn what_the_test_says_is_a_check_each() {
        let ended = Ended::Seen(Box::default());
        let good = json!({"schema": "maas-deployer/job/1", "notes": ["the API key works", "connected: a"]});
        let checks = maas(&names(), &ended, &[good.to_string()]);
        assert_eq!(checks.len(), 2);
        assert!(checks.iter().all(|check| check.status == Is::Pass));
        let bad = json!({"schema": "maas-deployer/error/1", "causes": ["the installation is not whole"],
            "details": ["no rack is connected", "noble: 5 %"], "hint": "look"});
        let checks = maas(&names(), &ended, &["{}".into(), bad.to_string()]);
        let whys: Vec<&str> = checks.iter().map(|check| check.why.as_str()).collect();
        assert_eq!(whys, ["no rack is connected", "noble: 5 %"]);
        let (_, hooks) = rendered(json!({}));
        let pod = workloads(&hooks).into_iter().find(|one| one.component == "test").unwrap();
        assert_eq!(test(&pod).spec["containers"][0]["args"][1], "test");
    }

    #[test]
    fn drift_is_counted_and_named() {
        let trial = |what: &str, outcome| Trial {
            what: what.into(),
            source: String::new(),
            outcome,
            beside: Vec::new(),
        };
        let trials = [
            trial("Service a", Ok(None)),
            trial("Service b", Ok(Some(Action::Update))),
            trial("Role c", Ok(Some(Action::Create))),
        ];
        let found = &drift(&names(), &trials)[0];
        assert_eq!(
            (found.status, found.why.as_str()),
            (Is::Warn, "2 objects of 3: Service b differs, Role c is gone")
        );
        assert_eq!(drift(&names(), &trials[..1])[0].status, Is::Pass);
        let mut theirs = trial("Service a", Ok(None));
        theirs.beside.push(Conflict {
            manager: "kubectl-edit".into(),
            field: ".spec.ports[port=81]".into(),
        });
        let found = drift(&names(), &[theirs]);
        assert_eq!((found[0].status, found[1].status), (Is::Pass, Is::Warn));
        assert_eq!(found[1].why, ".spec.ports[port=81] of Service a, set by kubectl-edit");
        assert!(found[1].hint.as_ref().unwrap().ends_with("kubectl -n ns edit service/a"));
    }
}
