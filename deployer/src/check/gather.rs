//! What is asked before an installation or upgrade.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::inside::secret_of;
use super::known::Known;
use super::leftovers::Past;
use super::report::{Check, Group, Report};
use super::rights::Need;
use super::workloads::{Workload, workloads};
use super::{Checking, PRE, leftovers, objects, rights, secrets, server};
use crate::apply::{ApplyError, News, Progress, Trial, documents, try_each};
use crate::cluster::{ClusterError, Collection, MANAGED_BY, Place};
use crate::manifest::Document;
use crate::release::{Candidate, Stored};

/// How many questions are asked at once.
pub(super) const AT_ONCE: usize = 8;

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
        let trials = self.trials(&subject, &known, namespace.is_there()).await;
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
        let found = match Place::named("/api/v1", None, "namespaces", "Namespace", name) {
            Ok(place) => self.cluster.object(&place).await,
            Err(error) => Err(error),
        };
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

    async fn trials(&self, subject: &Subject<'_>, known: &Known, is_there: bool) -> Vec<Trial> {
        let held = subject.last.map(|last| documents(&last.release.manifest));
        let held = held.and_then(Result::ok).unwrap_or_default();
        let (release, space) = (&self.names.release, &self.names.namespace);
        if is_there {
            return try_each(self.cluster, release, space, &subject.documents, &held).await;
        }
        let unknown = subject.documents.iter().filter(|one| known.kind(one).is_none());
        let trial = |document: &Document| Trial {
            what: format!("{} {}", document.kind(), document.name()),
            source: document.source.clone(),
            outcome: Err(ApplyError::UnknownKind {
                kind: document.kind().to_owned(),
                api_version: document.api_version().to_owned(),
                name: document.name().to_owned(),
            }),
            beside: Vec::new(),
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
        let mut checks = vec![objects::values(&chart)];
        if !is_there {
            checks.extend(objects::untried(self.names, trials));
            return checks;
        }
        checks.extend(objects::judge(self.names, trials));
        let made = secrets::made(&subject.documents, &subject.workloads);
        let mut wanted = secrets::wanted(&subject.workloads, &subject.documents);
        // Of the logins of the database, the check of the database says more.
        let logins = ["db-admin", "db-user"].map(|volume| secret_of(&subject.workloads, volume));
        wanted.retain(|name, _| !made.contains(name) && !logins.contains(&Some(name.clone())));
        let found = self.secrets(&wanted).await;
        checks.extend(secrets::judge("objects.secrets", self.names, &wanted, &found));
        checks
    }

    /// The keys of Secrets. What this account may not read is left out.
    pub(super) async fn secrets(&self, wanted: &secrets::Wanted) -> secrets::Found {
        let mut found = secrets::Found::new();
        for name in wanted.keys() {
            let space = Some(self.names.namespace.as_str());
            let Ok(place) = Place::named("/api/v1", space, "secrets", "Secret", name) else {
                continue;
            };
            let keys = |secret: Value| {
                let data = secret.get("data").and_then(Value::as_object);
                data.into_iter().flatten().map(|(key, _)| key.clone()).collect()
            };
            if let Ok(secret) = self.cluster.object(&place).await {
                found.insert(name.clone(), secret.map(keys));
            }
        }
        found
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
        let (kept, is_seen) = self.kept().await;
        leftovers::judge(
            self.names,
            trials,
            &foreign,
            &Past { last: subject.last, is_seen, kept: &kept },
        )
    }

    /// Secrets and volumes that an uninstall kept, and whether Secrets can be looked at.
    async fn kept(&self) -> (Vec<String>, bool) {
        let (space, release) = (&self.names.namespace, &self.names.release);
        let instance = format!("app.kubernetes.io/instance={release}");
        let made = format!("{instance},{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let (mut kept, mut is_seen) = (Vec::new(), true);
        for (plural, kind, selector) in [
            ("secrets", "Secret", made),
            ("persistentvolumeclaims", "PersistentVolumeClaim", instance),
        ] {
            let place = Place::list("/api/v1", Some(space), plural);
            let found = self.cluster.list_metadata("look for leftovers", &place, &selector).await;
            is_seen &= kind != "Secret" || found.is_ok();
            let names = found.unwrap_or_default();
            let names = names.iter().filter_map(|one| one.pointer("/metadata/name")?.as_str());
            kept.extend(names.map(|name| format!("{kind} {name}")));
        }
        (kept, is_seen)
    }

    /// All objects at a place, as what they are.
    pub(super) async fn typed<T: DeserializeOwned>(
        &self,
        doing: &str,
        place: &Collection,
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

    pub(super) fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }
}

/// What could not be asked for.
pub(super) fn unseen(id: &str, what: &str, error: &ClusterError) -> Check {
    let why = crate::chain(error);
    match error.code() {
        Some(403) => Check::skip(id, what, why).hint("see the checks of rights"),
        _ => Check::fail(id, what, why).hint("mend what Kubernetes says, then run this again"),
    }
}
