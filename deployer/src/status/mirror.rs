//! The mirror's snapshot and progress: its `/readyz`, and its program's own `status`.

use jiff::Timestamp;
use serde_json::Value;

use super::pods::Found;
use super::{Known, why, within};
use crate::cluster::Cluster;

/// The container, and its program.
const CONTAINER: &str = "mirror";
const COMMAND: [&str; 4] = ["/usr/bin/maas-mirror", "status", "-o", "json"];
/// How much of what it prints is read.
const LIMIT: u64 = 4 * 1024 * 1024;

const NO_MIRROR: &str = "what answers there is no mirror";

/// A mirror.
#[derive(Clone, Debug)]
pub struct MirrorState {
    /// The pod that it is in.
    pub pod: String,
    /// Its answer to `/readyz`.
    pub ready: Known<Value>,
    /// What `maas-mirror status` prints as JSON.
    pub status: Known<Value>,
}

impl MirrorState {
    /// The keys that signed what it holds and that expire: fingerprint and when.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, Timestamp)> {
        let keys = self.status.as_ref().ok().and_then(|status| status.get("keys")?.as_array());
        let text = |key: &Value, name: &str| key.get(name)?.as_str().map(str::to_owned);
        let of =
            |key: &Value| Some((text(key, "fingerprint")?, text(key, "expires")?.parse().ok()?));
        keys.into_iter().flatten().filter_map(of).collect()
    }

    /// Why its last sync failed; none where it did not, or that is not known.
    #[must_use]
    pub fn failed_sync(&self) -> Option<&str> {
        failed_sync(self.status.as_ref().ok()?)
    }

    /// Whether it serves a snapshot, where that is known.
    #[must_use]
    pub fn is_ready(&self) -> Option<bool> {
        self.ready.as_ref().ok()?.get("ready")?.as_bool()
    }
}

/// Why the last sync failed, of what `maas-mirror status` prints.
#[must_use]
pub fn failed_sync(status: &Value) -> Option<&str> {
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    text("/last_sync/outcome/failed").or_else(|| text("/last_sync/failed"))
}

pub(super) async fn look(cluster: &Cluster, namespace: &str, pods: &[Found]) -> Vec<MirrorState> {
    let mirrors = pods.iter().filter_map(|found| Some((found, port(found)?)));
    let looks = mirrors.map(|(found, port)| one(cluster, namespace, &found.state.name, port));
    futures_util::future::join_all(looks).await
}

/// The port of the mirror in a pod; none where it has no mirror.
fn port(found: &Found) -> Option<u16> {
    let containers = &found.pod.spec.as_ref()?.containers;
    let mirror = containers.iter().find(|container| container.name == CONTAINER)?;
    let port =
        mirror.ports.as_ref()?.iter().find(|port| port.name.as_deref() == Some(CONTAINER))?;
    u16::try_from(port.container_port).ok()
}

async fn one(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> MirrorState {
    let ready = async {
        let answer = cluster.pod_get(namespace, pod, port, "readyz").await;
        let answer = read(&answer.map_err(|error| why(&error))?)?;
        let is_mirrors = answer.get("ready").is_some();
        is_mirrors.then_some(answer).ok_or_else(|| NO_MIRROR.to_owned())
    };
    let status = async {
        let run = async || {
            let printed = cluster.run(namespace, pod, CONTAINER, &COMMAND, LIMIT).await;
            printed.map_err(|error| why(&error))
        };
        // Now and then what was printed last is lost on the way.
        match read(&run().await?) {
            Ok(status) => Ok(status),
            Err(_) => read(&run().await?),
        }
    };
    let (ready, status) = tokio::join!(
        Box::pin(within("ask whether the mirror is ready", ready)),
        Box::pin(within("ask for the mirror's status", status)),
    );
    MirrorState { pod: pod.to_owned(), ready, status }
}

fn read(text: &str) -> Known<Value> {
    serde_json::from_str(text).map_err(|_| NO_MIRROR.to_owned())
}
