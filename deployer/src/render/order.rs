//! Rendered texts, cut into documents and put in Helm's order.

use std::cmp::Ordering;
use std::sync::Arc;

use super::RenderError;
use crate::manifest::{Document, Rendered};
use crate::tree::Source;
use crate::yaml;

/// In this order Helm installs kinds; others come after them, by name.
const KINDS: [&str; 38] = [
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
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Cuts what a template rendered to into documents; those that are hooks apart.
pub(super) fn split(
    template: &str,
    text: &str,
    rendered: &mut Rendered,
) -> Result<(), RenderError> {
    for text in documents(text) {
        let source = Arc::new(Source::Rendered(template.to_owned()));
        let failed = |source| RenderError::Yaml { template: template.to_owned(), source };
        let object = yaml::read(text, &source).map_err(failed)?.to_json();
        let (source, text) = (template.to_owned(), text.to_owned());
        let document = Document { source, text, object };
        match document.annotation("helm.sh/hook") {
            Some(_) => rendered.hooks.push(document),
            None => rendered.documents.push(document),
        }
    }
    Ok(())
}

/// Texts between lines that begin with `---`, trimmed, without empty ones.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text.trim());
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        let cut = match text.strip_prefix("---") {
            Some(_) => Some(0),
            None => text.find("\n---").map(|at| at + 1),
        };
        let Some(at) = cut else {
            rest = None;
            return Some(text);
        };
        rest = text.get(at + 3..);
        text.get(..at)
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// Helm's order of kinds; what is of one kind stays as it was.
pub(super) fn sort(rendered: &mut Rendered) {
    rendered.documents.sort_by(by_kind);
    rendered.hooks.sort_by(by_kind);
}

fn by_kind(a: &Document, b: &Document) -> Ordering {
    let place = |document: &Document| KINDS.iter().position(|kind| *kind == document.kind());
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.kind().cmp(b.kind()),
    }
}
