//! Nodes: whether some take each workload, and have room and free ports.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Names;
use super::fit::{ARCH, Refusal, Room, is_ready, keeps_apart, refusal, requests};
use super::probe::{Ended, Probe, answer, put, unprivileged};
use super::report::{Check, listed};
use super::workloads::Workload;
use crate::counted::counted;
use crate::ports::{self, Port};

/// What is known of the cluster's nodes.
pub(super) struct Fleet {
    pub(super) nodes: Vec<Node>,
    /// All pods; `None` where this account may not list them.
    pub(super) pods: Option<Vec<Pod>>,
}

/// Judges whether the nodes take what is to run.
pub(super) fn judge(names: &Names, workloads: &[Workload], fleet: &Fleet) -> Vec<Check> {
    let mut checks = vec![ready(&fleet.nodes)];
    let staying = workloads.iter().filter(|one| one.stays());
    checks.extend(staying.map(|one| placed(&format!("nodes.{}", one.component), one, fleet)));
    let mut seen = BTreeSet::new();
    for one in workloads.iter().filter(|one| !one.stays()) {
        if seen.insert(one.placement()) {
            let nth = if seen.len() == 1 { String::new() } else { format!("-{}", seen.len()) };
            checks.push(placed(&format!("nodes.jobs{nth}"), one, fleet));
        }
    }
    checks.push(room(names, workloads, fleet));
    checks.extend(declared_ports(names, workloads, fleet));
    checks
}

fn ready(nodes: &[Node]) -> Check {
    let id = "nodes.ready";
    let (ready, others): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| is_ready(node));
    let what = format!("{} of {} ready", ready.len(), counted(nodes.len(), "node"));
    let away: Vec<String> = others.iter().map(|node| node.name_any()).collect();
    if ready.is_empty() {
        return Check::fail(id, what, "no node can run anything").hint("kubectl get nodes");
    }
    let arch = |node: &&&Node| node.labels().get("kubernetes.io/arch").is_none_or(|it| it == ARCH);
    if ready.iter().filter(arch).count() == 0 {
        let why = format!("the images are for {ARCH}, and none of these nodes is");
        return Check::fail(id, what, why).hint(format!("add a node of {ARCH}"));
    }
    if away.is_empty() {
        return Check::pass(id, what);
    }
    let why = format!("not ready: {}", listed(&away, 5));
    Check::warn(id, what, why).hint(format!("kubectl describe node {}", away.join(" ")))
}

/// The nodes that take a workload's pods, room aside.
pub(super) fn takers<'a>(workload: &Workload, nodes: &'a [Node]) -> Vec<&'a Node> {
    nodes.iter().filter(|node| refusal(&workload.pod, node).is_none()).collect()
}

/// How many different values of the topology key these nodes have.
fn places(nodes: &[&Node], key: &str) -> usize {
    let values = nodes.iter().filter_map(|node| node.labels().get(key));
    values.collect::<BTreeSet<_>>().len()
}

fn placed(id: &str, workload: &Workload, fleet: &Fleet) -> Check {
    let takers = takers(workload, &fleet.nodes);
    let (has, all) = (takers.len(), counted(fleet.nodes.len(), "node"));
    let who = if workload.stays() { workload.shown() } else { "the jobs".to_owned() };
    let what = format!("{who}: {has} of {all} can run it");
    let wanted = workload.replicas;
    if takers.is_empty() && wanted > 0 {
        let (why, hint) = why_none(workload, &fleet.nodes);
        return Check::fail(id, what, why).hint(hint);
    }
    if let Some(key) = keeps_apart(&workload.pod) {
        let places = places(&takers, key);
        if places < wanted {
            let component = &workload.component;
            let why = format!(
                "its {wanted} pods must keep apart by {key}, of which these nodes have {}",
                counted(places, "value")
            );
            let hint = format!("set pod.replicas.{component}={places}, or give it more nodes");
            return Check::fail(id, what, why).hint(hint);
        }
    }
    let wrong = fleet.nodes.iter().filter_map(|node| match refusal(&workload.pod, node) {
        Some(Refusal::Arch(arch)) => Some(format!("{} ({arch})", node.name_any())),
        _ => None,
    });
    let wrong: Vec<String> = wrong.collect();
    if !wrong.is_empty() {
        let component = if workload.stays() { workload.component.as_str() } else { "region" };
        let why = format!(
            "the images are for {ARCH}, and the scheduler may pick other nodes: {}",
            listed(&wrong, 4)
        );
        return Check::warn(id, what, why).hint(format!(
            "set labels.{component}.node_selector_key=kubernetes.io/arch and node_selector_value={ARCH}"
        ));
    }
    Check::pass(id, what)
}

