//! Waits for one object: until it is gone, or until a hook has ended.

use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher;
use tokio::time::{Instant, sleep_until};

use super::error::ApplyError;
use super::late;
use super::ready::Readiness;
use super::streams::{self, Seen};
use super::target::Target;
use super::trouble::{self, Trouble, TroubleKind};
use crate::cluster::{Cluster, Place};

/// How often a pod is looked at.
const PAUSE: Duration = Duration::from_secs(1);

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
                phase: None,
                waited: begun.elapsed(),
                last: format!("it is still there{}", kept.unwrap_or_default()),
                others: Vec::new(),
                next: place.describe(),
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
    let mut watch = Ended { cluster, target, end, limit, ill: None, pod: None };
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
    /// Which pod is in which trouble, and since when.
    ill: Option<(String, TroubleKind, Instant)>,
    /// The pod that was seen last.
    pod: Option<Pod>,
}

impl Ended<'_> {
    async fn job(&mut self) -> Result<(), ApplyError> {
        let space = self.target.namespace.clone().unwrap_or_default();
        let name = self.target.name.clone();
        let mut streams = streams::of_job(self.cluster, &space, &name);
        let mut last = "not seen yet".to_owned();
        // A pod that nobody takes says so once: that its grace is over, no event tells.
        let mut tick = tokio::time::interval(PAUSE);
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
                    Some(Seen::Gone { .. }) => return Err(self.deleted(&space)),
                    Some(Seen::Pod(pod)) => self.pod = Some(*pod),
                    Some(Seen::PodGone(gone)) => {
                        self.pod = self.pod.take().filter(|pod| pod.name_any() != gone);
                    }
                    Some(Seen::Listed { kind: streams::POD, names, .. }) => {
                        self.pod = self.pod.take().filter(|pod| names.contains(&pod.name_any()));
                    }
                    Some(Seen::Listed { names, .. }) if !names.contains(&name) => {
                        return Err(self.deleted(&space));
                    }
                    Some(Seen::Broken(error)) => last = still_allowed(&error)?,
                    Some(Seen::Event(_) | Seen::Listed { .. }) => {}
                },
                _ = tick.tick() => {}
                () = sleep_until(end) => return Err(self.over(last, &space).await),
            }
            if let Some(pod) = self.pod.take() {
                self.judge(&pod, &space).await?;
                self.pod = Some(pod);
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
            let Some(pod) = pod else { return Err(self.deleted(&space)) };
            self.judge(&pod, &space).await?;
            self.pod = Some(pod);
            if Instant::now() + PAUSE >= self.end {
                return Err(self.over(phase.unwrap_or_default(), &space).await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn judge(&mut self, pod: &Pod, space: &str) -> Result<(), ApplyError> {
        let Some(trouble) = trouble::of_pod(pod) else {
            self.ill = None;
            return Ok(());
        };
        let name = pod.name_any();
        let same =
            |(of, kind, _): &&(String, TroubleKind, Instant)| *of == name && *kind == trouble.kind;
        let since = self.ill.as_ref().filter(same).map_or_else(Instant::now, |ill| ill.2);
        self.ill = Some((name.clone(), trouble.kind, since));
        if since.elapsed() < trouble.grace {
            return Ok(());
        }
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

    /// Somebody removed it: it will not end.
    fn deleted(&self, space: &str) -> ApplyError {
        let Target { kind, name, .. } = self.target;
        ApplyError::Trouble(Box::new(Trouble {
            kind: TroubleKind::Workload,
            what: format!("the hook {kind} {name}"),
            reason: "it was deleted before it ended".to_owned(),
            details: Vec::new(),
            next: format!("kubectl -n {space} get events"),
            exit_code: None,
        }))
    }

    async fn over(&self, last: String, space: &str) -> ApplyError {
        let Target { kind, name, place, .. } = self.target;
        let (mut others, mut next) = (Vec::new(), place.describe());
        if let Some(pod) = &self.pod {
            let known = late::of_pod(self.cluster, space, pod).await;
            (others, next) = (known.details, known.next);
        }
        let what = format!("the hook {kind} {name}");
        ApplyError::Timeout { what, phase: None, waited: self.limit, last, others, next }
    }
}

/// What a watch broke with; an error where it will never be let in.
fn still_allowed(error: &watcher::Error) -> Result<String, ApplyError> {
    let error = streams::why(error);
    match error.code() {
        Some(401 | 403) => Err(error.into()),
        _ => Ok(crate::chain(&error)),
    }
}
