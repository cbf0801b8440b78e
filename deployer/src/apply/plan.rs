//! What would change, by server-side dry run; nothing is written. And the change.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::difference::bare;
use super::ended::wait_gone;
use super::error::ApplyError;
use super::ownership::{conflicts, is_helms, is_taken, takeover};
use super::phase::{Phase, runs};
use super::progress::{News, Progress};
use super::target::{Kinds, Owner, Target, is_kept, is_of, owner_of};
use crate::cluster::{Applying, Cluster, ClusterError, Place};
use crate::manifest::Document;

/// How many objects are looked at or written at once.
const AT_ONCE: usize = 8;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted and made anew: a Job that has failed, or is to be another.
    Replace,
    /// It is deleted.
    Delete,
}

impl Action {
    /// `create`, `update`…
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what: `StatefulSet maas/maas-region`.
    pub what: String,
}

/// All that would change.
#[derive(Debug)]
pub struct Plan {
    /// What is to be there, with what is done for it; nothing where it is there.
    pub(crate) targets: Vec<(Target, Option<Action>)>,
    /// What left the manifest.
    pub(crate) removals: Vec<Place>,
    /// What leaves the release, and stays on the cluster.
    pub(crate) kept: Vec<Place>,
}

/// How a plan is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planning<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) owner: &'a Owner,
    /// Take fields of others too.
    pub(crate) force: bool,
}

impl Plan {
    /// The changes, in the order in which they are made.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let change = |action, place: &Place| Change { action, what: place.shown().to_owned() };
        let targets = self.targets.iter();
        let mut changes: Vec<Change> = targets
            .filter_map(|(target, action)| action.map(|action| change(action, &target.place)))
            .collect();
        changes.extend(self.removals.iter().map(|place| change(Action::Delete, place)));
        changes
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.targets.iter().all(|(_, action)| action.is_none())
    }
}

