//! A status, for programs.

use serde_json::{Value, json};

use crate::apply::PhaseState;
use crate::status::{
    CertificateState, EventState, ImageState, Known, MaasState, MirrorState, PodState, RackState,
    Status,
};

/// `maas-deployer/status/1`. What is not known is `{"unknown": WHY}`.
pub(super) fn described(status: &Status) -> Value {
    json!({
        "schema": "maas-deployer/status/1",
        "release": status.name,
        "namespace": status.namespace,
        "healthy": status.problems.is_empty(),
        "problems": status.problems,
        "revision": known(&status.release, |it| json!({
            "revision": it.revision,
            "status": it.status.text(),
            "updated": it.updated,
            "chart": it.chart,
            "app_version": it.app_version,
            "description": it.description,
        })),
        "phases": list(&status.phases, phase),
        "pods": list(&status.pods, pod),
        "mirrors": list(&status.mirrors, mirror),
        "maas": status.maas.as_ref().map(|maas| known(maas, maas_state)),
        "api_key": status.api_key.as_ref().map(|(name, there)| {
            json!({"secret": name, "present": known(there, |there| json!(there))})
        }),
        "certificates": list(&status.certificates, certificate),
        "events": list(&status.events, event),
    })
}

fn known<T>(source: &Known<T>, show: impl FnOnce(&T) -> Value) -> Value {
    source.as_ref().map_or_else(|reason| json!({ "unknown": reason }), show)
}

fn list<T>(source: &Known<Vec<T>>, show: impl Fn(&T) -> Value) -> Value {
    known(source, |all| all.iter().map(show).collect())
}

fn phase(state: &PhaseState) -> Value {
    let objects = state
        .objects
        .iter()
        .map(|one| json!({"object": one.what, "state": one.standing.name(), "reason": one.reason}));
    json!({
        "phase": state.phase.word(),
        "state": state.standing().name(),
        "objects": objects.collect::<Vec<_>>(),
    })
}

fn pod(pod: &PodState) -> Value {
    json!({
        "name": pod.name,
        "phase": pod.phase,
        "ready": pod.ready,
        "containers": pod.containers,
        "restarts": pod.restarts,
        "created": pod.created.map(|time| time.to_string()),
        "node": pod.node,
        "reason": pod.reason,
        "stuck": pod.is_stuck,
    })
}

fn mirror(mirror: &MirrorState) -> Value {
    let as_it_is = |value: &Value| value.clone();
    json!({
        "pod": mirror.pod,
        "readyz": known(&mirror.ready, as_it_is),
        "status": known(&mirror.status, as_it_is),
    })
}

fn maas_state(maas: &MaasState) -> Value {
    let rack =
        |rack: &RackState| json!({"hostname": rack.hostname, "connected": rack.is_connected});
    let image = |image: &ImageState| json!({"name": image.name, "percent": image.percent, "complete": image.is_complete});
    json!({
        "version": known(&maas.version, |version| json!(version)),
        "racks": list(&maas.racks, rack),
        "images": list(&maas.images, image),
    })
}

fn certificate(state: &CertificateState) -> Value {
    json!({
        "secret": state.secret,
        "key": state.key,
        "expires": known(&state.expires, |time| json!(time.to_string())),
        "days_left": state.days_left(),
    })
}

fn event(event: &EventState) -> Value {
    json!({
        "object": event.object,
        "reason": event.reason,
        "message": event.message,
        "last": event.last.map(|time| time.to_string()),
        "count": event.count,
    })
}
