//! Watches, as one stream of what they see.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::ready::{self, Readiness};
use crate::cluster::{Cluster, ClusterError};

/// Pauses between attempts to watch: kube's own grow to half a minute, which is
/// long for somebody who waits for an API server that is back.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How long one watch lasts, in seconds. A server that lost its power closes no
/// connection: that it is gone is noticed when a watch does not end by itself.
const WATCH_S: u32 = 20;

/// The kind of pods, in [`Seen::Listed`].
pub(crate) const POD: &str = "Pod";

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

/// What a watch saw.
pub(crate) enum Seen {
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
    /// All that is there of a kind: what else was seen of it went while nobody watched.
    Listed {
        kind: &'static str,
        namespace: String,
        names: BTreeSet<String>,
    },
    Event(String),
    /// The watch broke; it goes on by itself.
    Broken(watcher::Error),
}

/// Why a watch broke.
pub(crate) fn why(error: &watcher::Error) -> ClusterError {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            ClusterError::of_watch(error)
        }
        watcher::Error::WatchError(status) => ClusterError::of_status(status),
        other => ClusterError::of_text(&crate::chain(other)),
    }
}

/// What is seen of many things.
pub(crate) type Streams = SelectAll<BoxStream<'static, Seen>>;

/// What is seen of workloads of one kind in a namespace.
pub(crate) fn of_kind(cluster: &Cluster, space: &str, kind: &str) -> BoxStream<'static, Seen> {
    let all = watcher::Config::default;
    match kind {
        "StatefulSet" => sets(cluster, space),
        "Deployment" => {
            let look = kind_of("Deployment", ready::of_deployment);
            stream_of::<Deployment>(cluster, space, all(), "Deployment", look)
        }
        "DaemonSet" => {
            let look = kind_of("DaemonSet", ready::of_daemon_set);
            stream_of::<DaemonSet>(cluster, space, all(), "DaemonSet", look)
        }
        _ => stream_of::<Job>(cluster, space, all(), "Job", kind_of("Job", ready::of_job)),
    }
}

/// What is seen of one Job and of its pods.
pub(crate) fn of_job(cluster: &Cluster, space: &str, name: &str) -> Streams {
    let mut streams = SelectAll::new();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let look = kind_of("Job", ready::of_job);
    streams.push(stream_of::<Job>(cluster, space, config, "Job", look));
    streams.push(of_pods(cluster, space, &format!("batch.kubernetes.io/job-name={name}")));
    streams
}

/// What is seen of pods with these labels.
pub(crate) fn of_pods(cluster: &Cluster, space: &str, labels: &str) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default().labels(labels);
    stream_of::<Pod>(cluster, space, config, POD, pod_seen)
}

/// The warnings of a namespace, from now on.
pub(crate) fn of_warnings(cluster: &Cluster, space: &str) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default().fields("type=Warning");
    stream_of::<KubeEvent>(cluster, space, config, "Event", event_seen)
}

fn sets(cluster: &Cluster, space: &str) -> BoxStream<'static, Seen> {
    let look = |event| seen("StatefulSet", event, ready::of_stateful_set, ready::revision_of);
    stream_of::<StatefulSet>(cluster, space, watcher::Config::default(), "StatefulSet", look)
}

fn kind_of<K: kube::Resource + 'static>(
    kind: &'static str,
    state: fn(&K) -> Readiness,
) -> impl Fn(Event<K>) -> Option<Seen> + Send + 'static {
    move |event| seen(kind, event, state, |_| None)
}

fn stream_of<K>(
    cluster: &Cluster,
    space: &str,
    config: watcher::Config,
    kind: &'static str,
    look: impl Fn(Event<K>) -> Option<Seen> + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(cluster.client(), space);
    let config = config.timeout(WATCH_S);
    let mut listed = Listed { kind, namespace: space.to_owned(), names: BTreeSet::new() };
    watcher(api, config)
        .backoff(Pauses(FIRST_PAUSE))
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(event) => match listed.note(&event) {
                    Some(all) => Some(all),
                    None => look(event),
                },
                Err(error) => Some(Seen::Broken(error)),
            })
        })
        .boxed()
}

/// What a list has so far.
struct Listed {
    kind: &'static str,
    namespace: String,
    names: BTreeSet<String>,
}

impl Listed {
    /// All of it, where this is the list's end.
    fn note<K: kube::Resource>(&mut self, event: &Event<K>) -> Option<Seen> {
        match event {
            Event::Init => self.names.clear(),
            Event::InitApply(object) => drop(self.names.insert(object.name_any())),
            Event::InitDone => {
                let (kind, namespace) = (self.kind, self.namespace.clone());
                return Some(Seen::Listed {
                    kind,
                    namespace,
                    names: std::mem::take(&mut self.names),
                });
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
        None
    }
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
