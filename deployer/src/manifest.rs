//! What a chart renders to: documents of a manifest, and hooks.
//!
//! It stands between the renderer, which makes it, and all that reads it: the
//! diff, the release record, the phases of an installation. Terms and forms are
//! Helm's, whose release record holds the same texts.

use serde_json::Value;

/// A chart, rendered for one release.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Objects of the release, in Helm's order of kinds.
    pub documents: Vec<Document>,
    /// Objects that are hooks, in Helm's order of kinds; `helm.sh/hook-weight`
    /// decides when they run.
    pub hooks: Vec<Document>,
    /// The text of `NOTES.txt`.
    pub notes: String,
}

/// One YAML document of a rendered template.
#[derive(Clone, Debug)]
pub struct Document {
    /// The template that it comes from, as Helm writes it: `maas/templates/region.yaml`.
    pub source: String,
    /// Its text, without the separator before it.
    pub text: String,
    /// What the text says.
    pub object: Value,
}

impl Rendered {
    /// The release's objects as `helm template` writes them, hooks not among
    /// them: what a release record calls its manifest.
    #[must_use]
    pub fn to_manifest(&self) -> String {
        self.documents.iter().map(Document::to_manifest).collect()
    }
}

impl Document {
    /// Its text, as `helm template` writes it: behind a separator and the
    /// template that it comes from.
    #[must_use]
    pub fn to_manifest(&self) -> String {
        format!("---\n# Source: {}\n{}\n", self.source, self.text)
    }

    /// The object's `kind`; empty where it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text_at("/kind")
    }

    /// The object's `apiVersion`; empty where it has none.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.text_at("/apiVersion")
    }

    /// The object's name; empty where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text_at("/metadata/name")
    }

    /// The namespace that the object itself names.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.object.pointer("/metadata/namespace").and_then(Value::as_str)
    }

    /// The annotation of that name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.pointer("/metadata/annotations")?.get(name)?.as_str()
    }

    fn text_at(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Where a kind stands in the order in which Helm installs; none where it comes last.
#[must_use]
pub fn install_order(kind: &str) -> Option<usize> {
    KINDS.iter().position(|held| *held == kind)
}

/// In this order Helm installs kinds; others come after them, by name.
const KINDS: [&str; 36] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_known_by_its_own_words() {
        let object = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "a", "annotations": {"helm.sh/hook": "pre-install"}}});
        let document = Document { source: String::new(), text: String::new(), object };
        assert_eq!(
            (document.api_version(), document.kind(), document.name()),
            ("v1", "Secret", "a")
        );
        assert_eq!(document.annotation("helm.sh/hook"), Some("pre-install"));
        assert_eq!(document.namespace(), None);
        let empty = Document { object: Value::Null, ..document };
        assert_eq!((empty.kind(), empty.annotation("x")), ("", None));
    }
}
