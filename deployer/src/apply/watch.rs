//! Waits for workloads by watching them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::error::ApplyError;
use super::phase::{Phase, runs};
use super::progress::{News, Progress};
use super::ready::{self, Readiness};
use super::target::Target;
use super::trouble::{self, PodTrouble, Trouble, TroubleKind};
use crate::cluster::{Cluster, ClusterError, Place};

/// How often it is looked whether a grace is over, and told what is waited for.
const TICK: Duration = Duration::from_secs(1);

/// Pauses between attempts to watch: kube's own grow to half a minute, which is
/// long for somebody who waits for an API server that is back.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LAST_PAUSE: Duration = Duration::from_secs(5);

struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LAST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// A workload that is waited for.
#[derive(Clone, Debug)]
struct Workload {
    kind: String,
    name: String,
    namespace: String,
    phase: Phase,
    state: Readiness,
    /// The revision that a StatefulSet's pods are to have.
    revision: Option<String>,
}

impl Workload {
    fn shown(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    fn is_ready(&self) -> bool {
        self.state == Readiness::Ready
    }

    fn said(&self) -> &str {
        match &self.state {
            Readiness::Ready => "ready",
            Readiness::Waiting(reason) | Readiness::Failed(reason) => reason,
        }
    }
}

/// What a watch saw.
enum Seen {
    Workload {
        kind: &'static str,
        name: String,
        namespace: String,
        state: Readiness,
        revision: Option<String>,
    },
    Gone {
        kind: &'static str,
        name: String,
        namespace: String,
    },
    Pod(Box<Pod>),
    PodGone(String),
    Event(String),
    /// The watch broke; it goes on by itself.
    Broken(watcher::Error),
}

/// A pod's trouble, and since when.
struct Ill {
    trouble: PodTrouble,
    since: Instant,
    pod: Pod,
}

/// Waits for workloads.
pub(crate) struct Watch<'a> {
    cluster: &'a Cluster,
    workloads: Vec<Workload>,
    ill: HashMap<String, Ill>,
    over: BTreeSet<Phase>,
    last_event: Option<String>,
    last_break: Option<ClusterError>,
    progress: &'a dyn Progress,
}

/// Waits until all workloads among `targets` are as they should be.
///
/// # Errors
/// [`ApplyError::Trouble`] at once where one cannot be, and
/// [`ApplyError::Timeout`] at `end`; `limit` is what is told then.
pub(crate) async fn wait_ready(
    cluster: &Cluster,
    targets: &[&Target],
    release: &str,
    end: Instant,
    limit: Duration,
    progress: &dyn Progress,
) -> Result<(), ApplyError> {
    let workloads: Vec<Workload> = targets.iter().filter_map(|target| workload(target)).collect();
    if workloads.is_empty() {
        return Ok(());
    }
    let mut streams = watches(cluster, &workloads, release);
    let mut watch = Watch {
        cluster,
        workloads,
        ill: HashMap::new(),
        over: BTreeSet::new(),
        last_event: None,
        last_break: None,
        progress,
    };
    let mut tick = tokio::time::interval_at(Instant::now() + TICK, TICK);
    loop {
        tokio::select! {
            seen = streams.next() => match seen {
                Some(seen) => watch.note(seen)?,
                None => return Ok(()),
            },
            _ = tick.tick() => watch.tell(),
            () = sleep_until(end) => return Err(watch.timed_out(limit)),
        }
        if watch.workloads.iter().all(Workload::is_ready) {
            watch.tell();
            return Ok(());
        }
        watch.look_for_trouble().await?;
    }
}

fn workload(target: &Target) -> Option<Workload> {
    runs(&target.kind).then(|| Workload {
        kind: target.kind.clone(),
        name: target.name.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        phase: target.phase,
        state: Readiness::Waiting("not seen yet".to_owned()),
        revision: None,
    })
}

type Streams = SelectAll<BoxStream<'static, Seen>>;

