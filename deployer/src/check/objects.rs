//! Values and objects: what the API server says of each, by dry run.

use super::Names;
use super::report::{Check, listed};
use crate::apply::{ApplyError, Trial};
use crate::cluster::ClusterError;
use crate::counted::counted;

/// Values that ask for kinds which not every cluster has.
const OPTIONAL: [(&str, &str); 4] = [
    ("ServiceMonitor", "manifests.service_monitor"),
    ("Certificate", "cert_manager.enabled"),
    ("Issuer", "cert_manager.create"),
    ("ClusterIssuer", "cert_manager.create"),
];

/// The values were read, checked and rendered: else nothing came this far.
pub(super) fn values(chart: &str) -> Check {
    Check::pass(
        "values.valid",
        format!("the values are valid, and {chart} can be rendered with them"),
    )
}

/// How the trials went, by what it means.
#[derive(Default)]
struct Sorted<'a> {
    accepted: usize,
    unknown: Vec<&'a Trial>,
    unreadable: Vec<&'a Trial>,
    refused: Vec<(&'a Trial, String)>,
    conflicts: Vec<(&'a Trial, String)>,
}

fn sorted(trials: &[Trial]) -> Sorted<'_> {
    let mut sorted = Sorted::default();
    for trial in trials {
        match &trial.outcome {
            // What belongs to others is told among the leftovers.
            Ok(_) | Err(ApplyError::Foreign { .. }) => sorted.accepted += 1,
            Err(ApplyError::UnknownKind { .. }) => sorted.unknown.push(trial),
            Err(ApplyError::Conflicts { conflicts, .. }) => {
                let fields: Vec<String> = conflicts
                    .iter()
                    .map(|one| format!("{} owns {}", one.manager, one.field))
                    .collect();
                sorted.conflicts.push((trial, listed(&fields, 3)));
            }
            Err(ApplyError::Cluster(error)) if is_about_rights(error) => {
                sorted.unreadable.push(trial);
            }
            Err(error) => sorted.refused.push((trial, said(error))),
        }
    }
    sorted
}

/// Whether the account lacks a right, which the checks of rights say.
fn is_about_rights(error: &ClusterError) -> bool {
    match error {
        ClusterError::Api { code: 403, message, .. } => message.contains("cannot "),
        _ => false,
    }
}

fn said(error: &ApplyError) -> String {
    match error {
        ApplyError::Cluster(ClusterError::Api { message, .. }) => message.clone(),
        other => crate::chain(other),
    }
}

/// Judges the trials.
pub(super) fn judge(names: &Names, trials: &[Trial]) -> Vec<Check> {
    let sorted = sorted(trials);
    let mut checks = Vec::new();
    if sorted.refused.is_empty() && sorted.accepted > 0 {
        let what =
            if sorted.accepted == trials.len() { "every object is" } else { "all others are" };
        checks.push(Check::pass(
            "objects.accepted",
            format!("{what} accepted, by a dry run on the server"),
        ));
    }
    for (trial, why) in sorted.refused.iter().take(10) {
        let hint = if why.contains("exceeded quota") {
            format!("have the quota raised: kubectl -n {} describe resourcequota", names.namespace)
        } else {
            format!(
                "correct the values that {} is made of: maas-deployer template --show-only {}",
                trial.what,
                template(trial)
            )
        };
        checks.push(Check::fail("objects.accepted", trial.what.clone(), why.clone()).hint(hint));
    }
    for trial in &sorted.unknown {
        checks.push(unknown(trial));
    }
    for (trial, why) in &sorted.conflicts {
        let hint = "have that program leave the fields alone, or take them: --force-conflicts";
        checks.push(Check::fail("objects.conflicts", trial.what.clone(), why.clone()).hint(hint));
    }
    if !sorted.unreadable.is_empty() {
        let some: Vec<String> = sorted.unreadable.iter().map(|trial| trial.what.clone()).collect();
        let what = format!("{} not tried", counted(some.len(), "object"));
        let why = format!("this account lacks a right that it takes: {}", listed(&some, 4));
        checks.push(Check::skip("objects.untried", what, why).hint("see the checks of rights"));
    }
    checks
}

