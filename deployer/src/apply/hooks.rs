//! Hooks, as Helm runs them: those of an event by weight and name, one after the
//! other, each until it has ended.

use std::time::Duration;

use tokio::time::Instant;

use super::documents::documents;
use super::ended::{wait_ended, wait_gone};
use super::error::ApplyError;
use super::phase::Phase;
use super::progress::{News, Progress};
use super::target::{Kinds, Owner, Target};
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::release::{DeletePolicy, Event, Hook, HookPhase, Store, Stored};

/// The exit code with which a job says that it refused, and changed nothing.
const REFUSED: i32 = 5;

/// What hooks are run with.
#[derive(Clone, Copy)]
pub(crate) struct Hooks<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) store: &'a Store,
    pub(crate) owner: &'a Owner,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) end: Instant,
    pub(crate) limit: Duration,
}

impl Hooks<'_> {
    /// Runs the hooks of an event, and says whether there were any. How they ran
    /// is noted in the record, which the caller writes afterwards.
    pub(crate) async fn run(&self, stored: &mut Stored, event: Event) -> Result<bool, ApplyError> {
        let hooks = &stored.release.hooks;
        let mut order: Vec<usize> = (0..hooks.len()).collect();
        order.retain(|at| hooks.get(*at).is_some_and(|hook| hook.runs_at(event)));
        // Stable: of one weight and name, they stay in the order of kinds.
        order.sort_by_key(|at| hooks.get(*at).map(|hook| (hook.weight, hook.name.clone())));
        for (done, at) in order.iter().enumerate() {
            if let Err(error) = self.one(stored, *at, event).await {
                let before = order.get(..done).unwrap_or_default();
                self.failed(stored, *at, before).await;
                return Err(error);
            }
        }
        for at in order.iter().rev() {
            if let Some(hook) = stored.release.hooks.get(*at) {
                self.delete(hook, DeletePolicy::Succeeded).await?;
            }
        }
        Ok(!order.is_empty())
    }

    async fn one(&self, stored: &mut Stored, at: usize, event: Event) -> Result<(), ApplyError> {
        let Some(hook) = stored.release.hooks.get_mut(at) else { return Ok(()) };
        self.delete(hook, DeletePolicy::BeforeCreation).await?;
        let targets = self.targets(hook).await?;
        let is_waited_for = matches!(hook.kind.as_str(), "Job" | "Pod");
        let name = format!("{} {}", hook.kind, hook.name);
        hook.note(HookPhase::Running);
        if is_waited_for {
            self.progress.tell(News::Begun(format!("hook {}: {name}", event.text())));
            self.store.update(stored).await?;
        }
        for target in &targets {
            self.cluster.create(&target.place, &target.object).await?;
            wait_ended(self.cluster, target, self.end, self.limit)
                .await
                .map_err(|error| refused(error, &name))?;
        }
        if let Some(hook) = stored.release.hooks.get_mut(at) {
            hook.note(HookPhase::Succeeded);
        }
        if is_waited_for {
            self.progress.tell(News::Done(format!("hook {}: {name} is done", event.text())));
        }
        Ok(())
    }

    /// What failed stays to be looked at, unless its policy says otherwise. That
    /// the rest cannot be removed must not hide why it failed.
    async fn failed(&self, stored: &mut Stored, at: usize, before: &[usize]) {
        if let Some(hook) = stored.release.hooks.get_mut(at) {
            hook.note(HookPhase::Failed);
        }
        let failed = [(at, DeletePolicy::Failed)];
        let earlier = before.iter().map(|at| (*at, DeletePolicy::Succeeded));
        for (at, policy) in failed.into_iter().chain(earlier) {
            if let Some(hook) = stored.release.hooks.get(at)
                && let Err(error) = self.delete(hook, policy).await
            {
                self.progress.tell(News::Warning(crate::chain(&error)));
            }
        }
    }

    async fn delete(&self, hook: &Hook, policy: DeletePolicy) -> Result<(), ApplyError> {
        if !hook.is_deleted(policy) {
            return Ok(());
        }
        for target in self.targets(hook).await? {
            if self.cluster.delete(&target.place).await? {
                wait_gone(self.cluster, &target.place, self.end).await?;
            }
        }
        Ok(())
    }

    /// The objects of a hook. They bear no marks of the release: they are not its own.
    async fn targets(&self, hook: &Hook) -> Result<Vec<Target>, ApplyError> {
        targets(self.cluster, self.owner, hook).await
    }
}

/// The objects of a hook.
pub(crate) async fn targets(
    cluster: &Cluster,
    owner: &Owner,
    hook: &Hook,
) -> Result<Vec<Target>, ApplyError> {
    let mut kinds = Kinds::new(cluster);
    let mut targets = Vec::new();
    for document in documents(&hook.manifest)? {
        let Some((place, namespace)) = kinds.place(&document, owner).await? else {
            return Err(ApplyError::UnknownKind {
                kind: document.kind().to_owned(),
                api_version: document.api_version().to_owned(),
                name: document.name().to_owned(),
            });
        };
        targets.push(Target {
            place,
            kind: document.kind().to_owned(),
            name: document.name().to_owned(),
            namespace,
            phase: Phase::Configuration,
            object: document.object,
        });
    }
    Ok(targets)
}

/// A hook that refused says why itself; what it says is carried on.
fn refused(error: ApplyError, hook: &str) -> ApplyError {
    match error {
        ApplyError::Trouble(trouble) if trouble.exit_code == Some(REFUSED) => {
            let (reason, hint) = said(&trouble);
            ApplyError::Refused { hook: hook.to_owned(), reason, hint }
        }
        other => other,
    }
}

/// Why a job of this program refused, and what it advised: the last lines of its log.
fn said(trouble: &Trouble) -> (String, Option<String>) {
    let lines: Vec<&str> =
        trouble.details.iter().filter_map(|line| line.strip_prefix("log: ")).collect();
    let after = |mark: &str| -> Vec<&str> {
        lines.iter().filter_map(|line| line.trim_start().strip_prefix(mark)).collect()
    };
    let mut reasons = after("because ");
    reasons.extend(after("- "));
    if reasons.is_empty() {
        return (format!("{trouble}; {}", trouble.details.join("; ")), None);
    }
    (reasons.join(": "), after("hint: ").first().map(|hint| (*hint).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::trouble::TroubleKind;
    use super::*;

    fn trouble(exit_code: i32, details: &[&str]) -> ApplyError {
        ApplyError::Trouble(Box::new(Trouble {
            kind: TroubleKind::Job,
            what: "Job maas-quiesce".into(),
            reason: "PodFailurePolicy".into(),
            details: details.iter().map(|line| (*line).to_owned()).collect(),
            next: String::new(),
            exit_code: Some(exit_code),
        }))
    }

    #[test]
    fn what_a_hook_says_is_carried_on() {
        let log = [
            "pod x ended",
            "log: error: the job quiesce failed",
            "log:   because the database is of MAAS 3.7.3",
            "log: hint: use a newer image",
        ];
        let ApplyError::Refused { hook, reason, hint } =
            refused(trouble(5, &log), "Job maas-quiesce")
        else {
            panic!("not refused");
        };
        assert_eq!(
            (hook.as_str(), reason.as_str()),
            ("Job maas-quiesce", "the database is of MAAS 3.7.3")
        );
        assert_eq!(hint.as_deref(), Some("use a newer image"));
        assert!(matches!(refused(trouble(1, &log), "x"), ApplyError::Trouble(_)));
    }
}
