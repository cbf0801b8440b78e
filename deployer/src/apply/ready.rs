//! Whether a workload is as it should be, by the rules of `helm install --wait
//! --wait-for-jobs`.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How a workload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As it should.
    Ready,
    /// Not yet, and why.
    Waiting(String),
    /// It failed for good, and why.
    Failed(String),
}

use crate::counted::counted;
use Readiness::{Failed, Ready, Waiting};

/// How a workload stands, whatever its kind; nothing of what is none.
pub(crate) fn of_object(kind: &str, object: &Value) -> Option<Readiness> {
    fn typed<T: DeserializeOwned>(object: &Value, of: fn(&T) -> Readiness) -> Option<Readiness> {
        serde_json::from_value(object.clone()).ok().map(|object| of(&object))
    }
    match kind {
        "StatefulSet" => typed(object, of_stateful_set),
        "Deployment" => typed(object, of_deployment),
        "DaemonSet" => typed(object, of_daemon_set),
        "Job" => typed(object, of_job),
        _ => None,
    }
}

fn not_seen() -> Readiness {
    Waiting("its controller has not seen it yet".to_owned())
}

pub(crate) fn of_stateful_set(set: &StatefulSet) -> Readiness {
    let (spec, status) = (set.spec.as_ref(), set.status.as_ref());
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.and_then(|status| status.observed_generation);
    if seen < set.metadata.generation {
        return not_seen();
    }
    let Some(status) = status else { return not_seen() };
    let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete") {
        let partition = strategy
            .and_then(|strategy| strategy.rolling_update.as_ref())
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        let expected = (wanted - partition).max(0);
        let updated = status.updated_replicas.unwrap_or(0);
        if updated < expected {
            return Waiting(format!(
                "{updated} of {}, of the new revision",
                counted(expected, "pod")
            ));
        }
        let is_mixed = status.current_revision != status.update_revision;
        if partition == 0 && is_mixed && updated < wanted {
            return Waiting("its old pods are being replaced".to_owned());
        }
    }
    of_replicas(status.ready_replicas, wanted)
}

/// The revision that a StatefulSet's pods are to have; none before its controller
/// has seen the last change, as what it says then is of the revision before.
pub(crate) fn revision_of(set: &StatefulSet) -> Option<String> {
    let status = set.status.as_ref()?;
    let is_seen = status.observed_generation >= set.metadata.generation;
    status.update_revision.clone().filter(|_| is_seen)
}

pub(crate) fn of_deployment(deployment: &Deployment) -> Readiness {
    let (spec, status) = (deployment.spec.as_ref(), deployment.status.as_ref());
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    if status.and_then(|status| status.observed_generation) < deployment.metadata.generation {
        return not_seen();
    }
    let Some(status) = status else { return not_seen() };
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let late = conditions.iter().find(|condition| {
        condition.type_ == "Progressing"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    if let Some(late) = late {
        return Failed(late.message.clone().unwrap_or_else(|| "its deadline is over".to_owned()));
    }
    if status.updated_replicas.unwrap_or(0) < wanted {
        return Waiting("its new pods are being made".to_owned());
    }
    of_replicas(status.ready_replicas, wanted)
}

pub(crate) fn of_daemon_set(set: &DaemonSet) -> Readiness {
    let Some(status) = set.status.as_ref() else { return not_seen() };
    if status.observed_generation < set.metadata.generation {
        return not_seen();
    }
    let wanted = status.desired_number_scheduled;
    if status.updated_number_scheduled.unwrap_or(0) < wanted {
        return Waiting("its new pods are being made".to_owned());
    }
    of_replicas(Some(status.number_ready), wanted)
}

pub(crate) fn of_job(job: &Job) -> Readiness {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds =
        |kind: &str| conditions.iter().find(|one| one.type_ == kind && one.status == "True");
    if holds("Complete").is_some() {
        return Ready;
    }
    if let Some(failed) = holds("Failed") {
        let parts = [failed.reason.as_deref(), failed.message.as_deref()];
        return Failed(parts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (active, failed) = status.map_or((0, 0), |one| (count(one.active), count(one.failed)));
    match (active, failed) {
        (0, 0) => Waiting("no pod yet".to_owned()),
        (_, 0) => Waiting("running".to_owned()),
        (0, _) => Waiting(format!("failed {}, tried again soon", counted(failed, "time"))),
        _ => Waiting(format!("running, after {}", counted(failed, "failure"))),
    }
}

fn of_replicas(ready: Option<i32>, wanted: i32) -> Readiness {
    let ready = ready.unwrap_or(0);
    if ready >= wanted { Ready } else { Waiting(format!("{ready} of {wanted} ready")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(status: &Value) -> Readiness {
        let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 1, "selector": {},
            "serviceName": "a", "template": {}}, "status": status});
        of_stateful_set(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_stateful_set_is_ready_when_its_new_pods_are() {
        let old = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1});
        assert_eq!(set(&old), not_seen());
        let rolling = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1});
        assert_eq!(set(&rolling), Waiting("0 of 1 pod, of the new revision".into()));
        let starting = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1});
        assert_eq!(set(&starting), Waiting("0 of 1 ready".into()));
        let there = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
        assert_eq!(set(&there), Ready);
    }

    #[test]
    fn a_revision_counts_when_the_controller_has_seen_the_last_change() {
        let revision = |observed: i64| {
            let object = json!({"metadata": {"generation": 2},
                "status": {"replicas": 1, "observedGeneration": observed, "updateRevision": "db-1"}});
            revision_of(&serde_json::from_value(object).unwrap())
        };
        assert_eq!((revision(1), revision(2)), (None, Some("db-1".to_owned())));
    }

    #[test]
    fn a_job_is_ready_when_it_is_complete() {
        let job = |status: &Value| {
            let object = json!({"metadata": {}, "spec": {"template": {}}, "status": status});
            of_job(&serde_json::from_value(object).unwrap())
        };
        assert_eq!(job(&json!({"active": 1})), Waiting("running".into()));
        assert_eq!(job(&json!({"failed": 1})), Waiting("failed 1 time, tried again soon".into()));
        assert_eq!(job(&json!({"failed": 2})), Waiting("failed 2 times, tried again soon".into()));
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(job(&done), Ready);
        let failed = json!({"conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "reached"}]});
        assert_eq!(job(&failed), Failed("BackoffLimitExceeded: reached".into()));
    }

    #[test]
    fn deployments_and_daemon_sets_count_their_pods() {
        let deployment = json!({"metadata": {"generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "updatedReplicas": 2, "readyReplicas": 1}});
        let found = of_deployment(&serde_json::from_value(deployment).unwrap());
        assert_eq!(found, Waiting("1 of 2 ready".into()));
        let daemons = json!({"metadata": {"generation": 1}, "spec": {"selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "currentNumberScheduled": 0, "desiredNumberScheduled": 0,
                "numberMisscheduled": 0, "numberReady": 0}});
        assert_eq!(of_daemon_set(&serde_json::from_value(daemons).unwrap()), Ready);
    }
}
