//! The release's objects, as they are on the cluster.

use serde_json::{Value, json};

use crate::apply::hidden;
use crate::cluster::{Cluster, ClusterError, Listed, Place, prefix};
use crate::strike::Strike;
use crate::yaml::{Order, emit};

/// Kinds of objects, by version and plural: those of the chart, and what is made of them.
/// Secrets are not among them.
pub(super) const KINDS: [(&str, &str); 18] = [
    ("v1", "pods"),
    ("v1", "services"),
    ("v1", "configmaps"),
    ("v1", "serviceaccounts"),
    ("v1", "persistentvolumeclaims"),
    ("v1", "endpoints"),
    ("apps/v1", "statefulsets"),
    ("apps/v1", "deployments"),
    ("apps/v1", "daemonsets"),
    ("apps/v1", "controllerrevisions"),
    ("batch/v1", "jobs"),
    ("batch/v1", "cronjobs"),
    ("networking.k8s.io/v1", "ingresses"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("policy/v1", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io/v1", "roles"),
    ("rbac.authorization.k8s.io/v1", "rolebindings"),
    ("discovery.k8s.io/v1", "endpointslices"),
];

/// How many objects of a kind are looked at.
pub(super) const MOST: usize = 5000;

/// The objects of a kind in a namespace: the release's, by their label or by what Helm wrote
/// on them. Where there are too many to look at all of them, those with the label are still all
/// there.
pub(super) async fn of_kind(
    cluster: &Cluster,
    namespace: &str,
    release: &str,
    (version, plural): (&str, &str),
) -> Result<Listed, ClusterError> {
    let place = Place::list(&prefix(version), Some(namespace), plural);
    let doing = format!("list the {plural} in {namespace}");
    let Listed { items: mut all, is_cut } = cluster.list_up_to(&doing, &place, MOST).await?;
    let is_of = |object: &Value| {
        let text = |part: &str, name: &str| {
            object.pointer(&format!("/metadata/{part}"))?.get(name)?.as_str()
        };
        text("labels", "app.kubernetes.io/instance") == Some(release)
            || text("annotations", "meta.helm.sh/release-name") == Some(release)
    };
    all.retain(is_of);
    if is_cut {
        let selector = format!("app.kubernetes.io/instance={release}");
        let name = |object: &Value| object.pointer("/metadata/name").cloned();
        let labelled = cluster.list(&doing, &place, ("labelSelector", &selector)).await?;
        let known: Vec<_> = all.iter().map(name).collect();
        all.extend(labelled.into_iter().filter(|object| !known.contains(&name(object))));
    }
    Ok(Listed { items: all, is_cut })
}

/// An object for the bundle. Where not all secrets are known, what people put texts into is
/// left out too.
pub(super) fn shown(mut object: Value, strike: &Strike, is_unknown: bool) -> String {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    hidden(&mut object, strike);
    if is_unknown {
        bare_of_texts(&mut object);
    }
    strike.value(&mut object);
    emit(&object, Order::Given)
}

/// Takes the values of variables, annotations, commands and data out.
fn bare_of_texts(value: &mut Value) {
    const HOLDERS: [&str; 6] = ["data", "binaryData", "annotations", "args", "command", "message"];
    match value {
        Value::Object(map) => {
            if map.contains_key("name") && map.get("value").is_some_and(Value::is_string) {
                map.insert("value".to_owned(), json!("(left out)"));
            }
            for (key, below) in map.iter_mut() {
                if HOLDERS.contains(&key.as_str()) {
                    *below = json!("(left out)");
                } else {
                    bare_of_texts(below);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(bare_of_texts),
        _ => {}
    }
}

/// An event, without what the server notes.
pub(super) fn event(event: &Value) -> Value {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let count = event.pointer("/series/count").or_else(|| event.get("count"));
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
    json!({
        "last": times.iter().map(|time| text(time)).find(|time| !time.is_empty()),
        "type": text("/type"),
        "object": format!("{} {}", text("/involvedObject/kind"), text("/involvedObject/name")),
        "reason": text("/reason"),
        "message": text("/message"),
        "count": count,
    })
}

/// What matters of a node.
pub(super) fn node(node: &Value) -> Value {
    let at = |pointer: &str| node.pointer(pointer).cloned();
    json!({
        "name": at("/metadata/name"),
        "labels": at("/metadata/labels"),
        "taints": at("/spec/taints"),
        "allocatable": at("/status/allocatable"),
        "conditions": at("/status/conditions"),
        "info": at("/status/nodeInfo"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strike::Secrets;

    #[test]
    fn where_secrets_are_not_known_texts_are_left_out() {
        let object = json!({"kind": "Pod", "metadata": {"name": "a", "annotations": {"x": "hunter22"},
            "managedFields": [{}]}, "spec": {"containers": [{"name": "c", "args": ["hunter22"],
            "env": [{"name": "A", "value": "hunter22"}]}]}, "status": {"message": "hunter22"}});
        let none = Secrets::default().strike().unwrap();
        let text = shown(object.clone(), &none, true);
        assert!(!text.contains("hunter22") && text.contains("name: c"), "{text}");
        let text = shown(object, &none, false);
        assert!(text.contains("hunter22") && !text.contains("managedFields"), "{text}");
    }
}
