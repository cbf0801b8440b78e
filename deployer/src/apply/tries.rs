//! Why tries of Jobs failed that are made again: else it would only be seen that they are.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Pods of Jobs that failed.
#[derive(Default)]
pub(super) struct Tries {
    /// Of which it is not told yet why.
    new: Vec<Pod>,
    /// Of which it is, or will be.
    known: BTreeSet<String>,
}

impl Tries {
    /// Takes a Job's pod that failed, once.
    pub(super) fn note(&mut self, pod: &Pod) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase == Some("Failed") && self.known.insert(pod.name_any()) {
            self.new.push(pod.clone());
        }
    }

    /// Those of which is to be told.
    pub(super) fn take(&mut self) -> Vec<Pod> {
        std::mem::take(&mut self.new)
    }
}

/// What the end of a job's log says: its error and the causes, without the next step.
pub(super) fn cause(log: &[String]) -> Option<String> {
    let error = log.iter().rposition(|line| line.starts_with("error: "));
    let Some(error) = error else { return log.last().cloned() };
    let causes = log.iter().skip(error + 1).take_while(|line| line.starts_with("  because "));
    let lines = log.get(error).into_iter().chain(causes);
    Some(lines.map(|line| line.trim()).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_error_without_what_to_do() {
        let log = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let said = "INFO waiting\nerror: the job x failed\n  because a\n  because b\nhint: c";
        let wanted = "error: the job x failed, because a, because b";
        assert_eq!(cause(&log(said)).as_deref(), Some(wanted));
        assert_eq!(cause(&log("one\ntwo")).as_deref(), Some("two"));
        assert_eq!(cause(&[]), None);
    }
}