/// Why no node takes a workload, and what mends it.
fn why_none(workload: &Workload, nodes: &[Node]) -> (String, String) {
    let mut reasons: BTreeMap<Refusal, Vec<String>> = BTreeMap::new();
    for node in nodes {
        if let Some(refusal) = refusal(&workload.pod, node) {
            reasons.entry(refusal).or_default().push(node.name_any());
        }
    }
    let told: Vec<String> = reasons.iter().map(|(one, nodes)| one.told(nodes.len())).collect();
    let why = format!("no node takes it: {}", told.join("; "));
    let component = if workload.stays() { workload.component.as_str() } else { "region" };
    let room = if workload.stays() { component } else { "jobs" };
    let some = reasons.iter().next_back();
    let hint = match some {
        Some((Refusal::Label(label), nodes)) => format!(
            "kubectl label node {} {label}\nor set labels.{component}.node_selector_key in the values",
            nodes.first().map_or("NODE", String::as_str)
        ),
        // What Kubernetes sets itself says that the node is not well: no pod should bear with it.
        Some((Refusal::Taint(taint), nodes)) if taint.starts_with("node.kubernetes.io/") => {
            format!(
                "kubectl describe node {}; Kubernetes takes {taint} off when that is mended",
                nodes.first().map_or("NODE", String::as_str)
            )
        }
        Some((Refusal::Taint(taint), _)) => {
            format!("tolerate {taint} by pod.tolerations.{room} in the values")
        }
        Some((Refusal::Affinity, _)) => {
            format!("change pod.affinity.extra.{room} in the values, or label nodes for it")
        }
        Some((Refusal::Cordoned, nodes)) => format!("kubectl uncordon {}", nodes.join(" ")),
        Some((Refusal::Arch(_), _)) => format!("add a node of {ARCH}"),
        Some((Refusal::NotReady, _)) | None => "kubectl describe nodes".to_owned(),
    };
    (why, hint)
}