impl Planning<'_> {
    /// What `wanted` changes, where the release has had the objects `held`.
    pub(crate) async fn plan(
        &self,
        wanted: &[Document],
        held: &[Document],
    ) -> Result<Plan, ApplyError> {
        let mut kinds = Kinds::new(self.cluster);
        kinds.learn(&wanted.iter().chain(held).collect::<Vec<_>>()).await?;
        let targets = kinds.targets(wanted, self.owner).await?;
        let mut before = HashMap::new();
        for document in held {
            // What the cluster does not know cannot be there any more.
            if let Some((place, namespace)) = kinds.place(document, self.owner).await? {
                let old = kinds.targets(std::slice::from_ref(document), self.owner).await?;
                let object = old.into_iter().next().map(|target| target.object);
                before.insert(place.shown().to_owned(), (place, namespace, object));
            }
        }
        let before_objects = &before;
        let looked: Vec<Option<Action>> = stream::iter(&targets)
            .map(|target| async move {
                let held = before_objects.get(target.place.shown());
                let old = held.and_then(|(_, _, object)| object.as_ref());
                self.action(target, old, held.is_some()).await
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for target in &targets {
            before.remove(target.place.shown());
        }
        let mut removals = Vec::new();
        let mut kept = Vec::new();
        for (place, _, _) in before.into_values() {
            match self.cluster.object(&place).await? {
                Some(live) if is_kept(&live) => kept.push(place),
                Some(live) if is_of(&live, self.owner) => removals.push(place),
                _ => {}
            }
        }
        removals.sort_by(|one, other| one.shown().cmp(other.shown()));
        Ok(Plan { targets: targets.into_iter().zip(looked).collect(), removals, kept })
    }

    async fn action(
        &self,
        target: &Target,
        old: Option<&Value>,
        is_held: bool,
    ) -> Result<Option<Action>, ApplyError> {
        let Some(live) = self.cluster.object(&target.place).await? else {
            return Ok(Some(Action::Create));
        };
        if is_ending(&live) {
            return Ok(Some(Action::Create));
        }
        if !is_of(&live, self.owner) && !is_held {
            let what = target.place.shown().to_owned();
            return Err(ApplyError::Foreign { what, owner: owner_of(&live) });
        }
        if target.kind == "Job" && has_failed(&live) {
            return Ok(Some(Action::Replace));
        }
        // What Helm set and a dry run would leave is not seen by it: the fields
        // are taken over first. Where the manifest says what it said, there are none.
        let is_as_before = old == Some(&target.object);
        if is_helms(&live) && !is_as_before && target.kind != "Job" {
            return Ok(Some(Action::Update));
        }
        let result = match self.fairly(target, true).await {
            // A Job's template cannot be changed: another Job takes its place.
            Err(ApplyError::Cluster(error))
                if target.kind == "Job" && error.code() == Some(422) =>
            {
                return Ok(Some(Action::Replace));
            }
            result => result?,
        };
        Ok((!is_same(&live, &result)).then_some(Action::Update))
    }

    /// Applies an object, taking fields from Helm and from nobody else, unless told.
    pub(crate) async fn fairly(&self, target: &Target, dry_run: bool) -> Result<Value, ApplyError> {
        let how = Applying { dry_run, force: false };
        let error = match self.cluster.apply(&target.place, &target.object, how).await {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let found = conflicts(&error);
        if found.is_empty() {
            return Err(error.into());
        }
        let others: Vec<_> = found.into_iter().filter(|conflict| !is_taken(conflict)).collect();
        if !others.is_empty() && !self.force {
            let what = target.place.shown().to_owned();
            return Err(ApplyError::Conflicts { what, conflicts: others });
        }
        let how = Applying { dry_run, force: true };
        Ok(self.cluster.apply(&target.place, &target.object, how).await?)
    }

    /// Makes the changes of a plan: first what does not run, then what does, last
    /// what left the manifest.
    pub(crate) async fn carry_out(
        &self,
        plan: &Plan,
        end: Instant,
        progress: &dyn Progress,
    ) -> Result<(), ApplyError> {
        for first in [true, false] {
            let part = plan.targets.iter().filter(|(target, _)| runs(&target.kind) != first);
            let todo: Vec<(&Target, Action)> =
                part.filter_map(|(target, action)| Some((target, (*action)?))).collect();
            if todo.is_empty() {
                continue;
            }
            let what = if first { "objects of the configuration" } else { "workloads" };
            progress.tell(News::Begun(format!("applying {} {what}", todo.len())));
            stream::iter(todo)
                .map(|(target, action)| self.write(target, action, end))
                .buffer_unordered(AT_ONCE)
                .try_for_each(|()| async { Ok(()) })
                .await?;
            if first {
                progress.tell(News::Over(Phase::Configuration));
            }
        }
        for place in &plan.removals {
            self.cluster.delete(place).await?;
            progress.tell(News::Done(format!("deleted the {}", place.shown())));
        }
        Ok(())
    }

    async fn write(&self, target: &Target, action: Action, end: Instant) -> Result<(), ApplyError> {
        if action == Action::Replace {
            self.cluster.delete(&target.place).await?;
        }
        if matches!(action, Action::Replace | Action::Create) {
            wait_gone(self.cluster, &target.place, end).await?;
        } else {
            self.take_over(&target.place).await?;
        }
        self.fairly(target, false).await.map(drop)
    }

    /// Makes Helm's fields of an object ours. Somebody may write between reading
    /// and writing it, then it is read again.
    async fn take_over(&self, place: &Place) -> Result<(), ClusterError> {
        for attempt in 0.. {
            let Some(live) = self.cluster.object(place).await? else { return Ok(()) };
            let Some(patch) = takeover(&live) else { return Ok(()) };
            match self.cluster.merge(place, &patch).await {
                Err(error) if error.code() == Some(409) && attempt < 5 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                result => return result.map(drop),
            }
        }
        Ok(())
    }
}

fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}

fn has_failed(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is = |key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
        is("type", "Failed") && is("status", "True")
    })
}

/// Whether a dry run changed nothing but the server's own notes.
fn is_same(live: &Value, result: &Value) -> bool {
    bare(live) == bare(result)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_servers_notes_are_no_change() {
        let live = json!({"metadata": {"name": "a", "generation": 1, "resourceVersion": "1"},
            "spec": {"replicas": 1}, "status": {"readyReplicas": 1}});
        let mut result = live.clone();
        result["metadata"]["generation"] = json!(2);
        result["metadata"]["resourceVersion"] = json!("2");
        result["status"] = json!({});
        assert!(is_same(&live, &result));
        result["spec"]["replicas"] = json!(2);
        assert!(!is_same(&live, &result));
    }

    #[test]
    fn a_job_that_failed_is_seen() {
        let job = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
        assert!(has_failed(&job));
        assert!(!has_failed(
            &json!({"status": {"conditions": [{"type": "FailureTarget", "status": "True"}]}})
        ));
    }
}
