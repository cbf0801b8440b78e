//! The way back: what is deleted, what is kept, and what goes only when asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::before::pending;
use super::belongings::{Belongings, INSTANCE};
use super::complete::named;
use super::documents::documents;
use super::ended::wait_gone;
use super::error::ApplyError;
use super::hooks::{Hooks, is_made_of};
use super::leftovers::{labelled, secrets_of};
use super::phase::runs;
use super::progress::{News, Progress};
use super::target::{Kinds, Owner, is_kept, is_of, label};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Place};
use crate::counted::counted;
use crate::manifest::install_order;
use crate::release::{Event, Holder, Key, Stamp, Status, Store, Stored};

/// The chart's name, in the label that says what an object is a part of.
pub(super) const CHART: &str = "maas";

/// What an uninstall leaves unless it is told to purge: volumes, and the Secrets
/// with the passwords of what is on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Claims of volumes.
    pub volumes: Vec<String>,
    /// Secrets that jobs made, or the chart of passwords in the values.
    pub secrets: Vec<String>,
    /// Objects that say themselves that they are to be kept.
    pub objects: Vec<String>,
    /// Claims that bear the release's label, while its record does not say that it
    /// made them: another chart may have. They are left to people.
    pub unsure: Vec<String>,
}

impl Kept {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let lists = [&self.volumes, &self.secrets, &self.objects, &self.unsure];
        lists.into_iter().all(Vec::is_empty)
    }
}

/// What was uninstalled.
#[derive(Debug)]
pub struct Uninstalled {
    /// How many objects were deleted.
    pub deleted: usize,
    /// What is left.
    pub kept: Kept,
    /// What was purged.
    pub purged: Kept,
}

/// An uninstall, looked at and not yet done.
pub struct Uninstall<'a> {
    cluster: &'a Cluster,
    store: Store,
    owner: Owner,
    keys: Vec<Key>,
    last: Stored,
    /// What is deleted, workloads first.
    delete: Vec<Doomed>,
    volumes: Vec<Place>,
    secrets: Vec<Place>,
    kept: Vec<Place>,
    unsure: Vec<Place>,
    belongings: Belongings,
}

/// An object that is deleted: the one that was seen, and none that took its name since.
pub(super) struct Doomed {
    kind: String,
    pub(super) place: Place,
    uid: Option<String>,
}

impl Doomed {
    pub(super) fn new(kind: &str, place: Place, live: &Value) -> Self {
        let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
        Self { kind: kind.to_owned(), place, uid: uid.map(str::to_owned) }
    }

    /// Deletes it; says whether it is gone already.
    pub(super) async fn delete(&self, cluster: &Cluster) -> Result<bool, ClusterError> {
        let is_there = match &self.uid {
            Some(uid) => cluster.delete_one(&self.place, uid).await?,
            None => cluster.delete(&self.place).await?,
        };
        Ok(!is_there)
    }
}

/// Whether a job of some release made this object.
pub(super) fn is_of_jobs(object: &Value) -> bool {
    label(object, MANAGED_BY.0) == Some(MANAGED_BY.1)
}

impl<'a> Uninstall<'a> {
    /// Looks at what there is. Nothing is changed. With `recover` also where another run
    /// changes the release, or was interrupted; an uninstall is always gone on with.
    ///
    /// # Errors
    /// [`ApplyError`]; [`ApplyError::Absent`] where there is no such release.
    pub async fn look(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
        by: impl Into<Holder>,
        recover: bool,
    ) -> Result<Self, ApplyError> {
        let store = Store::new(cluster.clone(), namespace, name, by);
        let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
        let keys = store.keys().await?;
        let Some(last) = store.last(&keys).await? else {
            let (name, namespace) = (owner.name, owner.namespace);
            return Err(ApplyError::Absent { name, namespace });
        };
        if last.release.info.status.is_pending() && !recover {
            return Err(pending(name, &last));
        }
        let mut looked = Self {
            cluster,
            store,
            owner,
            keys,
            last,
            delete: Vec::new(),
            volumes: Vec::new(),
            secrets: Vec::new(),
            kept: Vec::new(),
            unsure: Vec::new(),
            belongings: Belongings::default(),
        };
        looked.objects().await?;
        looked.data().await?;
        Ok(looked)
    }

