//! Images: whether nodes get them.
//!
//! One pod for each set of nodes that the release's pods go to, with a container for each image.
//! Its command is in no image, so that nothing of it runs: a container that fails to start has
//! its image.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use super::Names;
use super::probe::{Ended, Probe, put, unprivileged};
use super::report::Check;
use super::workloads::Workload;
use crate::wait::spoken;

/// What no image has.
const NOTHING: &str = "/maas-deployer/check-of-this-image";

/// What a node says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pull {
    Pulled,
    Refused(String),
    Waiting,
}

/// Probes, and the images of each, in the order of its containers.
pub(super) fn probes(workloads: &[Workload]) -> Vec<(Probe, Vec<String>)> {
    let mut sets: BTreeMap<String, Vec<&Workload>> = BTreeMap::new();
    for workload in workloads {
        sets.entry(workload.placement()).or_default().push(workload);
    }
    let mut all = Vec::new();
    for (number, workloads) in sets.into_values().enumerate() {
        let Some(first) = workloads.first() else { continue };
        let images: BTreeSet<String> = workloads.iter().flat_map(|one| one.images()).collect();
        let images: Vec<String> = images.into_iter().collect();
        let about = format!("images-{}", number + 1);
        let probe = Probe {
            about,
            spec: spec(first, &images),
            secret: BTreeMap::new(),
            is_about_images: true,
        };
        all.push((probe, images));
    }
    all
}

fn spec(workload: &Workload, images: &[String]) -> Value {
    let (pod, container) = unprivileged();
    let policy = workload.pod.containers.first().and_then(|one| one.image_pull_policy.clone());
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(number, image)| {
            json!({"name": format!("image-{number}"), "image": image, "imagePullPolicy": policy,
                "command": [NOTHING], "securityContext": container,
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"},
                    "limits": {"cpu": "100m", "memory": "32Mi"}}})
        })
        .collect();
    let mut spec = json!({"restartPolicy": "Never", "automountServiceAccountToken": false,
        "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
        "securityContext": pod, "containers": containers});
    for key in ["nodeSelector", "tolerations", "imagePullSecrets"] {
        if let Some(value) = workload.written.get(key) {
            put(&mut spec, key, value.clone());
        }
    }
    if let Some(affinity) = workload.written.pointer("/affinity/nodeAffinity") {
        put(&mut spec, "affinity", json!({"nodeAffinity": affinity}));
    }
    spec
}

/// What a pod's node says of each image.
pub(super) fn pulls(pod: &Pod, images: &[String]) -> Vec<Pull> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let of = |number: usize| {
        let name = format!("image-{number}");
        statuses.unwrap_or_default().iter().find(|status| status.name == name)
    };
    (0..images.len()).map(|number| of(number).map_or(Pull::Waiting, pull)).collect()
}

fn pull(status: &ContainerStatus) -> Pull {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let Some(waiting) = waiting else {
        return if state.is_some() { Pull::Pulled } else { Pull::Waiting };
    };
    match waiting.reason.as_deref().unwrap_or_default() {
        // The first attempt; another follows, and a registry may just have stumbled.
        "ErrImagePull" | "ContainerCreating" | "PodInitializing" | "" => Pull::Waiting,
        "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable" => Pull::Refused(
            waiting.message.clone().unwrap_or_else(|| "it cannot be pulled".to_owned()),
        ),
        // It could not be made or started: with its image.
        _ => Pull::Pulled,
    }
}

/// Whether all of a pod's images are decided.
pub(super) fn are_decided(pod: &Pod, images: &[String]) -> bool {
    !pulls(pod, images).contains(&Pull::Waiting)
}

