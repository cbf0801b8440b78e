//! What is waited for, and how it stands.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::phase::{Phase, runs};
use super::ready::Readiness;
use super::target::Target;

/// What is said of a workload that is gone.
pub(super) const NOT_THERE: &str = "it is not there";

/// A workload that is waited for.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) phase: Phase,
    pub(super) state: Readiness,
    /// The revision that a StatefulSet's pods are to have.
    pub(super) revision: Option<String>,
}

impl Workload {
    /// Its kind and name.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Whether it is as it should be.
    pub(super) fn is_ready(&self) -> bool {
        self.state == Readiness::Ready
    }

    /// How it stands, for people.
    pub(super) fn said(&self) -> &str {
        match &self.state {
            Readiness::Ready => "ready",
            Readiness::Waiting(reason) | Readiness::Failed(reason) => reason,
        }
    }
}

/// One of what was applied, where it is such as is waited for.
pub(super) fn workload(target: &Target) -> Option<Workload> {
    runs(&target.kind).then(|| Workload {
        kind: target.kind.clone(),
        name: target.name.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        phase: target.phase,
        state: Readiness::Waiting("not seen yet".to_owned()),
        revision: None,
    })
}

/// The one that failed and has the cause: Jobs wait for those of the phases before.
pub(super) fn first_failed(workloads: &[Workload]) -> Option<&Workload> {
    let failed = workloads.iter().filter(|one| matches!(one.state, Readiness::Failed(_)));
    failed.min_by_key(|one| one.phase)
}

/// What is not as it should be of the phases before this one.
pub(super) fn before(workloads: &[Workload], phase: Phase) -> impl Iterator<Item = &Workload> {
    workloads.iter().filter(move |one| one.phase < phase && !one.is_ready())
}

/// Since when the object is waited for that is told of.
#[derive(Debug, Default)]
pub(super) struct Since(Option<(String, Instant)>);

impl Since {
    /// How long this one has been it. What is said of it may change meanwhile.
    pub(super) fn waited(&mut self, workload: &Workload) -> Duration {
        let this = format!("{}/{}", workload.namespace, workload.shown());
        let begun = self.0.take().filter(|(one, _)| *one == this);
        let (_, begun) = self.0.insert(begun.unwrap_or_else(|| (this, Instant::now())));
        begun.elapsed()
    }
}

/// The command that shows all of it.
pub(super) fn describe(workload: &Workload) -> String {
    let (space, kind) = (&workload.namespace, workload.kind.to_lowercase());
    format!("kubectl -n {space} describe {kind} {}", workload.name)
}

/// Whether a pod is not yet of the revision that it is to have.
pub(super) fn is_old(pod: &Pod, workload: &Workload) -> bool {
    let held = pod.labels().get("controller-revision-hash");
    match (&workload.revision, held) {
        (Some(wanted), Some(held)) => workload.kind == "StatefulSet" && held != wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, phase: Phase, state: Readiness) -> Workload {
        Workload {
            kind: "Job".to_owned(),
            name: name.to_owned(),
            namespace: "ns".to_owned(),
            phase,
            state,
            revision: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_an_object_is_waited_for_is_counted_whatever_is_said_of_it() {
        let mut since = Since::default();
        let said = |text: &str| Readiness::Waiting(text.to_owned());
        let (first, second) = (Duration::from_secs(70), Duration::from_secs(60));
        let waited = since.waited(&job("db-sync", Phase::Schema, said("not seen yet")));
        assert_eq!(waited, Duration::ZERO);
        tokio::time::advance(first).await;
        assert_eq!(since.waited(&job("db-sync", Phase::Schema, said("running"))), first);
        tokio::time::advance(second).await;
        assert_eq!(since.waited(&job("db-sync", Phase::Schema, said("running"))), first + second);
        // Another one begins anew.
        let other = job("configure", Phase::Settings, said("running"));
        assert_eq!(since.waited(&other), Duration::ZERO);
    }

    #[test]
    fn of_several_jobs_that_failed_the_first_phases_is_told() {
        let failed = || Readiness::Failed("BackoffLimitExceeded".to_owned());
        let all = [
            job("configure", Phase::Settings, failed()),
            job("db-sync", Phase::Schema, failed()),
            job("db-init", Phase::DbInit, Readiness::Ready),
        ];
        assert_eq!(first_failed(&all).map(|one| one.name.as_str()), Some("db-sync"));
    }
}
