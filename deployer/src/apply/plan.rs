//! What would change, by server-side dry run; nothing is written. And the change.

use std::collections::{BTreeMap, HashMap};
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
use crate::manifest::{Document, install_order};

/// How many objects are looked at or written at once.
pub(super) const AT_ONCE: usize = 8;

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
    /// How many objects are left to a later run.
    pub(crate) later: usize,
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

impl Plan {
    /// Leaves to a later run what is of later phases than this one. What left the
    /// manifest stays until then, as what is there may need it. Where nothing is to be
    /// done for those, this is the whole.
    pub(crate) fn stop_after(&mut self, phase: Phase) {
        let last = self.targets.iter().map(|(target, _)| target.phase).max();
        let is_done =
            |(target, action): &(Target, Option<Action>)| target.phase <= phase || action.is_none();
        let nothing_left = self.targets.iter().all(is_done);
        if last <= Some(phase) || (nothing_left && self.removals.is_empty()) {
            return;
        }
        let before = self.targets.len() + self.removals.len();
        self.targets.retain(|(target, _)| target.phase <= phase);
        self.removals.clear();
        self.kept.clear();
        self.later += before - self.targets.len();
    }
}

/// An object that the release has had: where, and what each of its revisions said.
pub(super) struct Held {
    place: Place,
    kind: String,
    objects: Vec<Value>,
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
        let mut before = self.before(&mut kinds, held).await?;
        let before_objects = &before;
        let looked: Vec<Option<Action>> = stream::iter(&targets)
            .map(|target| async move {
                self.action(target, before_objects.get(target.place.shown())).await
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for target in &targets {
            before.remove(target.place.shown());
        }
        let mut left: Vec<Held> = before.into_values().collect();
        // The other way round than they were made.
        left.sort_by_key(|held| {
            let order = install_order(&held.kind).unwrap_or(usize::MAX);
            (!runs(&held.kind), std::cmp::Reverse(order), held.place.shown().to_owned())
        });
        let (mut removals, mut kept) = (Vec::new(), Vec::new());
        for Held { place, .. } in left {
            match self.cluster.object(&place).await? {
                Some(live) if is_kept(&live) => kept.push(place),
                Some(live) if is_of(&live, self.owner) => removals.push(place),
                _ => {}
            }
        }
        let targets = targets.into_iter().zip(looked).collect();
        Ok(Plan { targets, removals, kept, later: 0 })
    }

    /// What the release has had, by how it is shown.
    pub(super) async fn before(
        &self,
        kinds: &mut Kinds<'_>,
        held: &[Document],
    ) -> Result<HashMap<String, Held>, ApplyError> {
        let mut before = HashMap::new();
        for document in held {
            // What the cluster does not know cannot be there any more.
            let Some(target) = kinds.target(document, self.owner).await? else { continue };
            let Target { place, kind, object, .. } = target;
            let one = before.entry(place.shown().to_owned());
            let one = one.or_insert_with(|| Held { place, kind, objects: Vec::new() });
            one.objects.push(object);
        }
        Ok(before)
    }

    pub(super) async fn action(
        &self,
        target: &Target,
        held: Option<&Held>,
    ) -> Result<Option<Action>, ApplyError> {
        let Some(live) = self.cluster.object(&target.place).await? else {
            self.try_new(target).await?;
            return Ok(Some(Action::Create));
        };
        if is_ending(&live) {
            return Ok(Some(Action::Create));
        }
        // One that the release had may have lost its marks; another's marks are another's.
        let owner = owner_of(&live);
        let is_anothers = owner.as_ref().is_some_and(|owner| owner != self.owner);
        if is_anothers || (held.is_none() && !is_of(&live, self.owner)) {
            return Err(ApplyError::Foreign { what: target.place.shown().to_owned(), owner });
        }
        if target.kind == "Job" && has_failed(&live) {
            return self.replacement(target).await.map(Some);
        }
        let result = match self.fairly(target, true).await {
            // A Job's template cannot be changed: another Job takes its place.
            Err(ApplyError::Cluster(error))
                if target.kind == "Job" && error.code() == Some(422) =>
            {
                return self.replacement(target).await.map(Some);
            }
            result => result?,
        };
        // What Helm set and a dry run would leave is not seen by it: the fields are
        // taken over first. Where each revision that may have been applied said what
        // this one says, there are none.
        let says_the_same = |held: &Held| held.objects.iter().all(|one| *one == target.object);
        let is_as_before = held.is_some_and(says_the_same);
        if is_helms(&live) && !is_as_before && target.kind != "Job" {
            return Ok(Some(Action::Update));
        }
        Ok((!is_same(&live, &result)).then_some(Action::Update))
    }

    /// What is to be made is tried too, where that can be done.
    async fn try_new(&self, target: &Target) -> Result<(), ApplyError> {
        match self.fairly(target, true).await {
            Err(ApplyError::Cluster(error)) if cannot_be_tried(&error) => Ok(()),
            result => result.map(drop),
        }
    }

    /// A Job is deleted only where the one that takes its place can be made.
    async fn replacement(&self, target: &Target) -> Result<Action, ApplyError> {
        match self.cluster.try_create(&target.place, &target.object).await {
            Err(error) if !cannot_be_tried(&error) => Err(error.into()),
            _ => Ok(Action::Replace),
        }
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
            // In Helm's order of kinds, those of one kind at once: what is in a new
            // namespace needs it.
            let mut todo: BTreeMap<usize, Vec<(&Target, Action)>> = BTreeMap::new();
            for (target, action) in part.filter_map(|(target, action)| Some((target, (*action)?))) {
                let order = install_order(&target.kind).unwrap_or(usize::MAX);
                todo.entry(order).or_default().push((target, action));
            }
            if todo.is_empty() {
                continue;
            }
            let what = if first { "objects of the configuration" } else { "workloads" };
            let count: usize = todo.values().map(Vec::len).sum();
            progress.tell(News::Begun(format!("applying {count} {what}")));
            for of_a_kind in todo.into_values() {
                stream::iter(of_a_kind)
                    .map(|(target, action)| self.write(target, action, end))
                    .buffer_unordered(AT_ONCE)
                    .try_for_each(|()| async { Ok(()) })
                    .await?;
            }
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

/// Whether a dry run was refused for what only the real thing can tell: the namespace
/// is made with it, or a webhook takes no dry runs.
fn cannot_be_tried(error: &ClusterError) -> bool {
    match error {
        ClusterError::Api { code: 404, message, .. } => message.contains("namespaces"),
        ClusterError::Api { code: 400, message, .. } => {
            message.contains("does not support dry run")
        }
        _ => false,
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
