//! Waits for workloads by watching them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher;
use tokio::time::{Instant, sleep_until};

use super::ended::job_trouble;
use super::error::ApplyError;
use super::late;
use super::phase::Phase;
use super::progress::{News, Progress};
use super::ready::Readiness;
use super::streams::{self, Seen, Streams};
use super::target::Target;
use super::tries::{Tries, cause};
use super::trouble::{self, PodTrouble, Trouble, TroubleKind};
use super::waited::{NOT_THERE, Since, Workload, before, describe, first_failed, is_old, workload};
use crate::cluster::{Cluster, ClusterError, Place};

/// How often it is looked whether a grace is over, and told what is waited for.
const TICK: Duration = Duration::from_secs(1);

/// A Job waits for those of earlier phases, and fails where one of them does. That they fail
/// together is waited for so long, to tell the cause.
const TOGETHER: Duration = Duration::from_secs(15);

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
    /// Those of the release, also where this run stops before the last.
    phases: BTreeSet<Phase>,
    /// Of these, those that were told to be over.
    over: BTreeSet<Phase>,
    since: Since,
    tries: Tries,
    /// Since when a workload has failed.
    failed_since: Option<Instant>,
    last_event: Option<String>,
    last_break: Option<ClusterError>,
    progress: &'a dyn Progress,
}

/// Waits until all workloads among `targets` are as they should be.
///
/// # Errors
/// [`ApplyError::Trouble`] at once where one cannot be, and
/// [`ApplyError::Timeout`] at `end`; `limit` is what is told then. `phases` are the release's.
pub(crate) async fn wait_ready(
    cluster: &Cluster,
    targets: &[&Target],
    phases: BTreeSet<Phase>,
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
        phases,
        // Told where it is applied.
        over: BTreeSet::from([Phase::Configuration]),
        since: Since::default(),
        tries: Tries::default(),
        failed_since: None,
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
            _ = tick.tick() => {
                watch.tell();
                watch.tell_tries().await;
            }
            () = sleep_until(end) => return Err(watch.timed_out(limit, release).await),
        }
        if watch.workloads.iter().all(Workload::is_ready) {
            watch.tell();
            return Ok(());
        }
        watch.look_for_trouble().await?;
    }
}

