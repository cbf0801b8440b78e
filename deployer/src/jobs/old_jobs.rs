//! Jobs that must not go on when another revision of the release begins.
//!
//! Failed ones go: a Job of the same content would keep its failed self, and its name. So do
//! those of another content that have not ended, such as `configure` of an upgrade that failed:
//! they would undo what the coming ones do. Two kinds are left: those that the coming revision
//! has too, by the same name and so of the same content; and a db-sync that is in the middle of
//! a migration, which the coming one waits for.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::cluster::{Cluster, JobState, ListedJob, Pod};
use crate::wait::{State, Wait};

/// How long pods of deleted Jobs may take to end; they have a grace period.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The component of the Job that migrates the schema.
const MIGRATES: &str = "db-sync";

/// The Jobs of a release.
pub(super) struct OldJobs<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    pub(super) selector: &'a str,
    pub(super) judge: Judge<'a>,
}

/// What decides over a Job.
pub(super) struct Judge<'a> {
    /// What the names of the release's objects begin with.
    pub(super) prefix: &'a str,
    /// The names of the Jobs that the coming revision has.
    pub(super) coming: &'a [String],
    /// Whether a migration of the schema is under way.
    pub(super) is_migrating: bool,
}

/// What is to become of a Job.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is none of ours, or is done.
    Ignored,
    /// It goes on, and why.
    GoesOn(&'static str),
    /// It is deleted; the word says what it was.
    Deleted(&'static str),
}

impl Judge<'_> {
    fn fate(&self, job: &ListedJob) -> Fate {
        // Hooks are Helm's to delete; this very Job is one.
        if job.is_hook || !job.name.starts_with(self.prefix) {
            return Fate::Ignored;
        }
        match job.state {
            JobState::Complete | JobState::Absent => Fate::Ignored,
            JobState::Failed(_) => Fate::Deleted("failed"),
            JobState::Active(_) if self.coming.contains(&job.name) => {
                Fate::GoesOn("it is one of those that come")
            }
            JobState::Active(_) if self.is_migrating && migrates(job) => {
                Fate::GoesOn("it migrates the schema, and the one that comes waits for it")
            }
            JobState::Active(_) => Fate::Deleted("unfinished"),
        }
    }
}

fn migrates(job: &ListedJob) -> bool {
    job.component.as_deref() == Some(MIGRATES)
}

impl OldJobs<'_> {
    /// Deletes those that must not go on, and returns when their pods have ended; says whether
    /// one of them was to migrate the schema.
    pub(super) async fn delete(
        &self,
        context: &Context,
        report: &mut Report,
    ) -> Result<bool, JobError> {
        let mut deleted = Vec::new();
        for job in self.cluster.jobs_of(self.namespace, self.selector).await? {
            let name = &job.name;
            match self.judge.fate(&job) {
                Fate::Ignored => {}
                Fate::GoesOn(why) => report.noted(format!("the Job {name} goes on: {why}")),
                Fate::Deleted(what) => {
                    if self.cluster.delete_job(self.namespace, &job).await? {
                        report.changed(format!("deleted the {what} Job {name}"));
                    }
                    deleted.push(job);
                }
            }
        }
        if !deleted.is_empty() {
            self.wait_gone(context, &deleted).await?;
        }
        Ok(deleted.iter().any(migrates))
    }

    async fn wait_gone(&self, context: &Context, deleted: &[ListedJob]) -> Result<(), JobError> {
        Wait::new("the pods of deleted Jobs to end", context.limit(LIMIT))
            .next(format!("kubectl get pods -n {} -l {} -o wide", self.namespace, self.selector))
            .until(async || {
                let jobs = self.cluster.jobs_of(self.namespace, self.selector).await?;
                let is_there = |job: &&ListedJob| jobs.iter().any(|one| one.is(job));
                let jobs = deleted.iter().filter(is_there).map(|job| format!("Job {}", job.name));
                let pods = self.cluster.pods(self.namespace, self.selector).await?;
                let is_theirs = |pod: &&Pod| {
                    let owner = pod.owner.as_deref();
                    pod.is_alive() && deleted.iter().any(|job| owner == Some(&job.name))
                };
                let pods = pods.iter().filter(is_theirs).map(Pod::shown);
                let left: Vec<String> = jobs.chain(pods).collect();
                Ok(if left.is_empty() { State::Ready(()) } else { State::Waiting(left.join(", ")) })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, state: JobState) -> ListedJob {
        let component = name.strip_prefix("maas-").and_then(|rest| rest.rsplit_once('-'));
        ListedJob {
            name: name.to_owned(),
            uid: None,
            component: component.map(|(component, _)| component.to_owned()),
            is_hook: false,
            state,
        }
    }

    #[test]
    fn what_would_go_on_with_the_old_is_deleted() {
        let coming = ["maas-configure-2".to_owned(), "maas-db-init-2".to_owned()];
        let judge = Judge { prefix: "maas-", coming: &coming, is_migrating: false };
        let active = |name: &str| job(name, JobState::Active(String::new()));
        assert_eq!(judge.fate(&active("maas-configure-1")), Fate::Deleted("unfinished"));
        assert_eq!(judge.fate(&active("maas-db-sync-1")), Fate::Deleted("unfinished"));
        assert!(matches!(judge.fate(&active("maas-configure-2")), Fate::GoesOn(_)));
        let failed = job("maas-db-init-2", JobState::Failed(String::new()));
        assert_eq!(judge.fate(&failed), Fate::Deleted("failed"), "it would keep its failed self");
        assert_eq!(judge.fate(&job("maas-configure-1", JobState::Complete)), Fate::Ignored);
        assert_eq!(judge.fate(&active("other-configure-1")), Fate::Ignored);
        let hook = ListedJob { is_hook: true, ..active("maas-quiesce") };
        assert_eq!(judge.fate(&hook), Fate::Ignored);
        let judge = Judge { is_migrating: true, ..judge };
        assert!(matches!(judge.fate(&active("maas-db-sync-1")), Fate::GoesOn(_)));
        assert_eq!(judge.fate(&active("maas-configure-1")), Fate::Deleted("unfinished"));
    }
}