/// `templates/rack.yaml`.
fn template(trial: &Trial) -> &str {
    trial.source.split_once('/').map_or(trial.source.as_str(), |(_, path)| path)
}

fn unknown(trial: &Trial) -> Check {
    let kind = trial.what.split(' ').next().unwrap_or_default();
    let why = format!("the cluster knows no {kind}");
    let value = OPTIONAL.iter().find(|(one, _)| *one == kind).map(|(_, value)| *value);
    let asks = match value {
        Some(value) => format!("--set {value}=false, or install what defines {kind} first"),
        None => format!("install what defines {kind} first, or take it out of {}", template(trial)),
    };
    Check::fail("objects.kinds", trial.what.clone(), why).hint(asks)
}

/// Nothing could be tried, as there is no namespace to try it in; kinds are known all the same.
pub(super) fn untried(names: &Names, unknown_kinds: &[Trial]) -> Vec<Check> {
    let why = format!("the namespace {} is not there", names.namespace);
    let mut checks = vec![
        Check::skip("objects.accepted", "objects tried by dry run on the server", why)
            .hint(format!("kubectl create namespace {}", names.namespace)),
    ];
    checks.extend(unknown_kinds.iter().map(unknown));
    checks
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;
    use crate::apply::{Action, Conflict};

    fn trial(what: &str, outcome: Result<Option<Action>, ApplyError>) -> Trial {
        Trial {
            what: what.into(),
            source: "maas/templates/rack.yaml".into(),
            outcome,
            beside: Vec::new(),
        }
    }

    fn api(code: u16, message: &str) -> ApplyError {
        ApplyError::Cluster(ClusterError::Api {
            doing: "try".into(),
            code,
            message: message.into(),
            reason: String::new(),
            fields: Vec::new(),
        })
    }

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    #[test]
    fn each_refusal_is_told_and_all_else_counted() {
        let unknown = ApplyError::UnknownKind {
            kind: "ServiceMonitor".into(),
            api_version: "monitoring.coreos.com/v1".into(),
            name: "maas".into(),
        };
        let conflict = ApplyError::Conflicts {
            what: "Service x".into(),
            conflicts: vec![Conflict { manager: "kubectl".into(), field: ".spec.ports".into() }],
        };
        let trials = [
            trial("Service a", Ok(None)),
            trial("ServiceMonitor maas", Err(unknown)),
            trial("Service x", Err(conflict)),
            trial("StatefulSet maas-rack", Err(api(422, "spec.replicas: must be positive"))),
            trial(
                "Role r",
                Err(api(403, "roles is forbidden: User \"x\" cannot patch resource \"roles\"")),
            ),
            trial("Secret s", Err(api(403, "exceeded quota: small"))),
        ];
        let checks = judge(&names(), &trials);
        let ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "objects.accepted",
                "objects.accepted",
                "objects.kinds",
                "objects.conflicts",
                "objects.untried"
            ]
        );
        assert_eq!(checks[0].why, "spec.replicas: must be positive");
        assert!(checks[0].hint.as_ref().unwrap().ends_with("--show-only templates/rack.yaml"));
        assert!(checks[1].hint.as_ref().unwrap().contains("describe resourcequota"));
        assert!(
            checks[2].hint.as_ref().unwrap().starts_with("--set manifests.service_monitor=false")
        );
        assert_eq!(checks[3].why, "kubectl owns .spec.ports");
        assert_eq!(checks[4].status, Status::Skipped);
    }

    #[test]
    fn all_that_is_accepted_is_one_line() {
        let checks = judge(&names(), &[trial("Service a", Ok(Some(Action::Create)))]);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].what, "every object is accepted, by a dry run on the server");
    }
}
