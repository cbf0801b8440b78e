//! What is known of a workload that was not ready in time.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::trouble;
use crate::cluster::{Cluster, Place};

/// What is known of a pod that is not as it should be.
pub(crate) struct Known {
    /// Its state, its last events, the end of the log of what is not ready in it.
    pub(crate) details: Vec<String>,
    /// The command that shows more.
    pub(crate) next: String,
}

/// Of the pods of a workload, the one that is not as it should be; none where there is
/// none, or it cannot be asked.
pub(crate) async fn of_workload(
    cluster: &Cluster,
    space: &str,
    (kind, name): (&str, &str),
    release: &str,
) -> Option<Known> {
    let selector = match kind {
        "Job" => format!("batch.kubernetes.io/job-name={name}"),
        _ => format!("app.kubernetes.io/instance={release}"),
    };
    let place = Place::list("/api/v1", Some(space), "pods");
    let doing = format!("list the pods of the {kind} {name}");
    let found = cluster.list(&doing, &place, ("labelSelector", &selector)).await.ok()?;
    let mut pods: Vec<Pod> =
        found.into_iter().filter_map(|pod| serde_json::from_value(pod).ok()).collect();
    // What a Job that takes long is at, its running pod's log says.
    pods.retain(|pod| is_pod_of(pod, kind, name) && (kind == "Job" || not_ready(pod).is_some()));
    pods.sort_by_key(ResourceExt::creation_timestamp);
    Some(of_pod(cluster, space, pods.last()?).await)
}

/// Of one pod.
pub(crate) async fn of_pod(cluster: &Cluster, space: &str, pod: &Pod) -> Known {
    let name = pod.name_any();
    let Some((container, state)) = not_ready(pod) else {
        let details = trouble::details(cluster, space, &name, None, false).await;
        return Known { details, next: format!("kubectl -n {space} describe pod {name}") };
    };
    let mut details = vec![format!("pod {name}, container {container}: {state}")];
    details.extend(trouble::details(cluster, space, &name, None, false).await);
    let log = trouble::log(cluster, space, &name, &container, false).await;
    let next = match log.is_empty() {
        true => format!("kubectl -n {space} describe pod {name}"),
        false => format!("kubectl -n {space} logs {name} -c {container}"),
    };
    details.extend(log.into_iter().map(|line| format!("log: {line}")));
    Known { details, next }
}

/// Whether a workload made a pod.
pub(crate) fn is_pod_of(pod: &Pod, kind: &str, name: &str) -> bool {
    let Some(owner) = pod.owner_references().first() else { return false };
    match kind {
        "Deployment" => {
            let set = owner.name.rsplit_once('-');
            owner.kind == "ReplicaSet" && set.is_some_and(|(of, _)| of == name)
        }
        kind => owner.kind == kind && owner.name == name,
    }
}

/// The first of a pod's containers that keeps it from being ready, and how it stands.
fn not_ready(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let held = init.iter().find(|one| {
        let ended = one.state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_none_or(|ended| ended.exit_code != 0)
    });
    let own = status.container_statuses.as_deref().unwrap_or_default();
    let held = held.or_else(|| own.iter().find(|one| !one.ready))?;
    Some((held.name.clone(), state(held)))
}

fn state(status: &ContainerStatus) -> String {
    let Some(state) = &status.state else { return "not begun".to_owned() };
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned());
    }
    match &state.terminated {
        Some(ended) => format!("ended with exit code {}", ended.exit_code),
        None => "running, and not ready".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c", "uid": "1"}]);
        let pod = json!({"metadata": {"name": "web-5d9c-x", "ownerReferences": owners}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn the_container_that_a_pod_waits_for_is_found() {
        let one = |name: &str, ready: bool, state: &Value| {
            json!({"name": name, "ready": ready, "image": "", "imageID": "", "restartCount": 0,
                "state": state})
        };
        let (running, done) = (json!({"running": {}}), json!({"terminated": {"exitCode": 0}}));
        let waits = json!({"initContainerStatuses": [one("copy", true, &done), one("wait", false, &running)],
            "containerStatuses": [one("region", false, &json!({"waiting": {"reason": "PodInitializing"}}))]});
        let found = not_ready(&pod(&waits)).unwrap();
        assert_eq!(found, ("wait".to_owned(), "running, and not ready".to_owned()));
        let ready = json!({"initContainerStatuses": [one("copy", true, &done)],
            "containerStatuses": [one("region", true, &running)]});
        assert_eq!(not_ready(&pod(&ready)), None);
    }

    #[test]
    fn a_deployments_pods_are_its_own() {
        let pod = pod(&json!({}));
        assert!(is_pod_of(&pod, "Deployment", "web"));
        assert!(!is_pod_of(&pod, "Deployment", "we") && !is_pod_of(&pod, "StatefulSet", "web"));
    }
}
