//! What cannot heal by itself, and what is known of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use crate::cluster::{Cluster, Place};
use crate::counted::counted;

/// How many restarts of a container are too many.
const RESTARTS: i32 = 5;
/// How long a pod may find no node: one may be on its way.
const NO_NODE: Duration = Duration::from_secs(60);
/// How long a Secret or ConfigMap may be missing: the kubelet sees it late.
const NO_CONFIG: Duration = Duration::from_secs(30);
/// How much of a log and of events is shown, in lines.
const LINES: u32 = 12;

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The image cannot be had.
    Image,
    /// A container ends again and again.
    Crashes,
    /// No node takes the pod.
    NoNode,
    /// A Secret or ConfigMap that the container needs is missing.
    Configuration,
    /// A Job has failed for good.
    Job,
    /// A workload has failed for another reason.
    Workload,
}

/// What cannot heal by itself.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Trouble {
    /// What kind.
    pub kind: TroubleKind,
    /// The workload, with its pod and container where they are known.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What else is known: events, the end of the log.
    pub details: Vec<String>,
    /// The command that shows more.
    pub next: String,
    /// The exit code of the container that failed.
    pub exit_code: Option<i32>,
}

/// Trouble of a pod, before anything more was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodTrouble {
    pub(crate) kind: TroubleKind,
    pub(crate) container: Option<String>,
    pub(crate) reason: String,
    /// How long it may last before it counts.
    pub(crate) grace: Duration,
}

/// The trouble a pod is in, if any.
pub(crate) fn of_pod(pod: &Pod) -> Option<PodTrouble> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let containers = lists.into_iter().flatten().flatten();
    if let Some(trouble) = containers.filter_map(of_container).next() {
        return Some(trouble);
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let unscheduled = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    Some(PodTrouble {
        kind: TroubleKind::NoNode,
        container: None,
        reason: format!("no node takes it: {}", unscheduled.message.clone().unwrap_or_default()),
        grace: NO_NODE,
    })
}

fn of_container(status: &ContainerStatus) -> Option<PodTrouble> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let word = waiting.reason.as_deref()?;
    let (kind, grace) = match word {
        "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" => {
            (TroubleKind::Image, Duration::ZERO)
        }
        "CreateContainerConfigError" => (TroubleKind::Configuration, NO_CONFIG),
        "CreateContainerError" | "RunContainerError" => (TroubleKind::Crashes, NO_CONFIG),
        "CrashLoopBackOff" if status.restart_count >= RESTARTS => {
            (TroubleKind::Crashes, Duration::ZERO)
        }
        _ => return None,
    };
    let said = waiting.message.as_deref().unwrap_or_default();
    let reason = match kind {
        TroubleKind::Crashes if word == "CrashLoopBackOff" => {
            format!("it has ended {}; {}", counted(status.restart_count, "time"), ending(status))
        }
        _ if said.is_empty() => word.to_owned(),
        _ => format!("{word}: {said}"),
    };
    Some(PodTrouble { kind, container: Some(status.name.clone()), reason, grace })
}

/// How a container ended last.
fn ending(status: &ContainerStatus) -> String {
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    match last {
        Some(last) => {
            let why = last.reason.as_deref().unwrap_or("Error");
            format!("the last time with exit code {} ({why})", last.exit_code)
        }
        None => "it is not known how".to_owned(),
    }
}

/// A pod's container that failed, with its exit code.
pub(crate) fn failed_container(pod: &Pod) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?;
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let mut containers = lists.into_iter().flatten().flatten();
    containers.find_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then(|| (status.name.clone(), ended.exit_code))
    })
}

/// What can be asked of a pod that is in trouble: its last events, the end of the
/// log. That it cannot be asked is no error: the trouble is.
pub(crate) async fn details(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    has_run: bool,
) -> Vec<String> {
    let mut details = events(cluster, namespace, pod).await;
    if let (Some(container), true) = (container, has_run) {
        let mut lines = log(cluster, namespace, pod, container, true).await;
        if lines.is_empty() {
            lines = log(cluster, namespace, pod, container, false).await;
        }
        details.extend(lines.into_iter().map(|line| format!("log: {line}")));
    }
    details
}

/// The last lines of a log; none where there is none.
pub(crate) async fn log(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Vec<String> {
    cluster.log(namespace, pod, container, previous, LINES).await.unwrap_or_default()
}

async fn events(cluster: &Cluster, namespace: &str, pod: &str) -> Vec<String> {
    let place = Place::list("/api/v1", Some(namespace), "events");
    let select = ("fieldSelector", &*format!("involvedObject.name={pod}"));
    let doing = format!("list the events of {pod}");
    let mut events = cluster.list(&doing, &place, select).await.unwrap_or_default();
    let text = |event: &Value, key: &str| {
        event.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
    };
    // Of old attempts, and of mounts and probes that came good, nothing is told.
    let noise = ["Unhealthy", "FailedMount", "BackOff"];
    events.retain(|event| text(event, "type") == "Warning");
    if events.iter().any(|event| !noise.contains(&text(event, "reason").as_str())) {
        events.retain(|event| !noise.contains(&text(event, "reason").as_str()));
    }
    events.sort_by_key(|event| text(event, "lastTimestamp"));
    let mut shown: Vec<String> = events
        .iter()
        .map(|event| {
            let message: String = text(event, "message").chars().take(400).collect();
            format!("event: {}: {message}", text(event, "reason"))
        })
        .collect();
    shown.dedup();
    let surplus = shown.len().saturating_sub(5);
    shown.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting(reason: &str, restarts: i32) -> Option<PodTrouble> {
        let status = json!({"name": "region", "ready": false, "image": "", "imageID": "",
            "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": "because"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}});
        let pod = json!({"metadata": {}, "status": {"containerStatuses": [status]}});
        of_pod(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn what_cannot_heal_is_trouble_and_what_can_is_not() {
        let image = waiting("ImagePullBackOff", 0).unwrap();
        assert_eq!((image.kind, image.grace), (TroubleKind::Image, Duration::ZERO));
        assert_eq!(image.reason, "ImagePullBackOff: because");
        assert!(waiting("ErrImagePull", 0).is_none() && waiting("ContainerCreating", 0).is_none());
        assert!(waiting("CrashLoopBackOff", 4).is_none());
        let crashes = waiting("CrashLoopBackOff", 5).unwrap();
        assert_eq!(crashes.reason, "it has ended 5 times; the last time with exit code 3 (Error)");
        assert!(!waiting("CreateContainerConfigError", 0).unwrap().grace.is_zero());
    }

    #[test]
    fn a_pod_that_no_node_takes_is_trouble_after_a_while() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available"});
        let pod = json!({"metadata": {}, "status": {"conditions": [condition]}});
        let trouble = of_pod(&serde_json::from_value(pod.clone()).unwrap()).unwrap();
        assert_eq!(trouble.kind, TroubleKind::NoNode);
        assert!(trouble.reason.ends_with("0/1 nodes are available"));
        let mut ending = pod;
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(of_pod(&serde_json::from_value(ending).unwrap()).is_none());
    }

    #[test]
    fn the_container_that_failed_is_found() {
        let status = |name: &str, code: i32| {
            json!({"name": name, "ready": false, "image": "", "imageID": "", "restartCount": 0,
                "state": {"terminated": {"exitCode": code}}})
        };
        let pod = json!({"metadata": {}, "status": {
            "initContainerStatuses": [status("install-self", 0)],
            "containerStatuses": [status("quiesce", 5)]}});
        let found = failed_container(&serde_json::from_value(pod).unwrap());
        assert_eq!(found, Some(("quiesce".to_owned(), 5)));
    }
}
