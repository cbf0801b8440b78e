//! Pods: ready, restarts, why not.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::{Known, why};
use crate::apply::trouble_of_pod;
use crate::cluster::{Cluster, Place};

/// How a pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: String,
    /// How many of its containers are ready.
    pub ready: usize,
    /// How many it has.
    pub containers: usize,
    /// How often its containers were started anew.
    pub restarts: i32,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// Its node.
    pub node: Option<String>,
    /// Why it is not ready, or what happened to it.
    pub reason: Option<String>,
    /// Whether it cannot heal by itself.
    pub is_stuck: bool,
}

impl PodState {
    /// Whether it has done what it was for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == "Succeeded"
    }

    /// Whether all of it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_over() || (self.phase == "Running" && self.ready == self.containers)
    }
}

/// A pod, with all that the server says of it.
pub(super) struct Found {
    pub(super) state: PodState,
    pub(super) pod: Pod,
}

pub(super) async fn look(cluster: &Cluster, name: &str, namespace: &str) -> Known<Vec<Found>> {
    let place = Place::list("/api/v1", Some(namespace), "pods");
    let selector = format!("app.kubernetes.io/instance={name}");
    let doing = format!("list the pods in {namespace}");
    let found = cluster.list(&doing, &place, ("labelSelector", &selector)).await;
    let mut found: Vec<Found> = found
        .map_err(|error| why(&error))?
        .into_iter()
        .filter_map(|pod| serde_json::from_value::<Pod>(pod).ok())
        .map(|pod| Found { state: state(&pod), pod })
        .collect();
    found.sort_by(|one, other| one.state.name.cmp(&other.state.name));
    Ok(found)
}

fn state(pod: &Pod) -> PodState {
    let status = pod.status.as_ref();
    let of = |list: Option<&Vec<ContainerStatus>>| list.cloned().unwrap_or_default();
    let inits = of(status.and_then(|status| status.init_container_statuses.as_ref()));
    let containers = of(status.and_then(|status| status.container_statuses.as_ref()));
    let trouble = trouble_of_pod(pod);
    let reason = if pod.metadata.deletion_timestamp.is_some() {
        Some("it is ending".to_owned())
    } else {
        trouble.as_ref().map(|trouble| match &trouble.container {
            Some(container) => format!("container {container}: {}", trouble.reason),
            None => trouble.reason.clone(),
        })
    };
    let spec = pod.spec.as_ref();
    PodState {
        name: pod.name_any(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_default(),
        ready: containers.iter().filter(|one| one.ready).count(),
        containers: spec.map_or(0, |spec| spec.containers.len()),
        restarts: inits.iter().chain(&containers).map(|one| one.restart_count).sum(),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        node: spec.and_then(|spec| spec.node_name.clone()),
        reason: reason.or_else(|| waiting(&inits)).or_else(|| waiting(&containers)),
        is_stuck: trouble.is_some(),
    }
}

/// What the first container does that is not as it should be.
fn waiting(containers: &[ContainerStatus]) -> Option<String> {
    containers.iter().find_map(|one| {
        let name = &one.name;
        let state = one.state.as_ref()?;
        if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
            let why = ended.reason.as_deref().unwrap_or("Error");
            return Some(format!(
                "container {name} ended with exit code {} ({why})",
                ended.exit_code
            ));
        }
        if let Some(waits) = &state.waiting {
            let why = waits.reason.as_deref().unwrap_or("waiting");
            return Some(format!("container {name}: {why}"));
        }
        let last = one.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        match (&state.running, one.ready, last) {
            // An init container is never ready while it runs.
            (Some(_), false, _) => Some(format!("container {name} is not ready yet")),
            (Some(_), true, Some(last)) => {
                let why = last.reason.as_deref().unwrap_or("Error");
                Some(format!(
                    "container {name} was started anew: exit code {} ({why})",
                    last.exit_code
                ))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(containers: &Value, inits: &Value) -> PodState {
        let pod = json!({"metadata": {"name": "maas-region-0"},
            "spec": {"containers": [{"name": "region"}, {"name": "mirror"}], "nodeName": "n"},
            "status": {"phase": "Running", "containerStatuses": containers, "initContainerStatuses": inits}});
        state(&serde_json::from_value(pod).unwrap())
    }

    fn container(name: &str, ready: bool, state: &Value, last: &Value) -> Value {
        json!({"name": name, "ready": ready, "image": "", "imageID": "", "restartCount": 1,
            "state": state, "lastState": last})
    }

    #[test]
    fn a_pod_says_why_it_is_not_ready() {
        let running = json!({"running": {}});
        let fine = pod(
            &json!([
                container("region", true, &running, &json!({})),
                container("mirror", true, &running, &json!({}))
            ]),
            &json!([]),
        );
        assert!(fine.is_ready() && fine.reason.is_none() && !fine.is_stuck);
        assert_eq!((fine.ready, fine.containers, fine.restarts), (2, 2, 2));
        let starting = pod(
            &json!([container(
                "region",
                false,
                &json!({"waiting": {"reason": "PodInitializing"}}),
                &json!({})
            )]),
            &json!([container("wait-schema", false, &running, &json!({}))]),
        );
        assert_eq!(starting.reason.as_deref(), Some("container wait-schema is not ready yet"));
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let again = pod(&json!([container("region", true, &running, &killed)]), &json!([]));
        assert_eq!(
            again.reason.as_deref(),
            Some("container region was started anew: exit code 137 (OOMKilled)")
        );
        let image = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
        let stuck = pod(&json!([container("region", false, &image, &json!({}))]), &json!([]));
        assert!(stuck.is_stuck && !stuck.is_ready());
        assert_eq!(
            stuck.reason.as_deref(),
            Some("container region: ImagePullBackOff: no such image")
        );
    }
}