fn watches(cluster: &Cluster, workloads: &[Workload], release: &str) -> Streams {
    let mut streams = Streams::new();
    let spaces: BTreeSet<&str> = workloads.iter().map(|one| one.namespace.as_str()).collect();
    for space in spaces {
        let here = workloads.iter().filter(|one| one.namespace == space);
        let kinds: BTreeSet<&str> = here.map(|one| one.kind.as_str()).collect();
        for kind in kinds {
            streams.push(streams::of_kind(cluster, space, kind));
        }
        let labels = format!("app.kubernetes.io/instance={release}");
        streams.push(streams::of_pods(cluster, space, &labels));
        streams.push(streams::of_warnings(cluster, space));
    }
    streams
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
                    one.state = Readiness::Waiting(NOT_THERE.to_owned());
                }
            }
            Seen::Pod(pod) => self.note_pod(*pod),
            Seen::PodGone(name) => drop(self.ill.remove(&name)),
            Seen::Listed { kind, namespace, names } => self.note_list(kind, &namespace, &names),
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

    /// What is no longer there went while nobody watched.
    fn note_list(&mut self, kind: &str, namespace: &str, names: &BTreeSet<String>) {
        if kind == streams::POD {
            let is_there = |name: &String, ill: &mut Ill| {
                names.contains(name) || ill.pod.namespace().as_deref() != Some(namespace)
            };
            self.ill.retain(is_there);
        }
        for one in &mut self.workloads {
            let is_here = one.kind == kind && one.namespace == namespace;
            if is_here && !names.contains(&one.name) {
                one.state = Readiness::Waiting(NOT_THERE.to_owned());
            }
        }
    }

    fn find(&mut self, kind: &str, name: &str, namespace: &str) -> Option<&mut Workload> {
        self.workloads
            .iter_mut()
            .find(|one| one.kind == kind && one.name == name && one.namespace == namespace)
    }

    fn note_pod(&mut self, pod: Pod) {
        let name = pod.name_any();
        if self.workload_of(&pod).is_some_and(|one| one.kind == "Job") {
            self.tries.note(&pod);
        }
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
        let status = streams::why(error);
        if matches!(status.code(), Some(401 | 403)) {
            return Err(status.into());
        }
        // What it last saw is forgotten by the server: it looks at everything anew.
        if status.code() == Some(410) {
            return Ok(());
        }
        if self.last_break.is_none() {
            self.progress.tell(News::Warning(format!("{}; trying again", crate::chain(&status))));
        }
        self.last_break = Some(status);
        Ok(())
    }

    async fn look_for_trouble(&mut self) -> Result<(), ApplyError> {
        let now = Instant::now();
        let Some(failed) = first_failed(&self.workloads) else {
            self.failed_since = None;
            return self.look_at_pods(now).await;
        };
        let since = *self.failed_since.get_or_insert(now);
        if before(&self.workloads, failed.phase).next().is_none()
            || now.duration_since(since) >= TOGETHER
        {
            return Err(ApplyError::Trouble(Box::new(self.failed(failed).await)));
        }
        self.look_at_pods(now).await
    }

    async fn look_at_pods(&mut self, now: Instant) -> Result<(), ApplyError> {
        let over: Vec<String> = self
            .ill
            .iter()
            .filter(|(_, ill)| now.duration_since(ill.since) >= ill.trouble.grace)
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            let Some(ill) = self.ill.get(&name) else { continue };
            let Some(workload) = self.workload_of(&ill.pod) else { continue };
            // Until its controller has seen the change, a pod may be of either revision.
            if workload.kind == "StatefulSet" && workload.revision.is_none() {
                continue;
            }
            if is_old(&ill.pod, workload) {
                // Kubernetes does not replace a pod that never was ready.
                let place = pod_place(&workload.namespace, &name)?;
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
        let mut waited_for = self.workloads.iter().filter(|one| !one.is_ready());
        waited_for.find(|one| late::is_pod_of(pod, &one.kind, &one.name))
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
            let (space, name) = (&workload.namespace, &workload.name);
            let mut trouble = job_trouble(self.cluster, space, name, workload.said()).await;
            let before = before(&self.workloads, workload.phase);
            trouble
                .details
                .extend(before.map(|one| format!("before it, {}: {}", one.shown(), one.said())));
            return trouble;
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
        let mut first: Option<Workload> = None;
        let mut count = 0;
        for phase in self.phases.clone() {
            let mut of_it = self.workloads.iter().filter(|one| one.phase == phase).peekable();
            // What does not run is there before anything is waited for; what else is not
            // waited for is left to a later run.
            let is_begun = phase == Phase::Configuration || of_it.peek().is_some();
            match of_it.find(|one| !one.is_ready()) {
                Some(one) => first = first.or_else(|| Some(one.clone())),
                None if is_begun => {
                    count += 1;
                    if self.over.insert(phase) {
                        self.progress.tell(News::Over(phase));
                    }
                }
                None => {}
            }
        }
        let Some(one) = first else { return };
        let what = format!("{}: {}", one.shown(), one.said());
        // What was said of others is not why this one is not ready.
        let event = self.last_event.clone().filter(|event| event.starts_with(&one.name));
        let (over, waited) = ((count, self.phases.len()), self.since.waited(&one));
        self.progress.tell(News::Waiting { phase: one.phase, over, what, waited, event });
    }

    /// Tells why tries of Jobs failed that are made again.
    async fn tell_tries(&mut self) {
        for pod in self.tries.take() {
            let Some(job) = self.workload_of(&pod).filter(|job| job.kind == "Job") else {
                continue;
            };
            let Some((container, code)) = trouble::failed_container(&pod) else { continue };
            // Of one that will not be made again, the run's own error tells.
            if matches!(job.state, Readiness::Failed(_)) {
                continue;
            }
            let (space, what) = (job.namespace.clone(), job.shown());
            let log = trouble::log(self.cluster, &space, &pod.name_any(), &container, false).await;
            let why = cause(&log).unwrap_or_else(|| format!("it ended with exit code {code}"));
            self.progress
                .tell(News::Warning(format!("a try of {what}, container {container}: {why}")));
        }
    }

    /// All that is known of what is not ready: of the first, its pod's events and log.
    async fn timed_out(&self, limit: Duration, release: &str) -> ApplyError {
        let mut waiting: Vec<&Workload> =
            self.workloads.iter().filter(|one| !one.is_ready()).collect();
        waiting.sort_by_key(|one| one.phase);
        let mut others = Vec::new();
        let (mut what, mut last, mut next) = Default::default();
        if let Some(one) = waiting.first() {
            (what, last, next) = (one.shown(), one.said().to_owned(), describe(one));
            let named = (one.kind.as_str(), one.name.as_str());
            let known = late::of_workload(self.cluster, &one.namespace, named, release).await;
            if let Some(known) = known {
                (others, next) = (known.details, known.next);
            }
        }
        others.extend(waiting.iter().skip(1).map(|one| format!("{}: {}", one.shown(), one.said())));
        others.extend(
            self.ill.iter().map(|(name, ill)| format!("pod {name}: {}", ill.trouble.reason)),
        );
        let is_of = |event: &&String| waiting.iter().any(|one| event.starts_with(&one.name));
        let event = self.last_event.iter().filter(is_of);
        others.extend(event.map(|event| format!("last event: {event}")));
        if let Some(error) = &self.last_break {
            last = crate::chain(error);
        }
        let phase = waiting.first().map(|one| one.phase);
        ApplyError::Timeout { what, phase, waited: limit, last, others, next }
    }
}

fn pod_place(namespace: &str, name: &str) -> Result<Place, ClusterError> {
    Place::named("/api/v1", Some(namespace), "pods", "Pod", name)
}
