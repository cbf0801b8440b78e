//! What would change, by server-side dry run; nothing is written.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::belongings::api_key_of;
use super::beside::added;
use super::difference::bare;
use super::error::{ApplyError, Conflict};
use super::ownership::{conflicts, is_helms, is_taken};
use super::phase::{Phase, runs};
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
    /// What others set in objects beside what the release says, by object; it stays.
    pub(crate) beside: Vec<(String, Vec<Conflict>)>,
}

/// What was seen of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// What is done for it; nothing where it is as it should be.
    pub(super) action: Option<Action>,
    /// What others set in it beside what the release says.
    pub(super) beside: Vec<Conflict>,
}

impl From<Action> for Looked {
    fn from(action: Action) -> Self {
        Self { action: Some(action), beside: Vec::new() }
    }
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
        let looked: Vec<Looked> = stream::iter(&targets)
            .map(|target| async move {
                self.look(target, before_objects.get(target.place.shown())).await
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
        let mut plan = Plan { targets: Vec::new(), removals, kept, later: 0, beside: Vec::new() };
        for (target, Looked { action, beside }) in targets.into_iter().zip(looked) {
            if !beside.is_empty() {
                plan.beside.push((target.place.shown().to_owned(), beside));
            }
            plan.targets.push((target, action));
        }
        Ok(plan)
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

    /// What is to be done for an object, and what others did to it.
    pub(super) async fn look(
        &self,
        target: &Target,
        held: Option<&Held>,
    ) -> Result<Looked, ApplyError> {
        let Some(live) = self.cluster.object(&target.place).await? else {
            self.try_new(target).await?;
            return Ok(Action::Create.into());
        };
        if is_ending(&live) {
            return Ok(Action::Create.into());
        }
        // One that the release had may have lost its marks; another's marks are another's.
        let owner = owner_of(&live);
        let is_anothers = owner.as_ref().is_some_and(|owner| owner != self.owner);
        if is_anothers || (held.is_none() && !is_of(&live, self.owner)) {
            return Err(ApplyError::Foreign { what: target.place.shown().to_owned(), owner });
        }
        if target.kind == "Job" {
            return self
                .job(target, &live)
                .await
                .map(|action| Looked { action, ..Looked::default() });
        }
        let result = self.fairly(target, true).await?;
        // What Helm set and a dry run would leave is not seen by it: the fields are
        // taken over first. Where each revision that may have been applied said what
        // this one says, there are none.
        let says_the_same = |held: &Held| held.objects.iter().all(|one| *one == target.object);
        let is_changed =
            (is_helms(&live) && !held.is_some_and(says_the_same)) || !is_same(&live, &result);
        let action = is_changed.then_some(Action::Update);
        Ok(Looked { action, beside: added(&live, &target.object) })
    }

    /// What is to be done for a Job that is there.
    async fn job(&self, target: &Target, live: &Value) -> Result<Option<Action>, ApplyError> {
        if has_ended(live, "Failed") || self.is_to_write_again(target, live).await? {
            return self.replacement(target).await.map(Some);
        }
        match self.fairly(target, true).await {
            // A Job's template cannot be changed: another Job takes its place.
            Err(ApplyError::Cluster(error)) if error.code() == Some(422) => {
                self.replacement(target).await.map(Some)
            }
            result => Ok((!is_same(live, &result?)).then_some(Action::Update)),
        }
    }

    /// Whether the Secret is gone that a Job wrote, which has ended and would not write it again.
    async fn is_to_write_again(&self, target: &Target, live: &Value) -> Result<bool, ApplyError> {
        let Some((space, name)) = api_key_of(&target.object) else { return Ok(false) };
        if !has_ended(live, "Complete") {
            return Ok(false);
        }
        let place = Place::named("/api/v1", Some(&space), "secrets", "Secret", &name)?;
        match self.cluster.object(&place).await {
            Ok(found) => Ok(found.is_none()),
            // It may be in a namespace that is not for this account to look into.
            Err(error) if error.code() == Some(403) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

/// Whether a Job has ended in this way: `Complete` or `Failed`.
fn has_ended(job: &Value, how: &str) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is = |key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
        is("type", how) && is("status", "True")
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
    fn a_job_that_ended_is_seen() {
        let job =
            |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
        assert!(has_ended(&job("Failed"), "Failed") && !has_ended(&job("Failed"), "Complete"));
        assert!(has_ended(&job("Complete"), "Complete"));
        assert!(!has_ended(&job("FailureTarget"), "Failed"));
    }
}