/// Whether a pod is the release's own.
pub(super) fn is_own(pod: &Pod, names: &Names) -> bool {
    pod.namespace().as_deref() == Some(names.namespace.as_str())
        && pod.labels().get("app.kubernetes.io/instance") == Some(&names.release)
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What each node has left, the release's own pods aside.
fn free<'a>(names: &Names, fleet: &'a Fleet, pods: &[Pod]) -> Vec<(&'a Node, Room)> {
    let used = |node: &Node| {
        let here = pods.iter().filter(|pod| {
            let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            on == Some(node.name_any().as_str()) && !is_own(pod, names) && !is_over(pod)
        });
        here.filter_map(|pod| pod.spec.as_ref()).map(requests).fold(Room::default(), Room::plus)
    };
    let all =
        |node: &Node| Room::of(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    fleet.nodes.iter().map(|node| (node, all(node).minus(used(node)))).collect()
}

/// Puts the pods that stay on nodes one by one, the largest first, each where most is left.
fn room(names: &Names, workloads: &[Workload], fleet: &Fleet) -> Check {
    let (id, what) = ("nodes.room", "CPU and memory that the pods ask for");
    let Some(pods) = &fleet.pods else {
        let why = "this account may not list the pods of all namespaces";
        return Check::skip(id, what, why).hint("kubectl auth can-i list pods --all-namespaces");
    };
    let mut left = free(names, fleet, pods);
    let mut staying: Vec<&Workload> = workloads.iter().filter(|one| one.stays()).collect();
    staying.sort_by(|one, other| requests(&other.pod).memory.total_cmp(&requests(&one.pod).memory));
    let mut total = Room::default();
    for workload in staying {
        let asks = requests(&workload.pod);
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for _ in 0..workload.replicas.min(1000) {
            total = total.plus(asks);
            let key = keeps_apart(&workload.pod);
            let value = |node: &Node| key.and_then(|key| node.labels().get(key)).cloned();
            let fits = left.iter_mut().filter(|(node, _)| {
                refusal(&workload.pod, node).is_none()
                    && value(node).is_none_or(|value| !taken.contains(&value))
            });
            let Some((node, room)) = fits.max_by(|a, b| a.1.memory.total_cmp(&b.1.memory)) else {
                // Said by the check of its nodes.
                continue;
            };
            if !room.holds(asks) {
                let why = format!(
                    "{} asks for {}; {} has most left of its nodes, {}",
                    workload.shown(),
                    asks.shown(),
                    node.name_any(),
                    room.shown()
                );
                let hint = "ask for less by pod.resources in the values, or give it a larger node\n\
                    kubectl describe nodes | grep -A9 'Allocated resources'";
                return Check::fail(id, what, why).hint(hint);
            }
            *room = room.minus(asks);
            taken.extend(value(node));
        }
    }
    Check::pass(id, format!("{what}: {}, and the nodes have it", total.shown()))
}

/// Ports of the nodes' own network that pods of others say they use.
fn declared_ports(names: &Names, workloads: &[Workload], fleet: &Fleet) -> Vec<Check> {
    let host = workloads.iter().filter(|one| one.stays() && one.pod.host_network == Some(true));
    host.map(|workload| {
        let id = format!("nodes.ports-{}", workload.component);
        let what = format!("ports of the nodes' network for {}", workload.shown());
        let Some(pods) = &fleet.pods else {
            let why = "this account may not list the pods of all namespaces";
            return Check::skip(id, what, why).hint("--probe-nodes looks at the nodes themselves");
        };
        let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !is_own(pod, names) && !is_over(pod)) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let used = used_by(pod);
            if let (Some(node), false) = (node, used.is_empty()) {
                taken.entry(node).or_default().extend(used);
            }
        }
        let takers = takers(workload, &fleet.nodes);
        let busy: Vec<&Node> =
            takers.iter().copied().filter(|node| taken.contains_key(&node.name_any())).collect();
        let told: Vec<String> = busy
            .iter()
            .map(|node| {
                let uses = taken.get(&node.name_any()).into_iter().flatten().cloned();
                format!("{}: {}", node.name_any(), uses.collect::<Vec<_>>().join(", "))
            })
            .collect();
        if takers.len() - busy.len() < workload.replicas && !busy.is_empty() {
            let why = format!("pods of others use them: {}", listed(&told, 4));
            let component = &workload.component;
            let hint = format!(
                "keep it from those nodes by labels.{component}.node_selector_key, or move the other pods"
            );
            return Check::fail(id, what, why).hint(hint);
        }
        let what = format!(
            "{what}: no pod of others says that it uses them{}",
            if busy.is_empty() { "" } else { " on enough nodes" }
        );
        Check::pass(id, what)
    })
    .collect()
}

/// Which of a rack's ports a pod uses, in words.
fn used_by(pod: &Pod) -> Vec<String> {
    let Some(spec) = pod.spec.as_ref() else { return Vec::new() };
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let is = |label: &str, value: &str| pod.labels().get(label).is_some_and(|held| held == value);
    let on_host = spec.host_network == Some(true);
    if on_host && is("app.kubernetes.io/name", "maas") && is("app.kubernetes.io/component", "rack")
    {
        return vec![format!("a rack of another release ({name})")];
    }
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let declared = containers.flat_map(|container| container.ports.iter().flatten());
    let used = declared.filter_map(|port| {
        let number =
            if on_host { port.host_port.unwrap_or(port.container_port) } else { port.host_port? };
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        Some(Port::new(u16::try_from(number).ok()?, protocol == "UDP"))
    });
    let wanted = used.filter(|port| ports::RACK.contains(port));
    wanted.map(|port| format!("{port} ({name})")).collect()
}