fn watches(cluster: &Cluster, workloads: &[Workload], release: &str) -> Streams {
    let mut streams = SelectAll::new();
    let spaces: BTreeSet<&str> = workloads.iter().map(|one| one.namespace.as_str()).collect();
    for space in spaces {
        let kinds: BTreeSet<&str> = workloads
            .iter()
            .filter(|one| one.namespace == space)
            .map(|one| one.kind.as_str())
            .collect();
        for kind in kinds {
            match kind {
                "StatefulSet" => streams.push(sets(cluster, space)),
                "Deployment" => streams.push(watched::<Deployment>(
                    cluster,
                    space,
                    kind_of("Deployment", ready::of_deployment),
                )),
                "DaemonSet" => streams.push(watched::<DaemonSet>(
                    cluster,
                    space,
                    kind_of("DaemonSet", ready::of_daemon_set),
                )),
                _ => streams.push(watched::<Job>(cluster, space, kind_of("Job", ready::of_job))),
            }
        }
        let selector = format!("app.kubernetes.io/instance={release}");
        streams.push(stream_of::<Pod>(
            cluster,
            space,
            watcher::Config::default().labels(&selector),
            pod_seen,
        ));
        let warnings = watcher::Config::default().fields("type=Warning");
        streams.push(stream_of::<KubeEvent>(cluster, space, warnings, event_seen));
    }
    streams
}

fn sets(cluster: &Cluster, space: &str) -> BoxStream<'static, Seen> {
    watched::<StatefulSet>(cluster, space, |event| {
        let revision = |set: &StatefulSet| {
            set.status.as_ref().and_then(|status| status.update_revision.clone())
        };
        seen("StatefulSet", event, ready::of_stateful_set, revision)
    })
}

fn kind_of<K: kube::Resource + 'static>(
    kind: &'static str,
    state: fn(&K) -> Readiness,
) -> impl Fn(Event<K>) -> Option<Seen> + Send + 'static {
    move |event| seen(kind, event, state, |_| None)
}

fn watched<K>(
    cluster: &Cluster,
    space: &str,
    look: impl Fn(Event<K>) -> Option<Seen> + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    stream_of(cluster, space, watcher::Config::default(), look)
}

fn stream_of<K>(
    cluster: &Cluster,
    space: &str,
    config: watcher::Config,
    look: impl Fn(Event<K>) -> Option<Seen> + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(cluster.client(), space);
    watcher(api, config)
        .backoff(Pauses(FIRST_PAUSE))
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(event) => look(event),
                Err(error) => Some(Seen::Broken(error)),
            })
        })
        .boxed()
}

fn seen<K: kube::Resource>(
    kind: &'static str,
    event: Event<K>,
    state: impl Fn(&K) -> Readiness,
    revision: impl Fn(&K) -> Option<String>,
) -> Option<Seen> {
    let named = |object: &K| (object.name_any(), object.namespace().unwrap_or_default());
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let (name, namespace) = named(&object);
            let (state, revision) = (state(&object), revision(&object));
            Some(Seen::Workload { kind, name, namespace, state, revision })
        }
        Event::Delete(object) => {
            let (name, namespace) = named(&object);
            Some(Seen::Gone { kind, name, namespace })
        }
        Event::Init | Event::InitDone => None,
    }
}

fn pod_seen(event: Event<Pod>) -> Option<Seen> {
    match event {
        Event::Apply(pod) | Event::InitApply(pod) => Some(Seen::Pod(Box::new(pod))),
        Event::Delete(pod) => Some(Seen::PodGone(pod.name_any())),
        Event::Init | Event::InitDone => None,
    }
}

/// Only what happens from now on: events of an earlier attempt would mislead.
fn event_seen(event: Event<KubeEvent>) -> Option<Seen> {
    let Event::Apply(event) = event else { return None };
    let about = event.involved_object.name.unwrap_or_default();
    let text = event.message.unwrap_or_default();
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(160).collect();
    Some(Seen::Event(format!("{about}: {}: {line}", event.reason.unwrap_or_default())))
}