/// Judges one pod's images.
pub(super) fn judge(
    names: &Names,
    ended: &Ended,
    images: &[String],
    limit: std::time::Duration,
) -> Vec<Check> {
    let id = "images.pull";
    let pod = match ended {
        Ended::Seen(pod) => pod,
        Ended::Stuck(reason) => {
            let what = images.join(", ");
            return vec![
                Check::skip(id, what, format!("no pod could try them: {reason}"))
                    .hint("see the checks of nodes and of Pod Security admission"),
            ];
        }
        Ended::Late(last) => {
            let why = format!("after {} they were still being pulled: {last}", spoken(limit));
            return vec![
                Check::warn(id, images.join(", "), why)
                    .hint("run this again, with a longer --timeout if the registry only is slow"),
            ];
        }
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let judged = images.iter().zip(pulls(pod, images)).map(|(image, pull)| match pull {
        Pull::Refused(why) => {
            Check::fail(id, image.clone(), format!("{node} cannot pull it: {}", brief(&why)))
                .hint(hint(names, &why))
        }
        Pull::Pulled => Check::pass(id, format!("{image}: {node} has it")),
        Pull::Waiting => Check::skip(id, image.clone(), "it is not known yet"),
    });
    judged.collect()
}

fn hint(names: &Names, why: &str) -> String {
    let lower = why.to_lowercase();
    if lower.contains("not found") || lower.contains("manifest unknown") {
        "check its name and tag in images.tags, and --registry; maas-deployer images lists what has to be there".to_owned()
    } else if lower.contains("unauthorized")
        || lower.contains("denied")
        || lower.contains("authorization")
    {
        format!(
            "kubectl -n {} create secret docker-registry NAME --docker-server=HOST --docker-username=USER --docker-password-stdin\n\
             and name it in images.pull_secrets",
            names.namespace
        )
    } else {
        "check the registry, the node's way there and its trust in the registry's certificate"
            .to_owned()
    }
}

/// The runtime's words without what repeats the image's name again and again.
fn brief(why: &str) -> String {
    let text = why.rsplit("rpc error: ").next().unwrap_or(why);
    let text: String = text.trim_end_matches('"').chars().take(300).collect();
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::super::workloads::tests::rendered;
    use super::super::workloads::workloads;
    use super::*;

    fn pod(states: &[Value]) -> Pod {
        let statuses: Vec<Value> = states
            .iter()
            .enumerate()
            .map(|(number, state)| {
                json!({"name": format!("image-{number}"), "image": "", "imageID": "", "ready": false,
                    "restartCount": 0, "state": state})
            })
            .collect();
        let object = json!({"metadata": {}, "spec": {"nodeName": "a", "containers": []},
            "status": {"containerStatuses": statuses}});
        serde_json::from_value(object).unwrap()
    }

    fn waiting(reason: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": "failed: rpc error: manifest unknown: not found"}})
    }

    #[test]
    fn a_container_that_cannot_start_has_its_image() {
        let images: Vec<String> = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
        let started = json!({"terminated": {"exitCode": 128, "reason": "StartError"}});
        let pod = pod(&[started, waiting("RunContainerError"), waiting("ImagePullBackOff")]);
        assert!(are_decided(&pod, &images));
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let limit = std::time::Duration::from_secs(60);
        let checks = judge(&names, &Ended::Seen(Box::new(pod)), &images, limit);
        let statuses: Vec<Status> = checks.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Fail]);
        assert_eq!(checks[2].why, "a cannot pull it: manifest unknown: not found");
        assert!(checks[2].hint.as_ref().unwrap().contains("images.tags"));
    }

    #[test]
    fn the_first_failure_of_a_pull_decides_nothing() {
        let images = vec!["a:1".to_owned()];
        assert!(!are_decided(&pod(&[waiting("ErrImagePull")]), &images));
        assert!(!are_decided(&pod(&[waiting("ContainerCreating")]), &images));
        assert!(!are_decided(&pod(&[]), &images));
    }

    #[test]
    fn one_pod_for_each_set_of_nodes_with_every_image_once() {
        let labels =
            json!({"rack": {"node_selector_key": "maas-rack", "node_selector_value": "yes"}});
        let (documents, hooks) = rendered(json!({"labels": labels}));
        let mut all = workloads(&documents);
        all.extend(workloads(&hooks));
        let probes = probes(&all);
        assert_eq!(probes.len(), 2);
        let of_rack =
            probes.iter().find(|(probe, _)| !probe.spec["nodeSelector"].is_null()).unwrap();
        assert_eq!(of_rack.0.spec["nodeSelector"], json!({"maas-rack": "yes"}));
        assert_eq!(of_rack.1, ["maas-deployer:0.1.0", "maas-rack-controller:3.6.5"]);
        assert_eq!(of_rack.0.spec["containers"][1]["imagePullPolicy"], "IfNotPresent");
    }
}
