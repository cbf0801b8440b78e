//! Whether a node takes a pod: readiness, labels, taints, architecture, room.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;

/// The architecture of the images.
pub(super) const ARCH: &str = "amd64";
const ARCH_LABEL: &str = "kubernetes.io/arch";

/// Why a node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    NotReady,
    Cordoned,
    Label(String),
    Affinity,
    Taint(String),
    Arch(String),
}

impl Refusal {
    /// As a part of a sentence about `count` nodes.
    pub(super) fn told(&self, count: usize) -> String {
        let (is, has) = if count == 1 { ("is", "has") } else { ("are", "have") };
        match self {
            Self::NotReady => format!("{count} {is} not ready"),
            Self::Cordoned => format!("{count} {is} cordoned"),
            Self::Label(label) => format!("{count} {has} no label {label}"),
            Self::Affinity => format!("{count} {is} ruled out by its affinity"),
            Self::Taint(taint) => format!("{count} {has} the taint {taint}"),
            Self::Arch(arch) => format!("{count} {is} {arch}; the images are {ARCH}"),
        }
    }
}

/// Whether a node takes such a pod, room aside.
pub(super) fn refusal(pod: &PodSpec, node: &Node) -> Option<Refusal> {
    let labels = node.labels();
    for (key, value) in pod.node_selector.iter().flatten() {
        if labels.get(key) != Some(value) {
            return Some(Refusal::Label(format!("{key}={value}")));
        }
    }
    if !affinity_holds(pod, node) {
        return Some(Refusal::Affinity);
    }
    if !is_ready(node) {
        return Some(Refusal::NotReady);
    }
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        return Some(Refusal::Cordoned);
    }
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let hard = taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let mut held = hard.filter(|taint| !tolerations.iter().any(|one| tolerates(one, taint)));
    if let Some(taint) = held.next() {
        return Some(Refusal::Taint(shown(taint)));
    }
    // Last: the scheduler does not mind it.
    labels.get(ARCH_LABEL).filter(|arch| *arch != ARCH).map(|arch| Refusal::Arch(arch.clone()))
}

pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn shown(taint: &Taint) -> String {
    let value = taint.value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
    format!("{}{value}:{}", taint.key, taint.effect)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if toleration.operator.as_deref() == Some("Exists") {
        return key.is_empty() || key == taint.key;
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    key == taint.key && value(&toleration.value) == value(&taint.value)
}

fn affinity_holds(pod: &PodSpec, node: &Node) -> bool {
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    required
        .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| holds(term, node)))
}

fn holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    let labels = term.match_expressions.iter().flatten().all(|one| requires(one, node.labels()));
    let fields = term.match_fields.iter().flatten().all(|one| requires(one, &name));
    let is_empty = term.match_expressions.is_none() && term.match_fields.is_none();
    labels && fields && !is_empty
}

fn requires(one: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let held = labels.get(&one.key);
    let values = one.values.as_deref().unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    match one.operator.as_str() {
        "In" => held.is_some_and(|held| values.contains(held)),
        "NotIn" => held.is_none_or(|held| !values.contains(held)),
        "Exists" => held.is_some(),
        "DoesNotExist" => held.is_none(),
        "Gt" => number(held).zip(number(values.first())).is_some_and(|(held, than)| held > than),
        "Lt" => number(held).zip(number(values.first())).is_some_and(|(held, than)| held < than),
        _ => false,
    }
}

/// The topology key by which replicas of such a pod must keep apart, if they must.
pub(super) fn keeps_apart(pod: &PodSpec) -> Option<&str> {
    let anti = pod.affinity.as_ref()?.pod_anti_affinity.as_ref()?;
    let terms = anti.required_during_scheduling_ignored_during_execution.as_deref()?;
    terms.first().map(|term| term.topology_key.as_str())
}

/// CPU in thousandths, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Room {
    pub(super) cpu: f64,
    pub(super) memory: f64,
}

impl Room {
    /// Of a list of resources.
    pub(super) fn of(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |name: &str| {
            list.and_then(|list| list.get(name)).and_then(|one| amount(&one.0)).unwrap_or(0.0)
        };
        Self { cpu: amount("cpu") * 1000.0, memory: amount("memory") }
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu - other.cpu, memory: self.memory - other.memory }
    }

    fn most(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    /// `250m CPU and 1.1 GiB`.
    pub(super) fn shown(self) -> String {
        let (cpu, memory) = (self.cpu.max(0.0), self.memory.max(0.0));
        let memory = if memory < 1_073_741_824.0 {
            format!("{:.0} MiB", memory / 1_048_576.0)
        } else {
            format!("{:.1} GiB", memory / 1_073_741_824.0)
        };
        format!("{cpu:.0}m CPU and {memory}")
    }
}