impl Watch<'_> {
    fn note(&mut self, seen: Seen) -> Result<(), ApplyError> {
        match seen {
            Seen::Workload { kind, name, namespace, state, revision } => {
                self.last_break = None;
                if let Some(one) = self.find(kind, &name, &namespace) {
                    one.state = state;
                    one.revision = revision;
                }
            }
            Seen::Gone { kind, name, namespace } => {
                if let Some(one) = self.find(kind, &name, &namespace) {
                    one.state = Readiness::Waiting("it is not there".to_owned());
                }
            }
            Seen::Pod(pod) => self.note_pod(*pod),
            Seen::PodGone(name) => drop(self.ill.remove(&name)),
            Seen::Event(text) => {
                // An event of something else in the namespace is none of ours.
                if self.workloads.iter().any(|one| text.starts_with(&one.name)) {
                    self.last_event = Some(text);
                }
            }
            Seen::Broken(error) => return self.note_break(&error),
        }
        Ok(())
    }

    fn find(&mut self, kind: &str, name: &str, namespace: &str) -> Option<&mut Workload> {
        self.workloads
            .iter_mut()
            .find(|one| one.kind == kind && one.name == name && one.namespace == namespace)
    }

    fn note_pod(&mut self, pod: Pod) {
        let name = pod.name_any();
        match trouble::of_pod(&pod) {
            Some(trouble) => {
                let same = |ill: &Ill| ill.trouble.kind == trouble.kind;
                let since = self.ill.get(&name).filter(|ill| same(ill)).map(|ill| ill.since);
                let since = since.unwrap_or_else(Instant::now);
                self.ill.insert(name, Ill { trouble, since, pod });
            }
            None => drop(self.ill.remove(&name)),
        }
    }

    /// A server that is gone comes back, or the time is over; one that refuses does not.
    fn note_break(&mut self, error: &watcher::Error) -> Result<(), ApplyError> {
        let status = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                ClusterError::of_watch(error)
            }
            watcher::Error::WatchError(status) => ClusterError::of_status(status),
            other => ClusterError::of_text(&crate::chain(other)),
        };
        if matches!(status.code(), Some(401 | 403)) {
            return Err(status.into());
        }
        if self.last_break.is_none() {
            self.progress.tell(News::Warning(format!("{}; trying again", crate::chain(&status))));
        }
        self.last_break = Some(status);
        Ok(())
    }

    async fn look_for_trouble(&mut self) -> Result<(), ApplyError> {
        let failed = self.workloads.iter().find(|one| matches!(one.state, Readiness::Failed(_)));
        if let Some(failed) = failed {
            return Err(ApplyError::Trouble(Box::new(self.failed(failed).await)));
        }
        let now = Instant::now();
        let over: Vec<String> = self
            .ill
            .iter()
            .filter(|(_, ill)| now.duration_since(ill.since) >= ill.trouble.grace)
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            let Some(ill) = self.ill.get(&name) else { continue };
            let Some(workload) = self.workload_of(&ill.pod) else { continue };
            if is_old(&ill.pod, workload) {
                // Kubernetes does not replace a pod that never was ready.
                let place = pod_place(&workload.namespace, &name);
                self.cluster.delete(&place).await?;
                self.progress.tell(News::Done(format!(
                    "deleted the pod {name}: it is of an old revision, and cannot start"
                )));
                self.ill.remove(&name);
                continue;
            }
            return Err(ApplyError::Trouble(Box::new(
                self.pod_trouble(&name, ill, workload).await,
            )));
        }
        Ok(())
    }

    fn workload_of(&self, pod: &Pod) -> Option<&Workload> {
        let owner = pod.owner_references().first()?;
        self.workloads.iter().filter(|one| !one.is_ready()).find(|one| match one.kind.as_str() {
            "Deployment" => {
                owner.kind == "ReplicaSet"
                    && owner.name.rsplit_once('-').is_some_and(|(name, _)| name == one.name)
            }
            kind => owner.kind == kind && owner.name == one.name,
        })
    }

    async fn pod_trouble(&self, name: &str, ill: &Ill, workload: &Workload) -> Trouble {
        let trouble = &ill.trouble;
        let container = trouble.container.as_deref();
        let has_run = trouble.kind == TroubleKind::Crashes;
        let of = container.map(|container| format!(", container {container}")).unwrap_or_default();
        let space = &workload.namespace;
        let next = match (has_run, container) {
            (true, Some(container)) => {
                format!("kubectl -n {space} logs {name} -c {container} --previous")
            }
            _ => format!("kubectl -n {space} describe pod {name}"),
        };
        Trouble {
            kind: trouble.kind,
            what: format!("{}, pod {name}{of}", workload.shown()),
            reason: trouble.reason.clone(),
            details: trouble::details(self.cluster, space, name, container, has_run).await,
            next,
            exit_code: None,
        }
    }

    async fn failed(&self, workload: &Workload) -> Trouble {
        if workload.kind == "Job" {
            return job_trouble(self.cluster, &workload.namespace, &workload.name, workload.said())
                .await;
        }
        Trouble {
            kind: TroubleKind::Workload,
            what: workload.shown(),
            reason: workload.said().to_owned(),
            details: Vec::new(),
            next: describe(workload),
            exit_code: None,
        }
    }

    /// Tells phases that are over, and the first that is not.
    fn tell(&mut self) {
        let mut phases: BTreeMap<Phase, Vec<&Workload>> = BTreeMap::new();
        for one in &self.workloads {
            phases.entry(one.phase).or_default().push(one);
        }
        let total = phases.len();
        let mut first = None;
        let mut over = Vec::new();
        for (phase, workloads) in &phases {
            match workloads.iter().find(|one| !one.is_ready()) {
                None => over.push(*phase),
                Some(one) if first.is_none() => first = Some((*phase, (*one).clone())),
                Some(_) => {}
            }
        }
        let count = over.len();
        for phase in over {
            if self.over.insert(phase) {
                self.progress.tell(News::Over(phase));
            }
        }
        if let Some((phase, one)) = first {
            let what = format!("{}: {}", one.shown(), one.said());
            let event = self.last_event.clone();
            self.progress.tell(News::Waiting { phase, over: (count, total), what, event });
        }
    }

    fn timed_out(&self, limit: Duration) -> ApplyError {
        let mut waiting: Vec<&Workload> =
            self.workloads.iter().filter(|one| !one.is_ready()).collect();
        waiting.sort_by_key(|one| one.phase);
        let mut others: Vec<String> =
            waiting.iter().skip(1).map(|one| format!("{}: {}", one.shown(), one.said())).collect();
        others.extend(
            self.ill.iter().map(|(name, ill)| format!("pod {name}: {}", ill.trouble.reason)),
        );
        others.extend(self.last_event.iter().map(|event| format!("last event: {event}")));
        let (what, mut last, next) = match waiting.first() {
            Some(one) => (one.shown(), one.said().to_owned(), describe(one)),
            None => Default::default(),
        };
        if let Some(error) = &self.last_break {
            last = crate::chain(error);
        }
        ApplyError::Timeout { what, waited: limit, last, others, next }
    }
}

