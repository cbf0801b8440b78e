//! Leftovers: objects of others under our names, revisions that were never finished, what an
//! earlier release left.

use super::Names;
use super::report::{Check, listed};
use crate::apply::{ApplyError, Trial};
use crate::chart;
use crate::release::{Status, Stored};

/// What is there of the release itself.
pub(super) struct Past<'a> {
    /// Its newest revision.
    pub(super) last: Option<&'a Stored>,
    /// Whether this account may look for one.
    pub(super) is_seen: bool,
    /// Secrets and volumes that an uninstall kept.
    pub(super) kept: &'a [String],
}

/// Judges what is in the way.
pub(super) fn judge(
    names: &Names,
    trials: &[Trial],
    hooks: &[String],
    past: &Past<'_>,
) -> Vec<Check> {
    let mut checks = vec![record(names, past)];
    checks.extend(trials.iter().filter_map(|trial| foreign(names, trial)));
    if !hooks.is_empty() {
        let why = format!(
            "of no release of this name, and hooks of this one would delete and make them anew: {}",
            listed(hooks, 5)
        );
        checks.push(Check::fail("leftovers.hooks", "objects under the names of hooks", why).hint(
            format!(
                "delete them if nobody needs them, or use another name for this release: {}",
                delete(names, hooks)
            ),
        ));
    }
    let is_free = checks
        .iter()
        .all(|check| !check.id.starts_with("leftovers.objects") && check.id != "leftovers.hooks");
    if is_free {
        checks.push(Check::pass(
            "leftovers.objects",
            "no object of others has a name of this release's",
        ));
    }
    if past.last.is_none() && !past.kept.is_empty() {
        let what =
            format!("an earlier release left {}; this one goes on with them", listed(past.kept, 6));
        checks.push(Check::pass("leftovers.kept", what));
    }
    checks
}

fn delete(names: &Names, objects: &[String]) -> String {
    let lines: Vec<String> = objects
        .iter()
        .take(5)
        .map(|object| format!("kubectl -n {} delete {}", names.namespace, lower(object)))
        .collect();
    lines.join("; ")
}

/// `service maas-region` of `Service maas-region`.
fn lower(object: &str) -> String {
    match object.split_once(' ') {
        Some((kind, name)) => format!("{} {name}", kind.to_lowercase()),
        None => object.to_owned(),
    }
}

fn foreign(names: &Names, trial: &Trial) -> Option<Check> {
    let Err(ApplyError::Foreign { what, owner }) = &trial.outcome else { return None };
    let id = "leftovers.objects";
    Some(match owner {
        Some(owner) => Check::fail(
            id,
            what,
            format!("it is of the release {} in {}", owner.name, owner.namespace),
        )
        .hint(format!(
            "use another name for this release, or: maas-deployer uninstall {} -n {}",
            owner.name, owner.namespace
        )),
        None => {
            let object = [trial.what.clone()];
            Check::fail(id, what, "it is there, and of no release").hint(format!(
                "use another name for this release; or, if nobody needs it: {}",
                delete(names, &object)
            ))
        }
    })
}

fn record(names: &Names, past: &Past<'_>) -> Check {
    let id = "leftovers.record";
    let (release, space) = (&names.release, &names.namespace);
    let Some(last) = past.last else {
        if !past.is_seen {
            let (what, why) = ("an earlier revision", "this account may not list Secrets");
            return Check::skip(id, what, why).hint("see the checks of rights");
        }
        return Check::pass(id, format!("there is no release {release} in {space} yet"));
    };
    let (revision, status) = (last.release.version, last.release.info.status);
    let what = format!("revision {revision} of {release}, {}", status.text());
    let ours = &chart::metadata().name;
    if !last.release.chart_name().starts_with(&format!("{ours}-")) {
        let why = format!("it is of another chart, {}", last.release.chart_name());
        return Check::fail(id, what, why)
            .hint("use another name for this release: maas-deployer check --pre NAME");
    }
    match status {
        _ if status.is_pending() => {
            let why =
                format!("it was begun {} by {} and never finished", last.begun(), last.maker());
            Check::fail(id, what, why).hint(format!(
                "wait if somebody is at it; if that run was killed, with the same -f and --set options: maas-deployer upgrade --install {release} -n {space} --recover"
            ))
        }
        Status::Failed => Check::warn(id, what, last.release.info.description.clone())
            .hint("the next run goes on from there; maas-deployer history shows all revisions"),
        Status::Uninstalling => {
            Check::fail(id, what, "it is being uninstalled, or that was interrupted")
                .hint(format!("maas-deployer uninstall {release} -n {space}"))
        }
        Status::Uninstalled => Check::fail(id, what, "Helm kept its history")
            .hint(format!("helm uninstall {release} -n {space}")),
        _ => Check::pass(id, what),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report;
    use super::*;

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    #[test]
    fn objects_of_others_are_named_with_a_way_out() {
        let outcome =
            Err(ApplyError::Foreign { what: "Service ns/maas-region".into(), owner: None });
        let trial = Trial {
            what: "Service maas-region".into(),
            source: "x".into(),
            outcome,
            beside: Vec::new(),
        };
        let past = Past { last: None, is_seen: true, kept: &[] };
        let checks = judge(&names(), &[trial], &[], &past);
        assert_eq!(checks.len(), 2);
        assert_eq!(
            (checks[1].status, checks[1].id.as_str()),
            (report::Status::Fail, "leftovers.objects")
        );
        assert!(
            checks[1].hint.as_ref().unwrap().ends_with("kubectl -n ns delete service maas-region")
        );
        let hooks = ["Job maas-secrets".to_owned()];
        let checks = judge(&names(), &[], &hooks, &past);
        assert!(
            checks[1].hint.as_ref().unwrap().ends_with("kubectl -n ns delete job maas-secrets")
        );
    }

    #[test]
    fn what_was_kept_is_told_and_fails_nothing() {
        let kept = ["Secret ns/maas-db-admin".to_owned()];
        let checks = judge(&names(), &[], &[], &Past { last: None, is_seen: true, kept: &kept });
        assert!(checks.iter().all(|check| check.status == report::Status::Pass));
        assert!(checks[2].what.contains("Secret ns/maas-db-admin"));
    }
}
