//! What a release runs: its pods, as its manifest has them.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec};
use serde_json::Value;

use crate::manifest::Document;

/// Objects that make pods.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) kind: String,
    pub(super) name: String,
    /// `region`, `rack`, …; the name where there is no such label.
    pub(super) component: String,
    pub(super) replicas: usize,
    pub(super) pod: PodSpec,
    /// The pod's specification, as it is written.
    pub(super) written: Value,
    /// Claims of each replica.
    pub(super) claims: Vec<PersistentVolumeClaim>,
}

impl Workload {
    /// `StatefulSet maas-rack`.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Whether its pods stay, rather than end.
    pub(super) fn stays(&self) -> bool {
        matches!(self.kind.as_str(), "StatefulSet" | "Deployment" | "DaemonSet")
    }

    /// All images that its pods need.
    pub(super) fn images(&self) -> Vec<String> {
        let all = self.pod.init_containers.iter().flatten().chain(&self.pod.containers);
        all.filter_map(|container| container.image.clone()).collect()
    }

    /// Where its pods may run, as text: equal where it is the same.
    pub(super) fn placement(&self) -> String {
        let part = |name: &str| self.written.get(name).cloned().unwrap_or_default();
        let node = part("affinity").get("nodeAffinity").cloned().unwrap_or_default();
        serde_json::json!([part("nodeSelector"), part("tolerations"), node]).to_string()
    }
}

/// The workloads among `documents`.
pub(super) fn workloads(documents: &[Document]) -> Vec<Workload> {
    documents.iter().filter_map(workload).collect()
}

fn workload(document: &Document) -> Option<Workload> {
    let template = match document.kind() {
        "StatefulSet" | "Deployment" | "DaemonSet" | "Job" => "/spec/template",
        "CronJob" => "/spec/jobTemplate/spec/template",
        "Pod" => "",
        _ => return None,
    };
    let template = document.object.pointer(template)?;
    let written = template.get("spec")?.clone();
    let label = template.pointer("/metadata/labels/app.kubernetes.io~1component");
    let component = label.and_then(Value::as_str).unwrap_or_else(|| document.name()).to_owned();
    let replicas = document.object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let claims = document.object.pointer("/spec/volumeClaimTemplates").cloned();
    Some(Workload {
        kind: document.kind().to_owned(),
        name: document.name().to_owned(),
        component,
        replicas: usize::try_from(replicas).unwrap_or(usize::MAX),
        // What is wrong with it, the dry run says.
        pod: serde_json::from_value(written.clone()).unwrap_or_default(),
        written,
        claims: claims.and_then(|claims| serde_json::from_value(claims).ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::render::{ReleaseInfo, render};
    use crate::tree::Source;
    use crate::values::Values;

    /// The chart with some values: documents, and hooks.
    pub(in crate::check) fn rendered(values: Value) -> (Vec<Document>, Vec<Document>) {
        let values = Values::from_json(values, Source::Stdin).unwrap();
        let rendered = render(&values, &ReleaseInfo::install("maas", "ns")).unwrap();
        (rendered.documents, rendered.hooks)
    }

    /// The workload of that component.
    pub(in crate::check) fn of_chart(component: &str, values: Value) -> Workload {
        let (documents, _) = rendered(values);
        let mut found = workloads(&documents).into_iter();
        found.find(|one| one.component == component).unwrap()
    }

    #[test]
    fn the_charts_workloads_are_found() {
        let rack = of_chart("rack", serde_json::json!({"pod": {"replicas": {"rack": 3}}}));
        assert_eq!((rack.shown().as_str(), rack.replicas), ("StatefulSet maas-rack", 3));
        assert!(rack.stays() && rack.pod.host_network == Some(true));
        assert_eq!(rack.claims.len(), 1);
        assert_eq!(rack.images().len(), 3);
        let (documents, hooks) = rendered(serde_json::json!({}));
        assert!(workloads(&documents).iter().any(|one| one.kind == "Job" && !one.stays()));
        assert!(workloads(&hooks).iter().any(|one| one.kind == "Pod" && one.component == "test"));
    }
}
