//! What a plan changes, object by object. Nothing is written.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::difference::{bare, shown};
use super::documents::documents;
use super::error::{ApplyError, Conflict};
use super::operation::Operation;
use super::ownership::{is_helms, without_helms};
use super::plan::{Action, Plan, Planning};
use super::target::{Kinds, Owner, Target};
use crate::cluster::{Cluster, Place};
use crate::manifest::Document;
use crate::release::{Candidate, Event, Release, Status, Stored};
use crate::strike::{Secrets, Strike};

/// How many objects are looked at at once.
const AT_ONCE: usize = 8;

/// What becomes of one object.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What is done.
    pub action: Action,
    /// To what: `StatefulSet maas/maas-region`.
    pub what: String,
    /// The template that it comes from; empty where that is not known.
    pub source: String,
    /// What is there, without what the server notes by itself and without secrets.
    pub before: Option<Value>,
    /// What would be there.
    pub after: Option<Value>,
    /// The object whose place it takes under another name: the chart names a Job after what it
    /// is told.
    pub instead_of: Option<String>,
    /// Fields that an upgrade would not take from their owners unless told.
    pub conflicts: Vec<Conflict>,
}

/// A hook that would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// When: `pre-upgrade`.
    pub event: &'static str,
    /// Its object: `Job maas-quiesce`.
    pub what: String,
    /// The template that it comes from.
    pub source: String,
}

/// All that an install or upgrade would change.
#[derive(Debug)]
pub struct Diff {
    /// The newest revision and its state; none where the release is not installed.
    pub release: Option<(u32, Status)>,
    /// Where that revision was never finished: since when, and by whom.
    pub pending: Option<String>,
    /// What becomes of objects.
    pub differences: Vec<Difference>,
    /// Objects that stay as they are, but for who owns their fields.
    pub unchanged: usize,
    /// Objects that leave the release and stay on the cluster.
    pub kept: Vec<String>,
    /// What others set in objects beside what the release says, by object; it stays.
    pub beside: Vec<(String, Vec<Conflict>)>,
    /// Whether a revision would be recorded; hooks run only then.
    pub is_recorded: bool,
    /// The hooks that would run, in their order.
    pub hooks: Vec<HookRun>,
}

impl Diff {
    /// How many objects an action is done to.
    #[must_use]
    pub fn count(&self, action: Action) -> usize {
        self.differences.iter().filter(|one| one.action == action).count()
    }
}

impl Operation<'_> {
    /// What an install, or an upgrade where the release is there, would change.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn diff(&self, candidate: &Candidate) -> Result<Diff, ApplyError> {
        self.compare(candidate).await.map_err(ApplyError::before_anything)
    }

    async fn compare(&self, candidate: &Candidate) -> Result<Diff, ApplyError> {
        let keys = self.store.keys().await?;
        let last = self.store.last(&keys).await?;
        let held = self.held(&keys, last.as_ref()).await?;
        let last = last.filter(|last| last.release.info.status != Status::Uninstalled);
        let release = last.as_ref().map(|stored| &stored.release);
        let wanted = documents(&candidate.manifest)?;
        let view = View {
            cluster: &self.cluster,
            owner: &self.owner,
            strike: strike(candidate, release)?,
            held: &held,
        };
        let plan = view.planning(true).plan(&wanted, &held).await?;
        let differences = view.differences(&plan, &wanted).await?;
        let is_same = release.is_some_and(|last| {
            last.info.status == Status::Deployed && candidate.is_recorded_by(last)
        });
        let is_recorded = !(is_same && plan.is_empty());
        let touched: usize =
            differences.iter().map(|one| 1 + usize::from(one.instead_of.is_some())).sum();
        let unchanged = plan.targets.len() + plan.removals.len() - touched;
        Ok(Diff {
            release: release.map(|last| (last.version, last.info.status)),
            pending: last.as_ref().and_then(pending),
            differences,
            unchanged,
            kept: plan.kept.iter().map(|place| place.shown().to_owned()).collect(),
            beside: plan.beside.into_iter().map(|one| view.struck(one)).collect(),
            is_recorded,
            hooks: if is_recorded { hooks(candidate, last.is_some()) } else { Vec::new() },
        })
    }
}

