//! The way back: what is deleted, what is kept, and what goes only when asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::documents::documents;
use super::ended::wait_gone;
use super::error::ApplyError;
use super::hooks::{self, Hooks};
use super::phase::runs;
use super::progress::{News, Progress};
use super::target::{Kinds, Owner, is_kept, is_of};
use crate::cluster::{Cluster, MANAGED_BY, Place};
use crate::manifest::Document;
use crate::release::{Event, Key, Stamp, Status, Store, Stored};

/// The label that says which release a Secret or a volume belongs to.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// What an uninstall leaves unless it is told to purge: volumes, and the Secrets
/// with the passwords of what is on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Claims of volumes.
    pub volumes: Vec<String>,
    /// Secrets that jobs made.
    pub secrets: Vec<String>,
    /// Objects that say themselves that they are to be kept.
    pub objects: Vec<String>,
}

impl Kept {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.secrets.is_empty() && self.objects.is_empty()
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
    delete: Vec<(String, Place)>,
    volumes: Vec<Place>,
    secrets: Vec<Place>,
    kept: Vec<Place>,
    /// Where jobs were told to write MAAS's API key.
    keys_made: Vec<Place>,
}

impl<'a> Uninstall<'a> {
    /// Looks at what there is. Nothing is changed.
    ///
    /// # Errors
    /// [`ApplyError`]; [`ApplyError::Absent`] where there is no such release.
    pub async fn look(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
        by: &str,
    ) -> Result<Self, ApplyError> {
        let store = Store::new(cluster.clone(), namespace, name, by);
        let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
        let keys = store.keys().await?;
        let Some(last) = store.last(&keys).await? else {
            let (name, namespace) = (owner.name, owner.namespace);
            return Err(ApplyError::Absent { name, namespace });
        };
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
            keys_made: Vec::new(),
        };
        let spaces = looked.objects().await?;
        looked.left_by_jobs(&spaces).await?;
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
        }
    }

    /// The objects of all revisions that may be there, and of their hooks.
    async fn objects(&mut self) -> Result<BTreeSet<String>, ApplyError> {
        let mut kinds = Kinds::new(self.cluster);
        let mut spaces = BTreeSet::from([self.owner.namespace.clone()]);
        let mut seen = BTreeSet::new();
        for key in self.keys.clone().iter().rev() {
            let Some(stored) = self.store.get(key.revision).await? else { continue };
            for document in documents(&stored.release.manifest)? {
                self.note_api_key(&document);
                let Some((place, space)) = kinds.place(&document, &self.owner).await? else {
                    continue;
                };
                spaces.extend(space);
                if !seen.insert(place.shown().to_owned()) {
                    continue;
                }
                match self.cluster.object(&place).await? {
                    Some(live) if is_kept(&live) => self.kept.push(place),
                    Some(live) if is_of(&live, &self.owner) => {
                        self.delete.push((document.kind().to_owned(), place));
                    }
                    _ => {}
                }
            }
            self.hooks_left(&stored, &mut seen).await?;
        }
        // What runs ends first, as it may need the rest until then.
        self.delete.sort_by_key(|(kind, _)| !runs(kind));
        Ok(spaces)
    }

    /// The Secret with MAAS's API key may be anywhere, and bears no release's name:
    /// the job that writes it is told where.
    fn note_api_key(&mut self, document: &Document) {
        let told = document.object.pointer("/spec/template/spec/containers/0/env/0/value");
        let settings = told.and_then(Value::as_str).filter(|_| document.kind() == "Job");
        let settings: Option<Value> = settings.and_then(|text| serde_json::from_str(text).ok());
        let key = settings.as_ref().and_then(|settings| settings.pointer("/secrets/api_key"));
        let text = |name: &str| key.and_then(|key| key.get(name)).and_then(Value::as_str);
        if let (Some(name), Some(space)) = (text("name"), text("namespace")) {
            let place = Place::named("/api/v1", Some(space), "secrets", "Secret", name);
            if !self.keys_made.contains(&place) {
                self.keys_made.push(place);
            }
        }
    }

    /// Objects of hooks that failed, or that `helm test` left.
    async fn hooks_left(
        &mut self,
        stored: &Stored,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        for hook in &stored.release.hooks {
            for target in hooks::targets(self.cluster, &self.owner, hook).await? {
                if !seen.insert(target.place.shown().to_owned()) {
                    continue;
                }
                let live = self.cluster.object(&target.place).await?;
                if live.is_some_and(|live| label(&live, INSTANCE) == Some(&self.owner.name)) {
                    self.delete.push((target.kind, target.place));
                }
            }
        }
        Ok(())
    }

    async fn left_by_jobs(&mut self, spaces: &BTreeSet<String>) -> Result<(), ApplyError> {
        let instance = format!("{INSTANCE}={}", self.owner.name);
        let made = format!("{instance},{}={}", MANAGED_BY.0, MANAGED_BY.1);
        for space in spaces {
            let claims = ("persistentvolumeclaims", "PersistentVolumeClaim");
            if *space == self.owner.namespace {
                self.volumes.extend(self.named(space, claims, &instance).await?);
            }
            self.secrets.extend(self.named(space, ("secrets", "Secret"), &made).await?);
        }
        for place in std::mem::take(&mut self.keys_made) {
            // An account that may not look there cannot delete it either.
            let found = self.cluster.object(&place).await.unwrap_or_default();
            let is_ours =
                found.is_some_and(|live| label(&live, MANAGED_BY.0) == Some(MANAGED_BY.1));
            if is_ours && !self.secrets.contains(&place) {
                self.secrets.push(place);
            }
        }
        Ok(())
    }

    async fn named(
        &self,
        space: &str,
        (plural, kind): (&str, &str),
        selector: &str,
    ) -> Result<Vec<Place>, ApplyError> {
        let place = Place::list("/api/v1", Some(space), plural);
        let doing = format!("list the {plural} in {space}");
        let found = self.cluster.list_metadata(&doing, &place, selector).await?;
        let names = found.iter().filter_map(|object| object.pointer("/metadata/name")?.as_str());
        Ok(names.map(|name| Place::named("/api/v1", Some(space), plural, kind, name)).collect())
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
        self.store.update(&mut last).await?;
        let (cluster, store, owner) = (self.cluster, self.store.clone(), self.owner.clone());
        let hooks = Hooks { cluster, store: &store, owner: &owner, progress, end, limit: timeout };
        hooks.run(&mut last, Event::PreDelete).await?;
        progress.tell(News::Begun(format!("deleting {} objects", self.delete.len())));
        for (_, place) in &self.delete {
            cluster.delete(place).await?;
        }
        for (_, place) in &self.delete {
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
        let pods = self.named(space, ("pods", "Pod"), &selector).await?;
        if !pods.is_empty() {
            progress.tell(News::Begun(format!("waiting for {} pods to end", pods.len())));
        }
        for pod in pods {
            wait_gone(self.cluster, &pod, end).await?;
        }
        Ok(())
    }
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}