/// What a pod asks for, as the scheduler counts it.
pub(super) fn requests(pod: &PodSpec) -> Room {
    let of = |container: &Container| {
        Room::of(container.resources.as_ref().and_then(|one| one.requests.as_ref()))
    };
    let running = pod.containers.iter().map(of).fold(Room::default(), Room::plus);
    let first = pod.init_containers.iter().flatten().map(of).fold(Room::default(), Room::most);
    let own = running.most(first);
    own.plus(Room::of(pod.overhead.as_ref()))
}

/// `100m`, `1.5`, `2Gi`, `1e3` as a number.
pub(super) fn amount(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    for (unit, factor) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    text.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(in crate::check) fn node(name: &str, change: &Value) -> Node {
        let mut node = json!({"metadata": {"name": name, "labels": {
                "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name}},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}});
        for (pointer, value) in change.as_object().unwrap() {
            *node.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(node).unwrap()
    }

    fn pod(spec: &Value) -> PodSpec {
        let mut whole = json!({"containers": []});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn a_node_is_refused_for_what_it_is() {
        let plain = pod(&json!({}));
        let refused = |change: &Value| refusal(&plain, &node("a", change));
        assert_eq!(refused(&json!({})), None);
        let dead = json!({"/status/conditions": [{"type": "Ready", "status": "Unknown"}]});
        assert_eq!(refused(&dead), Some(Refusal::NotReady));
        assert_eq!(refused(&json!({"/spec": {"unschedulable": true}})), Some(Refusal::Cordoned));
        let arm = json!({"/metadata/labels": {"kubernetes.io/arch": "arm64"}});
        assert_eq!(refused(&arm), Some(Refusal::Arch("arm64".into())));
    }

    #[test]
    fn taints_count_unless_tolerated() {
        let taints = |effect: &str| {
            let taint = json!({"key": "dedicated", "value": "maas", "effect": effect});
            node("a", &json!({"/spec": {"taints": [taint]}}))
        };
        let taint = Some(Refusal::Taint("dedicated=maas:NoSchedule".into()));
        assert_eq!(refusal(&pod(&json!({})), &taints("NoSchedule")), taint);
        assert_eq!(refusal(&pod(&json!({})), &taints("PreferNoSchedule")), None);
        for toleration in [
            json!({"key": "dedicated", "value": "maas"}),
            json!({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}),
            json!({"operator": "Exists"}),
        ] {
            let tolerant = pod(&json!({"tolerations": [toleration]}));
            assert_eq!(refusal(&tolerant, &taints("NoSchedule")), None);
        }
        let other = pod(&json!({"tolerations": [{"key": "dedicated", "value": "other"}]}));
        assert_eq!(refusal(&other, &taints("NoSchedule")), taint);
    }

    #[test]
    fn labels_and_affinity_are_asked_for() {
        let selector = pod(&json!({"nodeSelector": {"maas-rack": "yes"}}));
        let label = Some(Refusal::Label("maas-rack=yes".into()));
        assert_eq!(refusal(&selector, &node("a", &json!({}))), label);
        let terms = |operator: &str, values: &Value| {
            let one =
                json!({"key": "kubernetes.io/hostname", "operator": operator, "values": values});
            pod(
                &json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [one]}]}}}}),
            )
        };
        let here = node("a", &json!({}));
        assert_eq!(refusal(&terms("In", &json!(["a", "b"])), &here), None);
        assert_eq!(refusal(&terms("NotIn", &json!(["a"])), &here), Some(Refusal::Affinity));
        assert_eq!(refusal(&terms("Exists", &json!(null)), &here), None);
        assert_eq!(refusal(&terms("DoesNotExist", &json!(null)), &here), Some(Refusal::Affinity));
    }

    #[test]
    fn quantities_are_read() {
        for (text, number) in [
            ("100m", 0.1),
            ("2", 2.0),
            ("1.5", 1.5),
            ("1Gi", 1_073_741_824.0),
            ("1G", 1e9),
            ("1e3", 1000.0),
        ] {
            assert!((amount(text).unwrap() - number).abs() < 1e-9, "{text}");
        }
        assert_eq!(amount("much"), None);
    }

    #[test]
    fn a_pod_asks_for_the_most_of_its_first_or_the_sum_of_its_others() {
        let container = |cpu: &str, memory: &str| json!({"name": "x", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let spec =
            pod(&json!({"containers": [container("200m", "1Gi"), container("50m", "512Mi")],
            "initContainers": [container("1", "32Mi")]}));
        assert_eq!(requests(&spec).shown(), "1000m CPU and 1.5 GiB");
    }
}