/// A pod on a node's own network, which tells what is bound there. It asks for nothing else.
pub(super) fn ports_probe(rack: &Workload, number: usize, node: &str) -> Probe {
    let (pod, container) = unprivileged();
    let image = rack.pod.init_containers.iter().flatten().find(|one| one.name == "deployer");
    let ports = ports::RACK.iter().map(ToString::to_string);
    let args: Vec<String> = ["job", "check-ports", "-o", "json", "-q"]
        .map(str::to_owned)
        .into_iter()
        .chain(ports)
        .collect();
    let mut spec = json!({"restartPolicy": "Never", "hostNetwork": true,
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 0, "securityContext": pod, "nodeName": node,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "ports", "args": args, "securityContext": container,
            "image": image.and_then(|one| one.image.clone()),
            "imagePullPolicy": image.and_then(|one| one.image_pull_policy.clone()),
            "resources": {"requests": {"cpu": "1m", "memory": "8Mi"},
                "limits": {"cpu": "200m", "memory": "64Mi"}}}]});
    if let Some(secrets) = rack.written.get("imagePullSecrets") {
        put(&mut spec, "imagePullSecrets", secrets.clone());
    }
    Probe {
        about: format!("ports-{}", number + 1),
        spec,
        secret: BTreeMap::new(),
        is_about_images: false,
    }
}

