//! What is asked of nodes and storage, and of pods that look from inside.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;

use super::gather::{AT_ONCE, Namespace, Subject, unseen};
use super::nodes::Fleet;
use super::probe::{Ended, Probe, has_ended};
use super::report::Check;
use super::storage::Tied;
use super::workloads::Workload;
use super::{Checking, database, nodes, pulls, security, storage};
use crate::cluster::{ClusterError, Place};

/// On how many nodes ports are looked at.
const NODES: usize = 16;

impl Checking<'_> {
    pub(super) async fn nodes(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
        let all = |plural: &str| Place::list("/api/v1", None, plural);
        let nodes = match self.typed("list the nodes", &all("nodes")).await {
            Ok(nodes) => nodes,
            Err(error) => return vec![unseen("nodes.ready", "the cluster's nodes", &error)],
        };
        let pods: Result<Vec<Pod>, ClusterError> = self.typed("list all pods", &all("pods")).await;
        let fleet = Fleet { nodes, pods: pods.ok() };
        let mut checks = nodes::judge(self.names, &subject.workloads, &fleet);
        if self.options.nodes {
            checks.extend(self.ports(subject, &fleet, is_there).await);
        }
        checks
    }

    /// Looks at the network of the nodes that racks go to.
    async fn ports(&self, subject: &Subject<'_>, fleet: &Fleet, is_there: bool) -> Vec<Check> {
        let (id, what) = ("nodes.bound", "ports of the nodes that racks go to");
        let on_host = |one: &&Workload| one.stays() && one.pod.host_network == Some(true);
        let Some(rack) = subject.workloads.iter().find(on_host) else {
            let why = "nothing of the release is on the nodes' own network";
            return vec![Check::skip(id, what, why)];
        };
        if let Some(skip) = self.no_probes(id, what, is_there) {
            return vec![skip];
        }
        let own = |node: &str| {
            fleet.pods.iter().flatten().any(|pod| {
                nodes::is_own(pod, self.names)
                    && pod.spec.as_ref().is_some_and(|spec| {
                        spec.host_network == Some(true) && spec.node_name.as_deref() == Some(node)
                    })
            })
        };
        let takers: Vec<String> =
            nodes::takers(rack, &fleet.nodes).iter().map(|node| node.name_any()).collect();
        let others: Vec<&String> = takers.iter().filter(|node| !own(node)).take(NODES).collect();
        if others.is_empty() {
            let why = "there are none, or racks of this release run on all of them";
            return vec![Check::skip(id, what, why)];
        }
        stream::iter(others.into_iter().enumerate())
            .map(async |(number, node)| self.ports_of(rack, number, node).await)
            .buffered(4)
            .collect()
            .await
    }

    async fn ports_of(&self, rack: &Workload, number: usize, node: &str) -> Check {
        let probe = nodes::ports_probe(rack, number, node);
        let ended = self.run(&probe).await;
        match ended {
            Ok((ended, log)) => nodes::bound(node, &ended, &log),
            Err(error) => unseen("nodes.bound", &format!("ports of {node}"), &error),
        }
    }

    /// Runs a probe until it has ended, and reads its log.
    pub(super) async fn run(&self, probe: &Probe) -> Result<(Ended, Vec<String>), ClusterError> {
        let read = async |ended: Ended| {
            let log = match &ended {
                Ended::Seen(pod) => self.probes.log(pod).await?,
                _ => Vec::new(),
            };
            Ok((ended, log))
        };
        self.probes.run(probe, has_ended, read).await?
    }

    /// Why no probe may be made, if so.
    pub(super) fn no_probes(&self, id: &str, what: &str, is_there: bool) -> Option<Check> {
        if !self.options.pods {
            return Some(Check::skip(id, what, "--no-pods: nothing is made on the cluster"));
        }
        let space = &self.names.namespace;
        (!is_there).then(|| {
            let why = format!("the namespace {space} is not there");
            Check::skip(id, what, why).hint(format!("kubectl create namespace {space}"))
        })
    }

    pub(super) async fn storage(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
        let place = Place::list("/apis/storage.k8s.io/v1", None, "storageclasses");
        let classes: Result<Vec<StorageClass>, _> =
            self.typed("list the storage classes", &place).await;
        let mut checks = match classes {
            Ok(classes) => storage::classes(&subject.workloads, &classes),
            Err(error) => vec![unseen("storage.class", "the storage classes", &error)],
        };
        if !is_there {
            return checks;
        }
        let place = Place::list("/api/v1", Some(&self.names.namespace), "persistentvolumeclaims");
        let claims: Result<Vec<PersistentVolumeClaim>, _> =
            self.typed("list the volume claims", &place).await;
        match claims {
            Ok(claims) => {
                checks.extend(storage::claims(self.names, &subject.workloads, &claims));
                let tied = self.tied(subject).await;
                checks.extend(storage::passwords(self.names, &subject.workloads, &claims, &tied));
            }
            Err(error) => {
                checks.push(unseen("storage.claims", "volumes of an earlier release", &error));
            }
        }
        checks
    }

    /// Secrets that belong to what is on volumes: the database's administrator to the database's;
    /// MAAS's to the region's.
    async fn tied(&self, subject: &Subject<'_>) -> Vec<Tied> {
        let mut all = Vec::new();
        for (component, volume, key) in
            [("postgresql", "db-admin", "DATABASE_PASSWORD"), ("region", "admin", "PASSWORD")]
        {
            let Some(secret) = secret_of(&subject.workloads, volume) else { continue };
            let Ok(held) = self.cluster.secret(&self.names.namespace, &secret).await else {
                continue;
            };
            let given =
                subject.documents.iter().find(|one| one.kind() == "Secret" && one.name() == secret);
            let given = given.and_then(|one| one.object.pointer("/data")?.get(key)?.as_str());
            let given = given.map(|given| {
                use base64::Engine as _;
                let given =
                    base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
                let has = held.as_ref().and_then(|held| held.get(key));
                has.is_some_and(|has| has.expose().as_bytes() == given)
            });
            all.push(Tied { component, secret, is_there: held.is_some(), given });
        }
        all
    }

    pub(super) async fn security(
        &self,
        subject: &Subject<'_>,
        namespace: &Namespace,
    ) -> Vec<Check> {
        let (id, what) = ("security.admission", "pods of the release");
        if !namespace.is_there() {
            let why = format!("the namespace {} is not there", self.names.namespace);
            return vec![Check::skip(id, what, why)];
        }
        let space = &self.names.namespace;
        let mut seen = BTreeSet::new();
        // Of jobs, most are alike.
        let once = |one: &&Workload| {
            let context = one.written.get("securityContext").cloned().unwrap_or_default();
            one.stays() || seen.insert(format!("{context}{}", one.images().join(" ")))
        };
        let ones: Vec<&Workload> = subject.workloads.iter().filter(once).collect();
        let place = match Place::named("/api/v1", Some(space), "pods", "Pod", "check") {
            Ok(place) => place,
            Err(error) => return vec![unseen(id, what, &error)],
        };
        let tried: Vec<(String, Result<(), ClusterError>)> = stream::iter(ones)
            .map(async |one| {
                let pod = security::pod(one, space);
                (one.shown(), self.cluster.try_create(&place, &pod).await)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        security::judge(self.names, security::level(namespace.object()), &tried)
    }

    pub(super) async fn database(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
        let mut exists = BTreeMap::new();
        for volume in ["db-admin", "db-user"] {
            let Some(name) = secret_of(&subject.workloads, volume) else { continue };
            let held = self.cluster.secret(&self.names.namespace, &name).await;
            // What may not be read may well be there.
            exists.insert(name, held.map_or(true, |held| held.is_some()));
        }
        let secret = self.probes.secret_name(database::ABOUT);
        let there = |name: &str| exists.get(name).copied().unwrap_or(true);
        let plan = database::plan(&subject.workloads, &subject.documents, &secret, there);
        if matches!(plan, database::Plan::Nothing(_))
            || is_there && matches!(plan, database::Plan::NoSecret(_))
        {
            return database::not_run(self.names, &plan).into_iter().collect();
        }
        if let Some(skip) = self.no_probes("database.login", "the database, from a pod", is_there) {
            return vec![skip];
        }
        let database::Plan::Probe(probe) = plan else { return Vec::new() };
        match self.run(&probe).await {
            Ok((ended, log)) => database::judge(self.names, &ended, &log),
            Err(error) => vec![unseen("database.login", "the database, from a pod", &error)],
        }
    }

    pub(super) async fn images(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
        if let Some(skip) = self.no_probes("images.pull", "images, pulled by nodes", is_there) {
            return vec![skip];
        }
        let mut checks = Vec::new();
        for (probe, images) in pulls::probes(&subject.workloads) {
            let decided = |pod: &Pod| pulls::are_decided(pod, &images);
            let read =
                async |ended: Ended| pulls::judge(self.names, &ended, &images, self.probes.limit());
            match self.probes.run(&probe, decided, read).await {
                Ok(found) => checks.extend(found),
                Err(error) => checks.push(unseen("images.pull", &images.join(", "), &error)),
            }
        }
        checks
    }
}

/// The Secret behind a volume of that name, of any pod.
pub(super) fn secret_of(workloads: &[Workload], volume: &str) -> Option<String> {
    let volumes = workloads.iter().flat_map(|one| one.pod.volumes.iter().flatten());
    let mut named = volumes.filter(|one| one.name == volume);
    named.find_map(|one| one.secret.as_ref()?.secret_name.clone())
}
