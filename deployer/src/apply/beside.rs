//! What others set in an object beside what its release says: it stays, whatever is applied.
//!
//! The server notes whose each field is (`metadata.managedFields`, see "Field Management" in
//! Kubernetes' documentation of server-side apply). Where a field is in a list, the keys of its item
//! are told, and no other values.

use serde_json::Value;

use super::error::Conflict;
use super::ownership::{entries, is_item, is_of_project, is_whole};

/// Set by `kubectl rollout restart`: a restart, and no setting.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// The fields of `live` that others set and that `wanted` does not name. What controllers note in
/// objects is their own business, and so are labels and annotations of the object itself.
pub(super) fn added(live: &Value, wanted: &Value) -> Vec<Conflict> {
    let mut found: Vec<Conflict> = Vec::new();
    for entry in entries(live).iter().filter(|entry| is_whole(entry)) {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let Some(set) = entry.get("fieldsV1").and_then(Value::as_object) else { continue };
        if is_of_project(manager) || is_controller(manager) {
            continue;
        }
        for (step, below) in set {
            let Some(name) = step.strip_prefix("f:") else { continue };
            if matches!(name, "metadata" | "status" | "apiVersion" | "kind") {
                continue;
            }
            let mut fields = Vec::new();
            // What a Secret is to hold may be given as text.
            let text = || wanted.get("stringData").filter(|_| name == "data");
            let (live, wanted) = (live.get(name), wanted.get(name).or_else(text));
            walk(below, live, wanted, &format!(".{name}"), &mut fields);
            fields.sort_unstable();
            found.extend(
                fields.into_iter().map(|field| Conflict { manager: manager.to_owned(), field }),
            );
        }
    }
    found
}

/// Whether a field manager is a part of the cluster that acts by itself.
fn is_controller(manager: &str) -> bool {
    // `kubelite` and `k3s` are whole clusters in one process.
    manager.starts_with("kube-")
        || ["kubelet", "kubelite", "k3s", "cloud-controller-manager"].contains(&manager)
}

/// The outermost fields of `set` that are there and are not wanted.
fn walk(
    set: &Value,
    live: Option<&Value>,
    wanted: Option<&Value>,
    path: &str,
    fields: &mut Vec<String>,
) {
    let Some(live) = live else { return };
    let Some(wanted) = wanted else {
        if !is_restart(set) {
            fields.push(path.to_owned());
        }
        return;
    };
    let steps = set.as_object().into_iter().flatten();
    for (step, below) in steps.filter(|(step, _)| step.strip_prefix("f:") != Some(RESTARTED)) {
        let (live, wanted, path) = match step.split_once(':') {
            Some(("f", name)) => (live.get(name), wanted.get(name), format!("{path}.{name}")),
            Some(("k" | "v", key)) => {
                let Ok(key) = serde_json::from_str::<Value>(key) else { continue };
                (item(live, &key), item(wanted, &key), format!("{path}[{}]", shown(&key)))
            }
            _ => continue,
        };
        walk(below, live, wanted, &path, fields);
    }
}

/// Whether all that was set below a field is the note of a restart.
fn is_restart(set: &Value) -> bool {
    let steps = || set.as_object().into_iter().flatten().filter(|(step, _)| *step != ".");
    let is_note = |step: &str| step.strip_prefix("f:") == Some(RESTARTED);
    steps().count() > 0 && steps().all(|(step, _)| is_note(step))
}

/// The item of a list that a key names.
fn item<'a>(list: &'a Value, key: &Value) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| is_item(item, key))
}

/// `port=80,protocol=TCP` of a key.
fn shown(key: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match key.as_object() {
        Some(parts) => {
            let parts = parts.iter().map(|(name, value)| format!("{name}={}", text(value)));
            parts.collect::<Vec<_>>().join(",")
        }
        None => text(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(entries: &[(&str, Value)], spec: &Value, wanted: &Value) -> Vec<String> {
        let entry = |(manager, fields): &(&str, Value)| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        let live = json!({"metadata": {"managedFields": entries}, "spec": spec});
        let found = added(&live, &json!({"spec": wanted}));
        found.iter().map(|one| format!("{} {}", one.manager, one.field)).collect()
    }

    #[test]
    fn an_item_and_a_field_of_others_are_named_at_their_outermost() {
        let port = |n: u32| json!({"port": n, "protocol": "TCP", "targetPort": n});
        let spec = json!({"ports": [port(80), port(81)], "affinity": {"timeout": {"seconds": 5}},
            "finalizers": ["theirs"], "type": "ClusterIP"});
        let wanted = json!({"ports": [{"port": 80}], "finalizers": ["ours"], "type": "ClusterIP"});
        let set = json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {
            "f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:targetPort": {}}},
            "f:affinity": {".": {}, "f:timeout": {"f:seconds": {}}},
            "f:finalizers": {"v:\"theirs\"": {}}, "f:type": {}, "f:gone": {}}});
        assert_eq!(
            found(&[("kubectl-edit", set)], &spec, &wanted),
            [
                "kubectl-edit .spec.affinity",
                "kubectl-edit .spec.finalizers[theirs]",
                "kubectl-edit .spec.ports[port=80,protocol=TCP].targetPort",
                "kubectl-edit .spec.ports[port=81,protocol=TCP]",
            ]
        );
    }

    #[test]
    fn what_the_cluster_and_this_project_set_is_not_told() {
        let set = json!({"f:spec": {"f:a": {}}});
        let spec = json!({"a": 1, "template": {"annotations": {RESTARTED: "now"}}});
        for manager in ["helm", "maas-deployer", "kube-controller-manager", "k3s"] {
            assert_eq!(found(&[(manager, set.clone())], &spec, &json!({})), [""; 0], "{manager}");
        }
        let restart =
            json!({"f:spec": {"f:template": {"f:annotations": {format!("f:{RESTARTED}"): {}}}}});
        for wanted in [json!({"template": {"annotations": {}}}), json!({"template": {}})] {
            assert_eq!(found(&[("kubectl-rollout", restart.clone())], &spec, &wanted), [""; 0]);
        }
        assert_eq!(found(&[("k9s", set)], &spec, &json!({})), ["k9s .spec.a"]);
    }
}
