//! What is asked before an installation or upgrade.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::known::Known;
use super::leftovers::Past;
use super::nodes::Fleet;
use super::probe::{Ended, Probe, has_ended};
use super::report::{Check, Group, Report};
use super::rights::Need;
use super::storage::Tied;
use super::workloads::{Workload, workloads};
use super::{
    Checking, PRE, database, leftovers, nodes, objects, pulls, rights, secrets, security, server,
    storage,
};
use crate::apply::{ApplyError, News, Progress, Trial, documents, try_each};
use crate::cluster::{ClusterError, MANAGED_BY, Place};
use crate::manifest::Document;
use crate::release::{Candidate, Stored};

/// How many questions are asked at once.
const AT_ONCE: usize = 8;
/// On how many nodes ports are looked at.
const NODES: usize = 16;

/// What is to be installed, and what is there of it.
pub(super) struct Subject<'a> {
    pub(super) documents: Vec<Document>,
    pub(super) hooks: Vec<Document>,
    pub(super) workloads: Vec<Workload>,
    pub(super) last: Option<&'a Stored>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(candidate: &Candidate, last: Option<&'a Stored>) -> Result<Self, ApplyError> {
        let documents = documents(&candidate.manifest)?;
        let mut hooks = Vec::new();
        for hook in &candidate.hooks {
            let found = crate::apply::documents(&hook.manifest)?;
            hooks
                .extend(found.into_iter().map(|one| Document { source: hook.path.clone(), ..one }));
        }
        let mut workloads = workloads(&documents);
        workloads.extend(self::workloads(&hooks));
        Ok(Self { documents, hooks, workloads, last })
    }

    fn all(&self) -> Vec<&Document> {
        self.documents.iter().chain(&self.hooks).collect()
    }
}

/// Puts groups together as they come.
pub(super) struct Groups<'a> {
    names: &'static [(&'static str, &'static str)],
    progress: &'a dyn Progress,
    pub(super) report: Report,
}

impl<'a> Groups<'a> {
    pub(super) fn new(
        names: &'static [(&'static str, &'static str)],
        progress: &'a dyn Progress,
    ) -> Self {
        Self { names, progress, report: Report::default() }
    }

    fn title(&self, id: &str) -> (&'static str, &'static str) {
        self.names.iter().find(|(one, _)| *one == id).copied().unwrap_or_default()
    }

    pub(super) fn begin(&self, id: &str) {
        self.progress.tell(News::Begun(format!("checking: {}", self.title(id).1)));
    }

    pub(super) fn add(&mut self, id: &str, checks: Vec<Check>) {
        let (id, title) = self.title(id);
        self.report.groups.push(Group::new(id, title, checks));
    }
}

