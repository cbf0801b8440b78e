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

fn entries(object: &Value) -> &[Value] {
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
fn is_whole(entry: &Value) -> bool {
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
    [HELM, JOBS, FIELD_MANAGER].contains(&conflict.manager.as_str())
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
