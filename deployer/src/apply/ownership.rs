//! Whose a field is, and how Helm's become ours.
//!
//! Helm writes as `helm`: Helm 3 with plain updates, Helm 4 by applying. What either set
//! stays when we apply it no more. So its entries in `managedFields` become ours,
//! before the first apply: then what left the manifest goes, as it would have
//! with Helm. The entries of others are not touched.

use serde_json::{Map, Value, json};

use super::error::Conflict;
use crate::cluster::{ClusterError, FIELD_MANAGER, JOBS};

/// Helm's name as a field manager.
const HELM: &str = "helm";

/// Whether Helm owns fields of an object.
pub(crate) fn is_helms(object: &Value) -> bool {
    entries(object).iter().any(is_of_helm)
}

/// The patch that makes Helm's fields ours; none where Helm has none. It holds
/// only while the object is the one that was read.
pub(crate) fn takeover(object: &Value) -> Option<Value> {
    let mut entries = entries(object).to_vec();
    let ours = match entries.iter().position(is_our_apply) {
        Some(at) => at,
        None => {
            let at = entries.iter().position(is_of_helm)?;
            if let Some(entry) = entries.get_mut(at).and_then(Value::as_object_mut) {
                entry.insert("operation".to_owned(), json!("Apply"));
                entry.insert("manager".to_owned(), json!(FIELD_MANAGER));
            }
            at
        }
    };
    let version = entries.get(ours)?.get("apiVersion").cloned();
    let helms: Vec<Value> = entries.iter().filter(|entry| is_of_helm(entry)).cloned().collect();
    if helms.is_empty() && entries.as_slice() == self::entries(object) {
        return None;
    }
    if let Some(fields) = entries.get_mut(ours).and_then(|entry| entry.get_mut("fieldsV1")) {
        // Fields of another version of the kind may be called otherwise.
        for helm in helms.iter().filter(|entry| entry.get("apiVersion") == version.as_ref()) {
            if let Some(set) = helm.get("fieldsV1") {
                unite(fields, set);
            }
        }
    }
    entries.retain(|entry| !is_of_helm(entry));
    let resource_version = object.pointer("/metadata/resourceVersion").cloned();
    Some(json!({"metadata": {"managedFields": entries, "resourceVersion": resource_version}}))
}

/// `result` without the fields that only Helm set and that are no longer `wanted`: they go once
/// Helm's are ours. None where there are no such.
pub(crate) fn without_helms(live: &Value, result: &Value, wanted: &Value) -> Option<Value> {
    let (helms, others): (Vec<_>, Vec<_>) = entries(live)
        .iter()
        .filter(|entry| is_whole(entry) && !is_our_apply(entry))
        .partition(|entry| is_of_helm(entry));
    let fields = |entry: &&Value| entry.get("fieldsV1").cloned();
    let others: Vec<Value> = others.iter().filter_map(fields).collect();
    let mut left = result.clone();
    for set in helms.iter().filter_map(fields) {
        drop_fields(&mut left, &set, Some(wanted), &others.iter().collect::<Vec<_>>());
    }
    (left != *result).then_some(left)
}

/// Drops what `set` names, unless it is wanted or in a set of `others`.
fn drop_fields(from: &mut Value, set: &Value, wanted: Option<&Value>, others: &[&Value]) {
    for (step, below) in set.as_object().into_iter().flatten() {
        let others: Vec<&Value> = others.iter().filter_map(|other| other.get(step)).collect();
        let is_free = others.is_empty();
        if let Some(name) = step.strip_prefix("f:") {
            let wanted = wanted.and_then(|wanted| wanted.get(name));
            let Some(map) = from.as_object_mut() else { continue };
            if wanted.is_none() && is_free {
                map.remove(name);
            } else if let Some(value) = map.get_mut(name) {
                drop_fields(value, below, wanted, &others);
            }
        } else if let Some(key) = step.strip_prefix("k:").or_else(|| step.strip_prefix("v:")) {
            let Ok(key) = serde_json::from_str::<Value>(key) else { continue };
            let list = wanted.and_then(Value::as_array);
            let wanted = list.and_then(|list| list.iter().find(|item| is_item(item, &key)));
            let Some(list) = from.as_array_mut() else { continue };
            if wanted.is_none() && is_free {
                list.retain(|item| !is_item(item, &key));
            } else if let Some(item) = list.iter_mut().find(|item| is_item(item, &key)) {
                drop_fields(item, below, wanted, &others);
            }
        }
    }
}