    /// How many objects are deleted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.delete.len()
    }

    /// What is left, or goes only with `purge`.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let shown =
            |places: &[Place]| places.iter().map(|place| place.shown().to_owned()).collect();
        Kept {
            volumes: shown(&self.volumes),
            secrets: shown(&self.secrets),
            objects: shown(&self.kept),
            unsure: shown(&self.unsure),
        }
    }

    /// The objects of all revisions that may be there, and of their hooks.
    async fn objects(&mut self) -> Result<(), ApplyError> {
        let mut kinds = Kinds::new(self.cluster);
        let mut seen = BTreeSet::new();
        for key in self.keys.clone().iter().rev() {
            let Some(stored) = self.store.get(key.revision).await? else { continue };
            for document in named(documents(&stored.release.manifest)?) {
                self.belongings.note(&document, &self.owner)?;
                let Some((place, _)) = kinds.place(&document, &self.owner).await? else { continue };
                if !seen.insert(place.shown().to_owned()) {
                    continue;
                }
                match self.cluster.object(&place).await? {
                    Some(live) if is_kept(&live) => self.kept.push(place),
                    Some(live) if is_of(&live, &self.owner) => {
                        self.delete.push(Doomed::new(document.kind(), place, &live));
                    }
                    _ => {}
                }
            }
            self.hooks_left(&stored, &mut kinds, &mut seen).await?;
        }
        // What runs ends first, as it may need the rest until then; the rest the other
        // way round than it was made.
        self.delete.sort_by_key(|one| {
            let order = install_order(&one.kind).unwrap_or(usize::MAX);
            (!runs(&one.kind), std::cmp::Reverse(order))
        });
        Ok(())
    }

    /// Objects of hooks that failed, or that `helm test` left.
    async fn hooks_left(
        &mut self,
        stored: &Stored,
        kinds: &mut Kinds<'_>,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        for hook in &stored.release.hooks {
            for document in named(documents(&hook.manifest)?) {
                self.belongings.note(&document, &self.owner)?;
                let Some((place, _)) = kinds.place(&document, &self.owner).await? else { continue };
                if seen.contains(place.shown()) {
                    continue;
                }
                let live = self.cluster.object(&place).await?;
                if let Some(live) = live.filter(|live| is_made_of(live, &document.object)) {
                    seen.insert(place.shown().to_owned());
                    self.delete.push(Doomed::new(document.kind(), place, &live));
                }
            }
        }
        Ok(())
    }

    /// What is kept unless it is purged: claims of the StatefulSets that the record
    /// names, and [`secrets_of`] the release. All are in its own namespace; in another,
    /// these labels are another release's.
    async fn data(&mut self) -> Result<(), ApplyError> {
        let space = self.owner.namespace.clone();
        let instance = format!("{INSTANCE}={}", self.owner.name);
        let claims = ("persistentvolumeclaims", "PersistentVolumeClaim");
        for (claim, place) in labelled(self.cluster, &space, claims, &instance).await? {
            let is_sure = self.belongings.has_claim(&claim);
            if is_sure { &mut self.volumes } else { &mut self.unsure }.push(place);
        }
        for (_, place) in secrets_of(self.cluster, &self.owner).await? {
            self.kept.retain(|kept| *kept != place);
            self.secrets.push(place);
        }
        for place in self.belongings.api_keys(self.cluster, &self.owner).await {
            if !self.secrets.contains(&place) {
                self.secrets.push(place);
            }
        }
        Ok(())
    }

    /// Deletes the release, and with `purge` its volumes and their Secrets too.
    ///
    /// # Errors
    /// [`ApplyError`]. What was deleted stays so, and another uninstall goes on.
    pub async fn carry_out(
        mut self,
        purge: bool,
        timeout: Duration,
        progress: &dyn Progress,
    ) -> Result<Uninstalled, ApplyError> {
        let end = Instant::now() + timeout;
        let mut last = self.last.clone();
        last.release.info.status = Status::Uninstalling;
        last.release.info.deleted = Stamp::now();
        "Deletion in progress (or silently failed)".clone_into(&mut last.release.info.description);
        self.store.claim(&mut last);
        self.store.update(&mut last).await?;
        let (store, owner) = (self.store.clone(), self.owner.clone());
        let cluster = &self.cluster.clone().until(end);
        let hooks = Hooks { cluster, store: &store, owner: &owner, progress, end, limit: timeout };
        hooks.run(&mut last, Event::PreDelete).await?;
        progress.tell(News::Begun(format!("deleting {}", counted(self.delete.len(), "object"))));
        let mut going = Vec::new();
        for one in &self.delete {
            if !one.delete(cluster).await? {
                going.push(&one.place);
            }
        }
        for place in going {
            wait_gone(cluster, place, end).await?;
        }
        self.pods_gone(end, progress).await?;
        hooks.run(&mut last, Event::PostDelete).await?;
        let mut kept = self.kept();
        let mut purged = Kept::default();
        if purge {
            // A job that ended last may have made another.
            let places: Vec<Place> = self.volumes.drain(..).chain(self.secrets.drain(..)).collect();
            for place in &places {
                cluster.delete(place).await?;
            }
            for place in &places {
                wait_gone(cluster, place, end).await?;
            }
            purged.volumes = std::mem::take(&mut kept.volumes);
            purged.secrets = std::mem::take(&mut kept.secrets);
        }
        for key in &self.keys {
            self.store.delete(key.revision).await?;
        }
        Ok(Uninstalled { deleted: self.delete.len(), kept, purged })
    }

    /// Pods outlive what made them, and hold volumes and names meanwhile.
    async fn pods_gone(&self, end: Instant, progress: &dyn Progress) -> Result<(), ApplyError> {
        let space = &self.owner.namespace;
        let selector = format!("{INSTANCE}={}", self.owner.name);
        let mut pods = labelled(self.cluster, space, ("pods", "Pod"), &selector).await?;
        pods.retain(|(pod, _)| self.belongings.has_pod(pod));
        if !pods.is_empty() {
            progress
                .tell(News::Begun(format!("waiting for {} to end", counted(pods.len(), "pod"))));
        }
        for (_, pod) in pods {
            wait_gone(self.cluster, &pod, end).await?;
        }
        Ok(())
    }
}