impl Checking<'_> {
    /// Checks whether an installation or upgrade would work. Nothing is written but probes,
    /// which [`Checking::clean`] removes.
    ///
    /// # Errors
    /// Where the manifest cannot be read.
    pub async fn pre(
        &self,
        candidate: &Candidate,
        last: Option<&Stored>,
        progress: &dyn Progress,
    ) -> Result<Report, ApplyError> {
        let subject = Subject::new(candidate, last)?;
        let mut groups = Groups::new(&PRE, progress);
        groups.begin("kubernetes");
        let (checks, namespace) = self.kubernetes(last.is_none()).await;
        groups.add("kubernetes", checks);
        let known = match Known::ask(self.cluster, &subject.all()).await {
            Ok(known) => known,
            Err(error) => {
                let failed = vec![server::unreachable(&error)];
                groups.add("objects", failed);
                return Ok(groups.report);
            }
        };
        groups.begin("rights");
        groups.add("rights", self.rights(&subject, &known).await);
        groups.begin("objects");
        let trials = self.trials(&subject, namespace.is_there()).await;
        let checks = self.objects(&subject, candidate, &trials, namespace.is_there()).await;
        groups.add("objects", checks);
        groups.begin("nodes");
        groups.add("nodes", self.nodes(&subject, namespace.is_there()).await);
        groups.begin("storage");
        groups.add("storage", self.storage(&subject, namespace.is_there()).await);
        groups.begin("security");
        groups.add("security", self.security(&subject, &namespace).await);
        groups.begin("database");
        groups.add("database", self.database(&subject, namespace.is_there()).await);
        groups.begin("images");
        groups.add("images", self.images(&subject, namespace.is_there()).await);
        groups.begin("leftovers");
        groups.add("leftovers", self.leftovers(&subject, &known, &trials).await);
        Ok(groups.report)
    }

    /// The server and the namespace.
    pub(super) async fn kubernetes(&self, is_new: bool) -> (Vec<Check>, Namespace) {
        let mut checks = match self.cluster.server().await {
            Ok(facts) => server::judge(&facts, self.cluster.address(), Timestamp::now()),
            Err(error) => vec![server::unreachable(&error)],
        };
        let name = &self.names.namespace;
        let place = Place::named("/api/v1", None, "namespaces", "Namespace", name);
        let found = self.cluster.object(&place).await;
        checks.push(server::namespace(self.names, &found, is_new));
        (checks, Namespace::of(found))
    }

    async fn rights(&self, subject: &Subject<'_>, known: &Known) -> Vec<Check> {
        let documents: Vec<Document> = subject.all().into_iter().cloned().collect();
        let needs = rights::needs(self.names, &documents, known);
        let asked: Vec<(Need, Result<bool, ClusterError>)> = stream::iter(needs.clone())
            .map(async |need| {
                let answer = self.cluster.may(&need.1).await;
                (need, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut missing = BTreeSet::new();
        for (need, answer) in asked {
            match answer {
                Ok(true) => {}
                Ok(false) => {
                    missing.insert(need);
                }
                Err(error) => {
                    let what = "what this account may do";
                    return vec![
                        Check::skip("rights.asked", what, crate::chain(&error))
                            .hint("kubectl auth can-i --list"),
                    ];
                }
            }
        }
        let user = if missing.is_empty() { None } else { self.cluster.who().await.ok().flatten() };
        rights::judge(&needs, &missing, user.as_deref())
    }

    async fn trials(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Trial> {
        let held = subject.last.map(|last| documents(&last.release.manifest));
        let held = held.and_then(Result::ok).unwrap_or_default();
        let (release, space) = (&self.names.release, &self.names.namespace);
        if is_there {
            return try_each(self.cluster, release, space, &subject.documents, &held).await;
        }
        let known = Known::ask(self.cluster, &subject.all()).await.unwrap_or_default();
        let unknown = subject.documents.iter().filter(|one| known.kind(one).is_none());
        let trial = |document: &Document| Trial {
            what: format!("{} {}", document.kind(), document.name()),
            source: document.source.clone(),
            outcome: Err(ApplyError::UnknownKind {
                kind: document.kind().to_owned(),
                api_version: document.api_version().to_owned(),
                name: document.name().to_owned(),
            }),
        };
        unknown.map(trial).collect()
    }

    async fn objects(
        &self,
        subject: &Subject<'_>,
        candidate: &Candidate,
        trials: &[Trial],
        is_there: bool,
    ) -> Vec<Check> {
        let text = |key: &str| {
            let found = candidate.chart.get("metadata").and_then(|metadata| metadata.get(key));
            found.and_then(Value::as_str).unwrap_or_default()
        };
        let chart = format!("the chart {}-{}", text("name"), text("version"));
        let mut checks = vec![objects::values(&chart, subject.documents.len())];
        if !is_there {
            checks.extend(objects::untried(self.names, trials));
            return checks;
        }
        checks.extend(objects::judge(self.names, trials));
        let made = secrets::made(&subject.documents, &subject.workloads);
        let mut wanted = secrets::wanted(&subject.workloads, &subject.documents);
        wanted.retain(|name, _| !made.contains(name));
        // With the login of the database, the check of the database says more.
        let found = self.secrets(&wanted).await;
        checks.extend(secrets::judge("objects.secrets", self.names, &wanted, &found));
        checks
    }

    /// The keys of Secrets. What this account may not read is left out.
    pub(super) async fn secrets(&self, wanted: &secrets::Wanted) -> secrets::Found {
        let mut found = secrets::Found::new();
        for name in wanted.keys() {
            if let Ok(data) = self.cluster.secret(&self.names.namespace, name).await {
                found.insert(name.clone(), data.map(|data| data.into_keys().collect()));
            }
        }
        found
    }

    async fn nodes(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
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
        let racks = subject
            .workloads
            .iter()
            .filter(|one| one.stays() && one.pod.host_network == Some(true));
        let Some(rack) = racks.clone().next() else {
            let why = "nothing of the release is on the nodes' own network";
            return vec![Check::skip("nodes.bound", "ports of the nodes", why)];
        };
        if let Some(skip) = self.no_probes("nodes.bound", "ports of the nodes", is_there) {
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
        let mut checks = Vec::new();
        let looked: Vec<Check> =
            stream::iter(takers.iter().take(NODES).filter(|node| !own(node)).enumerate())
                .map(async |(number, node)| self.ports_of(rack, number, node).await)
                .buffered(4)
                .collect()
                .await;
        checks.extend(looked);
        if checks.is_empty() {
            checks.push(Check::pass(
                "nodes.bound",
                "racks of this release run on all of these nodes already",
            ));
        }
        checks
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

    async fn storage(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
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
                checks.push(unseen("storage.claims", "volumes of an earlier release", &error))
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

    async fn security(&self, subject: &Subject<'_>, namespace: &Namespace) -> Vec<Check> {
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
        let place = Place::named("/api/v1", Some(space), "pods", "Pod", "check");
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

    async fn database(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
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
        if let database::Plan::Nothing(_) = plan {
            return database::not_run(self.names, &plan).into_iter().collect();
        }
        if let Some(skip) = self.no_probes("database.login", "the database, from a pod", is_there) {
            return vec![skip];
        }
        let database::Plan::Probe(probe) = plan else {
            return database::not_run(self.names, &plan).into_iter().collect();
        };
        match self.run(&probe).await {
            Ok((ended, log)) => database::judge(self.names, &ended, &log),
            Err(error) => vec![unseen("database.login", "the database, from a pod", &error)],
        }
    }

    async fn images(&self, subject: &Subject<'_>, is_there: bool) -> Vec<Check> {
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

    async fn leftovers(
        &self,
        subject: &Subject<'_>,
        known: &Known,
        trials: &[Trial],
    ) -> Vec<Check> {
        let mut foreign = Vec::new();
        for hook in &subject.hooks {
            let Some(place) = known.place(hook, &self.names.namespace) else { continue };
            let Ok(Some(live)) = self.cluster.object(&place).await else { continue };
            let instance = live.pointer("/metadata/labels/app.kubernetes.io~1instance");
            if instance.and_then(Value::as_str) != Some(&self.names.release) {
                foreign.push(format!("{} {}", hook.kind(), hook.name()));
            }
        }
        let kept = self.kept().await;
        leftovers::judge(self.names, trials, &foreign, &Past { last: subject.last, kept: &kept })
    }

    /// Secrets and volumes that an uninstall kept.
    async fn kept(&self) -> Vec<String> {
        let (space, release) = (&self.names.namespace, &self.names.release);
        let instance = format!("app.kubernetes.io/instance={release}");
        let made = format!("{instance},{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let mut kept = Vec::new();
        for (plural, kind, selector) in [
            ("secrets", "Secret", made),
            ("persistentvolumeclaims", "PersistentVolumeClaim", instance),
        ] {
            let place = Place::list("/api/v1", Some(space), plural);
            let found = self.cluster.list_metadata("look for leftovers", &place, &selector).await;
            let names = found.unwrap_or_default();
            let names = names.iter().filter_map(|one| one.pointer("/metadata/name")?.as_str());
            kept.extend(names.map(|name| format!("{kind} {name}")));
        }
        kept
    }

    /// All objects at a place, as what they are.
    pub(super) async fn typed<T: DeserializeOwned>(
        &self,
        doing: &str,
        place: &Place,
    ) -> Result<Vec<T>, ClusterError> {
        let found = self.cluster.list(doing, place, ("labelSelector", "")).await?;
        Ok(found.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
    }
}

/// A namespace, as far as it could be looked at.
pub(super) struct Namespace {
    is_there: bool,
    object: Option<Value>,
}

impl Namespace {
    fn of(found: Result<Option<Value>, ClusterError>) -> Self {
        match found {
            Ok(object) => Self { is_there: object.is_some(), object },
            // It may be there for all that is known.
            Err(_) => Self { is_there: true, object: None },
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }
}

/// The Secret behind a volume of that name, of any pod.
fn secret_of(workloads: &[Workload], volume: &str) -> Option<String> {
    let volumes = workloads.iter().flat_map(|one| one.pod.volumes.iter().flatten());
    let mut named = volumes.filter(|one| one.name == volume);
    named.find_map(|one| one.secret.as_ref()?.secret_name.clone())
}

/// What could not be asked for.
pub(super) fn unseen(id: &str, what: &str, error: &ClusterError) -> Check {
    let why = crate::chain(error);
    match error.code() {
        Some(403) => Check::skip(id, what, why).hint("see the checks of rights"),
        _ => Check::fail(id, what, why).hint("mend what Kubernetes says, then run this again"),
    }
}
