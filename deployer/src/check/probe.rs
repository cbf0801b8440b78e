//! Pods that look at something from inside the cluster, and go.
//!
//! Each is a Job's, with a deadline and a time after which the cluster removes it with all that
//! it owns: also where this program is killed. What was made is removed as soon as it was read,
//! and by [`Probes::clean`] whatever ended the run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Names;
use crate::apply::{TroubleKind, trouble_of_pod};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Place};

/// How often a probe is looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// After how many seconds the cluster itself removes a probe that has ended.
const AFTER_S: u32 = 120;
/// How long no node may take a probe.
const NO_NODE: Duration = Duration::from_secs(20);
/// How much of a probe's log is read, in lines.
const LINES: u32 = 200;

/// Keys of a Secret, with their values in base64.
pub(super) type Data = BTreeMap<String, String>;

/// A probe that is to run.
pub(super) struct Probe {
    /// What its name says that it looks at.
    pub(super) about: String,
    pub(super) spec: Value,
    /// A Secret for it alone; `spec` names it as [`Probes::secret_name`] says.
    pub(super) secret: Data,
    /// Whether it is about images: that one cannot be had is then no trouble of the probe.
    pub(super) is_about_images: bool,
}

/// How a probe ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// What was waited for was seen.
    Seen(Box<Pod>),
    /// It cannot run, and why.
    Stuck(String),
    /// The time was over; the last that was seen.
    Late(String),
}

/// Makes probes, and removes them.
pub(super) struct Probes<'a> {
    cluster: &'a Cluster,
    names: &'a Names,
    limit: Duration,
    /// Tells the probes of this run from those of others.
    run: String,
    made: Mutex<Vec<Place>>,
}

