//! Hooks, as Helm runs them: those of an event by weight and name, one after the
//! other, each until it has ended.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::documents::documents;
use super::ended::{wait_ended, wait_gone};
use super::error::ApplyError;
use super::phase::Phase;
use super::progress::{News, Progress};
use super::target::{Kinds, Owner, Target, annotate, annotation, is_of, label, owner_of, unknown};
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::release::{DeletePolicy, Event, Hook, HookPhase, RUN, Store, Stored};

/// The exit code with which a job says that it refused, and changed nothing.
const REFUSED: i32 = 5;

/// The annotation that makes an object a hook.
const HOOK: &str = "helm.sh/hook";

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

    /// Whether the hooks of these events can be made at all, before anything is begun.
    pub(crate) async fn check(
        &self,
        hooks: &[Hook],
        (pre, post): (Event, Event),
    ) -> Result<(), ApplyError> {
        let mut kinds = Kinds::new(self.cluster);
        for hook in hooks.iter().filter(|hook| hook.runs_at(pre) || hook.runs_at(post)) {
            let is_replaced = hook.is_deleted(DeletePolicy::BeforeCreation);
            for target in targets(&mut kinds, self.owner, hook).await? {
                if is_replaced {
                    self.replaceable(&target).await?;
                }
            }
        }
        Ok(())
    }

    /// A hook's object is deleted before it is made again. One of that name that never
    /// was a hook is somebody's, and is not.
    async fn replaceable(&self, target: &Target) -> Result<bool, ApplyError> {
        let Some(live) = self.cluster.object(&target.place).await? else { return Ok(false) };
        let owner = owner_of(&live);
        let is_hook = annotation(&live, HOOK).is_some() && owner.is_none();
        // What was an object of the release may become a hook of it.
        if is_hook || is_of(&live, self.owner) {
            return Ok(true);
        }
        Err(ApplyError::Foreign { what: target.place.shown().to_owned(), owner })
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
            self.make(target, event).await?;
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

    /// Makes a hook's object, with a mark of this very run: where the answer is lost, it
    /// says that what is there is what was made.
    async fn make(&self, target: &Target, event: Event) -> Result<(), ApplyError> {
        let mark = format!("{}/{}", self.store.holder().id(), event.text());
        let mut object = target.object.clone();
        annotate(&mut object, RUN, &mark);
        match self.cluster.create(&target.place, &object).await {
            Err(error) if error.code() == Some(409) => {
                let live = self.cluster.object(&target.place).await?;
                let is_made = live.is_some_and(|live| annotation(&live, RUN) == Some(&mark));
                if is_made { Ok(()) } else { Err(error.into()) }
            }
            result => Ok(result.map(drop)?),
        }
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
            if self.replaceable(&target).await? && self.cluster.delete(&target.place).await? {
                wait_gone(self.cluster, &target.place, self.end).await?;
            }
        }
        Ok(())
    }

    async fn targets(&self, hook: &Hook) -> Result<Vec<Target>, ApplyError> {
        targets(&mut Kinds::new(self.cluster), self.owner, hook).await
    }
}

/// The objects of a hook. They bear no marks of the release: they are not its own.
pub(crate) async fn targets(
    kinds: &mut Kinds<'_>,
    owner: &Owner,
    hook: &Hook,
) -> Result<Vec<Target>, ApplyError> {
    let mut targets = Vec::new();
    for document in documents(&hook.manifest)? {
        let Some((place, namespace)) = kinds.place(&document, owner).await? else {
            return Err(unknown(&document));
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

/// Whether an object on the cluster is what a hook of a release's record made: a hook
/// like it, with its labels, and no release's own.
pub(crate) fn is_made_of(live: &Value, hook: &Value) -> bool {
    const SAME: [&str; 3] =
        ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"];
    let is_hook = annotation(live, HOOK).is_some_and(|said| annotation(hook, HOOK) == Some(said));
    is_hook
        && owner_of(live).is_none()
        && SAME.iter().all(|name| label(live, name) == label(hook, name))
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
