//! Pod Security admission: whether the namespace lets the pods in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Names;
use super::report::Check;
use super::workloads::Workload;
use crate::cluster::ClusterError;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// The level that a namespace enforces; `None` where it says none.
pub(super) fn level(namespace: Option<&Value>) -> Option<&str> {
    namespace?.pointer("/metadata/labels")?.get(ENFORCE)?.as_str()
}

/// A pod as a workload would make it, for a dry run. Its account may not be there yet, and
/// another admission would stop at that.
pub(super) fn pod(workload: &Workload, namespace: &str) -> Value {
    let mut spec = workload.written.clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("serviceAccountName");
        spec.insert("restartPolicy".to_owned(), json!("Always"));
        if !workload.stays() {
            spec.insert("restartPolicy".to_owned(), json!("Never"));
        }
        mount_claims(spec, workload);
    }
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{}-check", workload.name), "namespace": namespace}, "spec": spec})
}

/// What a StatefulSet's controller adds.
fn mount_claims(spec: &mut serde_json::Map<String, Value>, workload: &Workload) {
    let volumes = workload.claims.iter().filter_map(|claim| claim.metadata.name.clone());
    let volumes = volumes.map(|name| {
        json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{name}-{}-0", workload.name)}})
    });
    let held = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(held) = held.as_array_mut() {
        held.extend(volumes);
    }
}

/// Judges by what the server said of a pod of each workload.
pub(super) fn judge(
    names: &Names,
    level: Option<&str>,
    tried: &[(String, Result<(), ClusterError>)],
) -> Vec<Check> {
    let id = "security.admission";
    let (space, what) = (&names.namespace, "pods of the release");
    let enforced = level.map_or("enforces no level of its own".to_owned(), |level| {
        format!("enforces the level {level}")
    });
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (who, result) in tried {
        if let Err(ClusterError::Api { code: 403, message, .. }) = result {
            refused.entry(reason(message)).or_default().push(who);
        }
    }
    if let Some((_, who)) = refused.iter().find(|(reason, _)| reason.contains("cannot create")) {
        let why = format!("this account may not make pods, so {} were not tried", who.join(", "));
        let hint = format!(
            "kubectl -n {space} get namespace {space} -o yaml shows {ENFORCE}; it has to be privileged"
        );
        return vec![match level {
            // The rack's network and the region's capabilities are in no other level.
            Some("baseline" | "restricted") => {
                Check::fail(id, what, format!("the namespace {enforced}")).hint(relabel(space))
            }
            _ => Check::skip(id, what, why).hint(hint),
        }];
    }
    let mut checks: Vec<Check> = refused
        .iter()
        .map(|(reason, who)| {
            let what = who.join(", ");
            if reason.contains("PodSecurity") {
                let why = format!("the namespace {enforced}: {reason}");
                Check::fail(id, what, why).hint(relabel(space))
            } else if reason.contains("looking up service account") {
                // A namespace that was just made has none for a moment.
                Check::skip(id, what, reason.clone()).hint("run this again in a moment")
            } else {
                Check::fail(id, what, reason.clone())
                    .hint(format!("kubectl -n {space} describe resourcequota,limitrange"))
            }
        })
        .collect();
    let others = tried.iter().filter_map(|(who, result)| match result {
        Err(ClusterError::Api { code: 403, .. }) | Ok(()) => None,
        Err(error) => Some((who, error)),
    });
    checks.extend(others.map(|(who, error)| {
        Check::skip(id, who.clone(), crate::chain(error)).hint("see the checks of objects")
    }));
    if checks.is_empty() {
        checks.push(Check::pass(id, format!("{what} are admitted; the namespace {enforced}")));
    }
    checks
}

fn relabel(space: &str) -> String {
    format!("kubectl label namespace {space} {ENFORCE}=privileged --overwrite")
}

/// `pods "x" is forbidden: REASON`.
fn reason(message: &str) -> String {
    message.split_once("is forbidden: ").map_or(message, |(_, reason)| reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::super::workloads::tests::of_chart;
    use super::*;

    fn forbidden(reason: &str) -> Result<(), ClusterError> {
        Err(ClusterError::Api {
            doing: String::new(),
            code: 403,
            message: format!("pods \"x\" is forbidden: {reason}"),
            reason: "Forbidden".into(),
            fields: Vec::new(),
        })
    }

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    #[test]
    fn what_is_violated_is_told_with_the_way_out() {
        let tried = [
            (
                "StatefulSet maas-rack".to_owned(),
                forbidden(
                    "violates PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)",
                ),
            ),
            ("Job x".to_owned(), Ok(())),
        ];
        let checks = judge(&names(), Some("restricted"), &tried);
        assert_eq!((checks.len(), checks[0].status), (1, Status::Fail));
        assert!(checks[0].why.contains("hostNetwork=true"), "{}", checks[0].why);
        let hint =
            "kubectl label namespace ns pod-security.kubernetes.io/enforce=privileged --overwrite";
        assert_eq!(checks[0].hint.as_deref(), Some(hint));
        let admitted = judge(&names(), None, &[("Job x".to_owned(), Ok(()))]);
        assert_eq!(admitted[0].status, Status::Pass);
    }

    #[test]
    fn without_the_right_to_make_pods_the_label_decides() {
        let reason = "User \"x\" cannot create resource \"pods\" in API group \"\"";
        let tried = [("Job x".to_owned(), forbidden(reason))];
        assert_eq!(judge(&names(), Some("baseline"), &tried)[0].status, Status::Fail);
        assert_eq!(judge(&names(), None, &tried)[0].status, Status::Skipped);
    }

    #[test]
    fn a_pod_that_is_tried_has_its_claims_and_no_account() {
        let pod = pod(&of_chart("rack", json!({})), "ns");
        assert_eq!(pod["spec"]["serviceAccountName"], Value::Null);
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert!(
            volumes
                .iter()
                .any(|one| one["persistentVolumeClaim"]["claimName"] == "state-maas-rack-0")
        );
    }
}