/// Whether `key` is an item's: what it leaves out the server adds, such as a port's protocol.
pub(super) fn is_item(item: &Value, key: &Value) -> bool {
    match key.as_object() {
        Some(parts) => {
            let is_default =
                |name: &str, value: &Value| name != "protocol" || value.as_str() == Some("TCP");
            parts.iter().all(|(name, value)| {
                item.get(name).map_or_else(|| is_default(name, value), |held| held == value)
            }) && parts.keys().any(|name| item.get(name).is_some())
        }
        None => item == key,
    }
}

/// What the server notes of whose an object's fields are.
pub(super) fn entries(object: &Value) -> &[Value] {
    let held = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    held.map(Vec::as_slice).unwrap_or_default()
}

fn is_of_helm(entry: &Value) -> bool {
    is(entry, "manager", HELM) && is_whole(entry)
}

fn is_our_apply(entry: &Value) -> bool {
    is(entry, "manager", FIELD_MANAGER) && is(entry, "operation", "Apply") && is_whole(entry)
}

/// Whether it is of the object itself, not of its status or scale.
pub(super) fn is_whole(entry: &Value) -> bool {
    entry.get("subresource").is_none_or(|value| value.as_str() == Some(""))
}

fn is(entry: &Value, key: &str, value: &str) -> bool {
    entry.get(key).and_then(Value::as_str) == Some(value)
}

/// The union of two sets of fields: `{"f:spec": {"f:replicas": {}}}`.
fn unite(into: &mut Value, set: &Value) {
    let Some(set) = set.as_object() else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else { return };
    for (field, below) in set {
        unite(into.entry(field.clone()).or_insert_with(|| json!({})), below);
    }
}

/// The conflicts that a refused apply names; none where it was refused for
/// another reason.
pub(crate) fn conflicts(error: &ClusterError) -> Vec<Conflict> {
    let ClusterError::Api { code: 409, fields, .. } = error else { return Vec::new() };
    let conflicts = fields.iter().filter(|field| field.reason == "FieldManagerConflict");
    conflicts
        .map(|problem| Conflict {
            manager: quoted(&problem.message).unwrap_or("another program").to_owned(),
            field: problem.field.clone(),
        })
        .collect()
}

/// The first quoted text: the server says `conflict with "kubectl-edit" using v1`.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1).filter(|text| !text.is_empty())
}

/// Whether a conflict is with Helm or with what this project runs itself, whose
/// fields are taken: quiesce scales the regions, and the upgrade that follows
/// scales them back.
pub(crate) fn is_taken(conflict: &Conflict) -> bool {
    is_of_project(&conflict.manager)
}