/// Passwords that stand in the values, old and new, for what is no Secret.
fn strike(candidate: &Candidate, last: Option<&Release>) -> Result<Strike, ApplyError> {
    let mut secrets = Secrets::default();
    for config in [Some(&candidate.config), last.map(|last| &last.config)].into_iter().flatten() {
        secrets.add_values(&Value::Object(config.clone()));
    }
    secrets.strike().map_err(|error| ApplyError::Mask(error.to_string()))
}

fn pending(last: &Stored) -> Option<String> {
    let status = last.release.info.status;
    status.is_under_way().then(|| {
        let (revision, begun, by) = (last.release.version, last.begun(), last.maker());
        format!("revision {revision} is {} since {begun}, begun by {by}", status.text())
    })
}

fn hooks(candidate: &Candidate, is_upgrade: bool) -> Vec<HookRun> {
    let events = if is_upgrade {
        [Event::PreUpgrade, Event::PostUpgrade]
    } else {
        [Event::PreInstall, Event::PostInstall]
    };
    let run = |event: Event| {
        let mut hooks: Vec<_> = candidate.hooks.iter().filter(|hook| hook.runs_at(event)).collect();
        hooks.sort_by_key(|hook| (hook.weight, hook.name.clone()));
        hooks.into_iter().filter(|hook| matches!(hook.kind.as_str(), "Job" | "Pod")).map(
            move |hook| HookRun {
                event: event.text(),
                what: format!("{} {}", hook.kind, hook.name),
                source: hook.path.clone(),
            },
        )
    };
    events.into_iter().flat_map(run).collect()
}

/// What differences are looked for with.
struct View<'a> {
    cluster: &'a Cluster,
    owner: &'a Owner,
    strike: Strike,
    held: &'a [Document],
}