fn describe(workload: &Workload) -> String {
    let (space, kind) = (&workload.namespace, workload.kind.to_lowercase());
    format!("kubectl -n {space} describe {kind} {}", workload.name)
}

fn is_old(pod: &Pod, workload: &Workload) -> bool {
    let held = pod.labels().get("controller-revision-hash");
    match (&workload.revision, held) {
        (Some(wanted), Some(held)) => workload.kind == "StatefulSet" && held != wanted,
        _ => false,
    }
}

fn pod_place(namespace: &str, name: &str) -> Place {
    Place::named("/api/v1", Some(namespace), "pods", "Pod", name)
}

/// What is known of a Job that has failed for good: of the last of its pods.
pub(crate) async fn job_trouble(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    reason: &str,
) -> Trouble {
    let place = Place::list("/api/v1", Some(namespace), "pods");
    let selector = format!("batch.kubernetes.io/job-name={name}");
    let doing = format!("list the pods of the Job {name}");
    let found =
        cluster.list(&doing, &place, ("labelSelector", &selector)).await.unwrap_or_default();
    let mut pods: Vec<Pod> =
        found.into_iter().filter_map(|pod| serde_json::from_value(pod).ok()).collect();
    pods.sort_by_key(ResourceExt::creation_timestamp);
    let failed =
        pods.iter().rev().find_map(|pod| Some((pod.name_any(), trouble::failed_container(pod)?)));
    let mut details = Vec::new();
    let mut next = format!("kubectl -n {namespace} describe job {name}");
    let mut exit_code = None;
    if let Some((pod, (container, code))) = failed {
        details = trouble::log(cluster, namespace, &pod, &container, false).await;
        details = details.into_iter().map(|line| format!("log: {line}")).collect();
        details.insert(0, format!("pod {pod}, container {container}, ended with exit code {code}"));
        next = format!("kubectl -n {namespace} logs {pod} -c {container}");
        exit_code = Some(code);
    }
    let what = format!("Job {name}");
    Trouble { kind: TroubleKind::Job, what, reason: reason.to_owned(), details, next, exit_code }
}