/// Whether a field manager is Helm, this program or one of its jobs.
pub(super) fn is_of_project(manager: &str) -> bool {
    [HELM, JOBS, FIELD_MANAGER].contains(&manager)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::FieldProblem;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn helms_fields_become_ours() {
        let held = object(&[
            entry("helm", "Update", &json!({"f:spec": {"f:replicas": {}}})),
            entry("kubectl-edit", "Update", &json!({"f:spec": {"f:paused": {}}})),
        ]);
        assert!(is_helms(&held));
        let patch = takeover(&held).unwrap();
        let fields = &patch["metadata"]["managedFields"];
        assert_eq!(fields.as_array().unwrap().len(), 2);
        assert_eq!(fields[0]["manager"], "maas-deployer");
        assert_eq!(fields[0]["operation"], "Apply");
        assert_eq!(fields[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(fields[1]["manager"], "kubectl-edit");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn fields_that_helm_set_over_ours_join_them() {
        let held = object(&[
            entry("maas-deployer", "Apply", &json!({"f:spec": {"f:a": {".": {}, "f:x": {}}}})),
            entry("helm", "Update", &json!({"f:spec": {"f:a": {"f:y": {}}, "f:b": {}}})),
            entry("helm", "Apply", &json!({"f:spec": {"f:z": {}}})),
            entry("kubectl", "Apply", &json!({"f:spec": {"f:k": {}}})),
        ]);
        let patch = takeover(&held).unwrap();
        let fields = patch["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(fields.len(), 2);
        let ours =
            json!({"f:spec": {"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}, "f:z": {}}});
        assert_eq!(fields[0]["fieldsV1"], ours);
        assert_eq!(
            (&fields[1]["manager"], &fields[1]["operation"]),
            (&json!("kubectl"), &json!("Apply"))
        );
    }

    #[test]
    fn what_only_helm_set_goes_when_it_is_not_wanted() {
        let ports = json!({"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
            "k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}});
        let helms = json!({"f:data": {"f:a": {}, "f:b": {}, "f:c": {}}, "f:spec": ports});
        let live = object(&[
            entry("helm", "Update", &helms),
            entry("kubectl-edit", "Update", &json!({"f:data": {"f:c": {}}})),
        ]);
        let port = |port: u32| json!({"port": port, "protocol": "TCP"});
        let result = json!({"data": {"a": "1", "b": "2", "c": "3", "d": "4"},
            "spec": {"ports": [port(80), port(81)]}});
        let wanted = json!({"data": {"a": "1"}, "spec": {"ports": [{"port": 80}]}});
        let left = without_helms(&live, &result, &wanted).unwrap();
        assert_eq!(
            left,
            json!({"data": {"a": "1", "c": "3", "d": "4"}, "spec": {"ports": [port(80)]}})
        );
        assert_eq!(without_helms(&live, &left, &wanted), None);
    }

    #[test]
    fn fields_that_helm_4_applied_become_ours() {
        let held = object(&[entry("helm", "Apply", &json!({"f:data": {"f:a": {}}}))]);
        assert!(is_helms(&held));
        let fields = takeover(&held).unwrap()["metadata"]["managedFields"].clone();
        assert_eq!(fields[0]["manager"], "maas-deployer");
        assert_eq!(fields[0]["fieldsV1"], json!({"f:data": {"f:a": {}}}));
        assert_eq!(fields.as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_helms_stays_as_it_is() {
        let mut scale = entry("helm", "Update", &json!({"f:spec": {"f:replicas": {}}}));
        scale["subresource"] = json!("scale");
        assert_eq!(takeover(&object(&[scale])), None);
        let ours = entry("maas-deployer", "Apply", &json!({}));
        assert_eq!(takeover(&object(&[ours, entry("helmfile", "Update", &json!({}))])), None);
        assert_eq!(takeover(&object(&[])), None);
    }

    #[test]
    fn conflicts_name_manager_and_field() {
        let problem = |manager: &str| FieldProblem {
            reason: "FieldManagerConflict".into(),
            field: ".spec.replicas".into(),
            message: format!(
                "conflict with \"{manager}\" with subresource \"scale\" using apps/v1"
            ),
        };
        let error = ClusterError::Api {
            doing: String::new(),
            code: 409,
            message: String::new(),
            reason: "Conflict".into(),
            fields: vec![problem("helm"), problem("kubectl")],
        };
        let found = conflicts(&error);
        assert_eq!(
            found[1],
            Conflict { manager: "kubectl".into(), field: ".spec.replicas".into() }
        );
        assert!(is_taken(&found[0]) && !is_taken(&found[1]));
    }
}