impl View<'_> {
    /// Without secrets: keys of lists stand in the names of fields.
    fn struck(&self, (what, mut fields): (String, Vec<Conflict>)) -> (String, Vec<Conflict>) {
        for one in &mut fields {
            one.field = self.strike.text(&one.field);
        }
        (what, fields)
    }

    fn planning(&self, force: bool) -> Planning<'_> {
        Planning { cluster: self.cluster, owner: self.owner, force }
    }

    async fn differences(
        &self,
        plan: &Plan,
        wanted: &[Document],
    ) -> Result<Vec<Difference>, ApplyError> {
        let mut left = self.left(plan).await?;
        let todo = plan.targets.iter().zip(wanted);
        let todo = todo.filter_map(|((target, action), of)| Some((target, (*action)?, of)));
        let todo: Vec<_> = todo
            .map(|(target, action, of)| {
                let before =
                    (action == Action::Create).then(|| successor_of(target, of, &mut left));
                (target, action, of, before.flatten())
            })
            .collect();
        let mut found: Vec<Difference> = stream::iter(todo)
            .map(|(target, action, of, before)| async move {
                match before {
                    Some(before) => Ok(self.succeeding(target, &of.source, &before)),
                    None => self.changed(target, action, &of.source).await,
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        // Fields that only change their owner are no difference.
        found.retain(|one| one.action != Action::Update || one.before != one.after);
        for one in left {
            found.push(self.removed(&one).await?);
        }
        Ok(found)
    }

    /// What leaves the release, as the newest revision that had it said.
    async fn left<'p>(&self, plan: &'p Plan) -> Result<Vec<Left<'p>>, ApplyError> {
        let mut kinds = Kinds::new(self.cluster);
        let mut left: Vec<Left<'p>> =
            plan.removals.iter().map(|place| Left { place, held: None }).collect();
        for document in self.held {
            let Some(target) = kinds.target(document, self.owner).await? else { continue };
            if let Some(one) = left.iter_mut().find(|one| *one.place == target.place) {
                one.held = Some((target, document.source.clone()));
            }
        }
        Ok(left)
    }

    /// A Job that takes the place of one of another name.
    fn succeeding(&self, target: &Target, source: &str, before: &Target) -> Difference {
        let (old, new) = (Some(&before.object), Some(&target.object));
        let (old, new) = shown(old, new, &self.strike);
        Difference {
            action: Action::Replace,
            what: target.place.shown().to_owned(),
            source: source.to_owned(),
            before: old,
            after: new,
            instead_of: Some(before.place.shown().to_owned()),
            conflicts: Vec::new(),
        }
    }

    async fn changed(
        &self,
        target: &Target,
        action: Action,
        source: &str,
    ) -> Result<Difference, ApplyError> {
        let live = self.cluster.object(&target.place).await?;
        let (before, after, conflicts) = match (action, live) {
            (Action::Update, Some(live)) => {
                let (after, conflicts) = self.tried(target, &live).await?;
                (Some(live), after, conflicts)
            }
            // Of a Job that is made anew what the server adds cannot be asked for.
            (Action::Replace, Some(live)) => {
                let old = self.recorded(target).await?.unwrap_or(live);
                (Some(old), target.object.clone(), Vec::new())
            }
            _ => (None, target.object.clone(), Vec::new()),
        };
        let (before, after) = shown(before.as_ref(), Some(&after), &self.strike);
        let (what, source) = (target.place.shown().to_owned(), source.to_owned());
        Ok(Difference { action, what, source, before, after, instead_of: None, conflicts })
    }

    /// What would become of an object, also where others own fields of it.
    async fn tried(
        &self,
        target: &Target,
        live: &Value,
    ) -> Result<(Value, Vec<Conflict>), ApplyError> {
        let (result, conflicts) = match self.planning(false).fairly(target, true).await {
            Err(ApplyError::Conflicts { conflicts, .. }) => {
                (self.planning(true).fairly(target, true).await?, conflicts)
            }
            result => (result?, Vec::new()),
        };
        if !is_helms(live) {
            return Ok((result, conflicts));
        }
        let Some(mut left) = without_helms(live, &result, &target.object) else {
            return Ok((result, conflicts));
        };
        // What has gone may have a default, which the server knows.
        if let Some(metadata) = left.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            let version = live.pointer("/metadata/resourceVersion").cloned();
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        let whole = self.cluster.try_replace(&target.place, &left).await;
        Ok((whole.unwrap_or_else(|_| bare(&left)), conflicts))
    }

    /// The object as the last revision had it.
    async fn recorded(&self, target: &Target) -> Result<Option<Value>, ApplyError> {
        let same =
            |document: &&Document| document.kind() == target.kind && document.name() == target.name;
        let Some(document) = self.held.iter().rev().find(same) else { return Ok(None) };
        let mut kinds = Kinds::new(self.cluster);
        let old = kinds.targets(std::slice::from_ref(document), self.owner).await?;
        Ok(old.into_iter().next().map(|target| target.object))
    }

    async fn removed(&self, left: &Left<'_>) -> Result<Difference, ApplyError> {
        let live = self.cluster.object(left.place).await?;
        let (before, _) = shown(live.as_ref(), None, &self.strike);
        Ok(Difference {
            action: Action::Delete,
            what: left.place.shown().to_owned(),
            source: left.held.as_ref().map(|(_, source)| source.clone()).unwrap_or_default(),
            before,
            after: None,
            instead_of: None,
            conflicts: Vec::new(),
        })
    }
}

/// An object that leaves the release.
struct Left<'p> {
    place: &'p Place,
    /// What the newest revision that had it said, and the template that it comes from.
    held: Option<(Target, String)>,
}

/// Takes the Job from what leaves whose place a new one takes: they come from one template, and
/// their names differ in the digest at the end.
fn successor_of(target: &Target, of: &Document, left: &mut Vec<Left<'_>>) -> Option<Target> {
    let is_digest = |end: &&str| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    let stem = |name: &str| {
        let (stem, end) = name.rsplit_once('-')?;
        Some(end).filter(is_digest).map(|_| stem.to_owned())
    };
    let is_before = |one: &Left<'_>| {
        one.held.as_ref().is_some_and(|(held, source)| {
            held.kind == "Job"
                && target.kind == "Job"
                && held.namespace == target.namespace
                && *source == of.source
                && stem(&held.name).is_some_and(|held| Some(held) == stem(&target.name))
        })
    };
    let at = left.iter().position(is_before)?;
    left.remove(at).held.map(|(held, _)| held)
}