/// Waits until an object is gone.
pub(crate) async fn wait_gone(
    cluster: &Cluster,
    place: &Place,
    end: Instant,
) -> Result<(), ApplyError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(100);
    while let Some(object) = cluster.object(place).await? {
        if Instant::now() + pause >= end {
            let finalizers = object.pointer("/metadata/finalizers").map(ToString::to_string);
            let kept = finalizers.map(|list| format!(", kept by its finalizers {list}"));
            return Err(ApplyError::Timeout {
                what: format!("the {} to be gone", place.shown()),
                waited: begun.elapsed(),
                last: format!("it is still there{}", kept.unwrap_or_default()),
                others: Vec::new(),
                next: "kubectl describe it".to_owned(),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    Ok(())
}

/// The Job or the pod of a hook, until it has ended.
pub(crate) async fn wait_ended(
    cluster: &Cluster,
    target: &Target,
    end: Instant,
    limit: Duration,
) -> Result<(), ApplyError> {
    let mut watch = Ended { cluster, target, end, limit, since: None };
    match target.kind.as_str() {
        "Job" => watch.job().await,
        "Pod" => watch.pod().await,
        _ => Ok(()),
    }
}

struct Ended<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    end: Instant,
    limit: Duration,
    since: Option<Instant>,
}

impl Ended<'_> {
    async fn job(&mut self) -> Result<(), ApplyError> {
        let space = self.target.namespace.clone().unwrap_or_default();
        let name = self.target.name.clone();
        let fields = format!("metadata.name={name}");
        let labels = format!("batch.kubernetes.io/job-name={name}");
        let mut streams = SelectAll::new();
        let config = watcher::Config::default().fields(&fields);
        streams.push(stream_of::<Job>(self.cluster, &space, config, kind_of("Job", ready::of_job)));
        let config = watcher::Config::default().labels(&labels);
        streams.push(stream_of::<Pod>(self.cluster, &space, config, pod_seen));
        let mut last = "not seen yet".to_owned();
        loop {
            let end = self.end;
            tokio::select! {
                seen = streams.next() => match seen {
                    Some(Seen::Workload { state: Readiness::Ready, .. }) | None => return Ok(()),
                    Some(Seen::Workload { state: Readiness::Failed(reason), .. }) => {
                        let trouble = job_trouble(self.cluster, &space, &name, &reason).await;
                        return Err(ApplyError::Trouble(Box::new(trouble)));
                    }
                    Some(Seen::Workload { state: Readiness::Waiting(reason), .. }) => last = reason,
                    Some(Seen::Pod(pod)) => self.judge(&pod, &space).await?,
                    Some(Seen::Broken(error)) => last = crate::chain(&error),
                    Some(_) => {}
                },
                () = sleep_until(end) => return Err(self.over(last)),
            }
        }
    }

    async fn pod(&mut self) -> Result<(), ApplyError> {
        loop {
            let found = self.cluster.object(&self.target.place).await?;
            let pod: Option<Pod> = found.and_then(|pod| serde_json::from_value(pod).ok());
            let phase = pod.as_ref().and_then(|pod| pod.status.as_ref()?.phase.clone());
            let space = self.target.namespace.clone().unwrap_or_default();
            match phase.as_deref() {
                Some("Succeeded") => return Ok(()),
                Some("Failed") => {
                    let failed = pod.as_ref().and_then(trouble::failed_container);
                    return Err(ApplyError::Trouble(Box::new(Trouble {
                        kind: TroubleKind::Workload,
                        what: format!("pod {}", self.target.name),
                        reason: "it failed".to_owned(),
                        details: Vec::new(),
                        next: format!("kubectl -n {space} logs {}", self.target.name),
                        exit_code: failed.map(|(_, code)| code),
                    })));
                }
                _ => {}
            }
            if let Some(pod) = &pod {
                self.judge(pod, &space).await?;
            }
            if Instant::now() + TICK >= self.end {
                return Err(self.over(phase.unwrap_or_else(|| "no pod".to_owned())));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn judge(&mut self, pod: &Pod, space: &str) -> Result<(), ApplyError> {
        let Some(trouble) = trouble::of_pod(pod) else {
            self.since = None;
            return Ok(());
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < trouble.grace {
            return Ok(());
        }
        let name = pod.name_any();
        let container = trouble.container.as_deref();
        let has_run = trouble.kind == TroubleKind::Crashes;
        Err(ApplyError::Trouble(Box::new(Trouble {
            kind: trouble.kind,
            what: format!("{} {}, pod {name}", self.target.kind, self.target.name),
            reason: trouble.reason.clone(),
            details: trouble::details(self.cluster, space, &name, container, has_run).await,
            next: format!("kubectl -n {space} describe pod {name}"),
            exit_code: None,
        })))
    }

    fn over(&self, last: String) -> ApplyError {
        let space = self.target.namespace.as_deref().unwrap_or_default();
        let kind = self.target.kind.to_lowercase();
        ApplyError::Timeout {
            what: format!("the hook {} {}", self.target.kind, self.target.name),
            waited: self.limit,
            last,
            others: Vec::new(),
            next: format!("kubectl -n {space} describe {kind} {}", self.target.name),
        }
    }
}