/// Judges by what the probe on a node said.
pub(super) fn bound(node: &str, ended: &Ended, log: &[String]) -> Check {
    let (id, what) = ("nodes.bound", format!("ports of {node} that a rack binds"));
    let said = match ended {
        Ended::Seen(_) => answer(log),
        Ended::Stuck(why) | Ended::Late(why) => {
            return Check::skip(id, what, format!("no pod could look at them: {why}"))
                .hint("see the checks of images and of Pod Security admission");
        }
    };
    let taken = said.as_ref().and_then(|said| said.pointer("/facts/taken")?.as_array());
    let Some(taken) = taken else {
        let last = log.last().map_or("it said nothing", String::as_str);
        return Check::skip(id, what, format!("the pod that looks at them failed: {last}"))
            .hint("check that images.tags.maas_deployer is of this program's version");
    };
    let taken: Vec<&str> = taken.iter().filter_map(Value::as_str).collect();
    if taken.is_empty() {
        return Check::pass(id, format!("{what}: all free"));
    }
    let sockets = taken.iter().map(|port| port.replace('/', " sport = :"));
    let looks: Vec<String> = sockets.map(|port| format!("ss -lnp --{port}")).collect();
    Check::fail(id, what, format!("taken: {}", taken.join(", ")))
        .hint(format!("on {node}: {}; stop that, or keep racks from the node", looks.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::super::fit::tests::node;
    use super::super::report::Status;
    use super::super::workloads::tests::of_chart;
    use super::*;

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    fn fleet(nodes: Vec<Node>, pods: &[Value]) -> Fleet {
        let pods = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        Fleet { nodes, pods: Some(pods) }
    }

    fn check(checks: &[Check], id: &str) -> Check {
        checks
            .iter()
            .find(|check| check.id == id)
            .unwrap_or_else(|| panic!("{id}: {checks:?}"))
            .clone()
    }

    #[test]
    fn a_selector_that_no_node_has_names_label_and_command() {
        let labels =
            json!({"rack": {"node_selector_key": "maas-rack", "node_selector_value": "yes"}});
        let rack = of_chart("rack", json!({"labels": labels}));
        let one = fleet(vec![node("a", &json!({}))], &[]);
        let found = check(&judge(&names(), &[rack], &one), "nodes.rack");
        assert_eq!(found.status, Status::Fail);
        assert_eq!(found.why, "no node takes it: 1 has no label maas-rack=yes");
        assert!(found.hint.unwrap().starts_with("kubectl label node a maas-rack=yes\n"));
    }

    #[test]
    fn nodes_of_another_architecture_are_told() {
        let rack = of_chart("rack", json!({}));
        let arm = node("b", &json!({"/metadata/labels": {"kubernetes.io/arch": "arm64"}}));
        let mixed = fleet(vec![node("a", &json!({})), arm.clone()], &[]);
        let found = check(&judge(&names(), std::slice::from_ref(&rack), &mixed), "nodes.rack");
        assert_eq!(found.status, Status::Warn);
        assert!(found.why.ends_with("may pick other nodes: b (arm64)"), "{}", found.why);
        let none = check(&judge(&names(), &[rack], &fleet(vec![arm], &[])), "nodes.rack");
        assert_eq!(none.why, "no node takes it: 1 is arm64; the images are amd64");
    }

    #[test]
    fn racks_want_a_node_each() {
        let rack = of_chart("rack", json!({"pod": {"replicas": {"rack": 2}}}));
        let (a, b) = (node("a", &json!({})), node("b", &json!({})));
        let few = check(
            &judge(&names(), std::slice::from_ref(&rack), &fleet(vec![a.clone()], &[])),
            "nodes.rack",
        );
        assert_eq!(few.status, Status::Fail);
        assert!(few.why.contains("must keep apart by kubernetes.io/hostname"), "{}", few.why);
        assert!(few.hint.unwrap().starts_with("set pod.replicas.rack=1"));
        let enough = check(&judge(&names(), &[rack], &fleet(vec![a, b], &[])), "nodes.rack");
        assert_eq!(enough.status, Status::Pass);
    }

    #[test]
    fn what_is_asked_for_has_to_be_left_somewhere() {
        let region = of_chart("region", json!({}));
        let busy = json!({"metadata": {"name": "x", "namespace": "other"}, "spec": {"nodeName": "a",
            "containers": [{"name": "x", "resources": {"requests": {"cpu": "1", "memory": "15.5Gi"}}}]}});
        let full = fleet(vec![node("a", &json!({}))], std::slice::from_ref(&busy));
        let found = check(&judge(&names(), std::slice::from_ref(&region), &full), "nodes.room");
        assert_eq!(found.status, Status::Fail);
        assert!(found.why.contains("asks for") && found.why.contains("512 MiB"), "{}", found.why);
        // Pods that ended, and the release's own, take nothing.
        let mut ended = busy.clone();
        ended["status"]["phase"] = json!("Succeeded");
        let mut own = busy;
        own["metadata"] = json!({"name": "x", "namespace": "ns", "labels": {"app.kubernetes.io/instance": "maas"}});
        let free = fleet(vec![node("a", &json!({}))], &[ended, own]);
        assert_eq!(check(&judge(&names(), &[region], &free), "nodes.room").status, Status::Pass);
    }

    #[test]
    fn ports_and_racks_of_others_are_in_the_way() {
        let rack = of_chart("rack", json!({}));
        let port = json!({"name": "x", "ports": [{"containerPort": 53, "protocol": "UDP"}]});
        let dns = json!({"metadata": {"name": "dns", "namespace": "kube-system"},
            "spec": {"nodeName": "a", "hostNetwork": true, "containers": [port]}});
        let found = |pod: Value, nodes: &[&str]| {
            let nodes = nodes.iter().map(|name| node(name, &json!({}))).collect();
            check(
                &judge(&names(), std::slice::from_ref(&rack), &fleet(nodes, &[pod])),
                "nodes.ports-rack",
            )
        };
        let taken = found(dns.clone(), &["a"]);
        assert_eq!(taken.status, Status::Fail);
        assert_eq!(taken.why, "pods of others use them: a: udp/53 (kube-system/dns)");
        assert_eq!(found(dns, &["a", "b"]).status, Status::Pass);
        let other = json!({"metadata": {"name": "b-rack-0", "namespace": "other", "labels": {
            "app.kubernetes.io/name": "maas", "app.kubernetes.io/component": "rack"}},
            "spec": {"nodeName": "a", "hostNetwork": true, "containers": []}});
        assert!(found(other, &["a"]).why.contains("a rack of another release (other/b-rack-0)"));
    }
}