impl<'a> Probes<'a> {
    /// Probes in the release's namespace, each of which may take `limit`.
    pub(super) fn new(cluster: &'a Cluster, names: &'a Names, limit: Duration) -> Self {
        use rand::RngExt as _;
        let run = format!("{:06x}", rand::rng().random::<u32>() & 0x00ff_ffff);
        Self { cluster, names, limit, run, made: Mutex::default() }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The name of a probe's own Secret.
    pub(super) fn secret_name(&self, about: &str) -> String {
        format!("maas-check-{about}-{}", self.run)
    }

    /// Runs a probe until `look` is content with its pod, and then `read`s it; it is gone then.
    pub(super) async fn run<T>(
        &self,
        probe: &Probe,
        look: impl Fn(&Pod) -> bool,
        read: impl AsyncFnOnce(Ended) -> T,
    ) -> Result<T, ClusterError> {
        let name = self.secret_name(&probe.about);
        let ended = match self.make(&name, probe).await {
            Ok(()) => self.watch(&name, probe, look).await,
            Err(error) => Err(error),
        };
        let read = match ended {
            Ok(ended) => Ok(read(ended).await),
            Err(error) => Err(error),
        };
        self.remove(&name).await;
        read
    }

    /// The log of a probe's only container.
    pub(super) async fn log(&self, pod: &Pod) -> Result<Vec<String>, ClusterError> {
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
        let container = containers.and_then(|all| all.first()).map_or("", |one| one.name.as_str());
        self.cluster.log(&self.names.namespace, &pod.name_any(), container, false, LINES).await
    }

    async fn make(&self, name: &str, probe: &Probe) -> Result<(), ClusterError> {
        let job = self.place("/apis/batch/v1", "jobs", "Job", name)?;
        // Before it is there: the answer may be lost.
        self.note(job.clone());
        let made = self.cluster.create(&job, &self.job(name, probe)).await?;
        if probe.secret.is_empty() {
            return Ok(());
        }
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name,
            "uid": made.pointer("/metadata/uid")}]);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": self.names.namespace,
                "labels": self.labels(), "ownerReferences": owner},
            "data": probe.secret});
        let place = self.place("/api/v1", "secrets", "Secret", name)?;
        self.note(place.clone());
        self.cluster.create(&place, &secret).await.map(drop)
    }

    fn labels(&self) -> Value {
        // No `instance`: it is nothing of the release.
        json!({"app.kubernetes.io/name": "maas", "app.kubernetes.io/component": "check",
            MANAGED_BY.0: MANAGED_BY.1})
    }

    fn job(&self, name: &str, probe: &Probe) -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": self.names.namespace, "labels": self.labels()},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": self.limit.as_secs().max(1) + 10,
                "ttlSecondsAfterFinished": AFTER_S,
                "template": {"metadata": {"labels": self.labels()}, "spec": probe.spec}}})
    }

    fn place(
        &self,
        prefix: &str,
        plural: &str,
        kind: &str,
        name: &str,
    ) -> Result<Place, ClusterError> {
        Place::named(prefix, Some(&self.names.namespace), plural, kind, name)
    }

    fn note(&self, place: Place) {
        if let Ok(mut made) = self.made.lock() {
            made.push(place);
        }
    }

    async fn watch(
        &self,
        name: &str,
        probe: &Probe,
        look: impl Fn(&Pod) -> bool,
    ) -> Result<Ended, ClusterError> {
        let begun = Instant::now();
        let pods = Place::list("/api/v1", Some(&self.names.namespace), "pods");
        let selector = format!("batch.kubernetes.io/job-name={name}");
        loop {
            let found =
                self.cluster.list("look at the probe", &pods, ("labelSelector", &selector)).await?;
            let pod: Option<Pod> =
                found.into_iter().find_map(|pod| serde_json::from_value(pod).ok());
            let last = match &pod {
                Some(pod) if look(pod) => return Ok(Ended::Seen(Box::new(pod.clone()))),
                Some(pod) => match trouble_of_pod(pod) {
                    // Where images are what it is about, its containers say more.
                    Some(one) if one.kind == TroubleKind::NoNode || !probe.is_about_images => {
                        if begun.elapsed() >= one.grace.min(NO_NODE) {
                            return Ok(Ended::Stuck(one.reason));
                        }
                        one.reason
                    }
                    _ => phase(pod),
                },
                None => match self.refusal(name).await {
                    Some(reason) => return Ok(Ended::Stuck(reason)),
                    None => "no pod was made yet".to_owned(),
                },
            };
            if begun.elapsed() >= self.limit {
                return Ok(Ended::Late(last));
            }
            sleep(PAUSE).await;
        }
    }

    /// Why the Job's controller makes no pod.
    async fn refusal(&self, job: &str) -> Option<String> {
        let place = Place::list("/api/v1", Some(&self.names.namespace), "events");
        let select = format!("involvedObject.name={job},reason=FailedCreate");
        let found = self.cluster.list("look at events", &place, ("fieldSelector", &select)).await;
        let message = found.ok()?.first()?.get("message")?.as_str()?.to_owned();
        Some(message)
    }

    async fn remove(&self, name: &str) {
        let is_it = |place: &Place| place.shown().ends_with(&format!("/{name}"));
        let places: Vec<Place> = match self.made.lock() {
            Ok(made) => made.iter().filter(|place| is_it(place)).cloned().collect(),
            Err(_) => Vec::new(),
        };
        for place in places {
            // What cannot be removed now is tried again at the end.
            if self.cluster.delete(&place).await.is_ok()
                && let Ok(mut made) = self.made.lock()
            {
                made.retain(|one| *one != place);
            }
        }
    }

    /// Removes what is left of all probes; says what could not be removed.
    pub(super) async fn clean(&self) -> Vec<String> {
        let left = match self.made.lock() {
            Ok(mut made) => std::mem::take(&mut *made),
            Err(_) => Vec::new(),
        };
        let mut stuck = Vec::new();
        for place in left {
            if self.cluster.delete(&place).await.is_err() {
                stuck.push(place.shown().to_owned());
            }
        }
        stuck
    }
}

/// Whether a pod has ended.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn phase(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let waiting = containers
        .unwrap_or_default()
        .iter()
        .find_map(|one| one.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let phase = status.and_then(|status| status.phase.clone());
    waiting.or(phase).unwrap_or_else(|| "not started yet".to_owned())
}

/// The last JSON object with a schema in a log.
pub(super) fn answer(log: &[String]) -> Option<Value> {
    let mut objects = log.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.find(|object| object.get("schema").is_some())
}

/// The schema of what a job said.
pub(super) fn schema(said: &Value) -> &str {
    said.get("schema").and_then(Value::as_str).unwrap_or_default()
}

/// Sets a key of an object.
pub(super) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// What no pod of a probe needs, and all that the strictest of namespaces asks for.
pub(super) fn unprivileged() -> (Value, Value) {
    let pod = json!({"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}});
    (pod, container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_last_object_with_a_schema() {
        let log = ["warning: x", "{\"schema\":\"a/1\"}", "{\"other\":1}", "trailer"];
        let log: Vec<String> = log.map(str::to_owned).to_vec();
        assert_eq!(answer(&log).unwrap()["schema"], "a/1");
        assert!(answer(&["no".to_owned()]).is_none());
    }
}
