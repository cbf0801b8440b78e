//! Install, upgrade and rollback: record, hooks, objects, wait.

use std::time::Duration;

use tokio::time::Instant;

use super::documents::documents;
use super::error::ApplyError;
use super::hooks::Hooks;
use super::plan::{Change, Plan, Planning};
use super::progress::{News, Progress};
use super::target::Owner;
use super::verb::Verb;
use super::watch::wait_ready;
use crate::cluster::{Cluster, Place};
use crate::manifest::Document;
use crate::release::{Candidate, Key, Release, Status, Store, StoreError, Stored};

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Wait until all is ready.
    pub wait: bool,
    /// How long all may take.
    pub timeout: Duration,
    /// Only say what would change.
    pub dry_run: bool,
    /// Take fields of others too.
    pub force_conflicts: bool,
    /// Go on where a revision was never finished.
    pub recover: bool,
    /// Make the namespace where it is not there.
    pub create_namespace: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// The revision that is there now; of a dry run, the one before.
    pub revision: u32,
    /// What was changed, or would be.
    pub changes: Vec<Change>,
    /// Objects that left the release and stay on the cluster.
    pub kept: Vec<String>,
    /// Whether a revision was recorded.
    pub is_recorded: bool,
    /// The text of `NOTES.txt`.
    pub notes: String,
}

/// One operation on a release.
pub struct Operation<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) store: Store,
    pub(super) owner: Owner,
    options: Options,
    progress: &'a dyn Progress,
    end: Instant,
}

/// What is known of a release before anything is done.
struct Before {
    keys: Vec<Key>,
    last: Option<Stored>,
    /// All objects that the release may have on the cluster.
    held: Vec<Document>,
}

impl<'a> Operation<'a> {
    /// An operation on the release `name` in `namespace`; `by` says whose it is.
    #[must_use]
    pub fn new(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
        by: &str,
        options: Options,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            cluster,
            store: Store::new(cluster.clone(), namespace, name, by),
            owner: Owner { name: name.to_owned(), namespace: namespace.to_owned() },
            options,
            progress,
            end: Instant::now() + options.timeout,
        }
    }

    /// Installs a release that is not there, or was never finished.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn install(&self, candidate: &Candidate) -> Result<Done, ApplyError> {
        self.namespace().await?;
        let before = self.before().await?;
        if let Some(last) = &before.last {
            let was_there = before.keys.iter().any(|key| {
                matches!(key.status, Status::Deployed | Status::Superseded | Status::Uninstalling)
            });
            if was_there {
                return Err(ApplyError::Exists {
                    name: self.owner.name.clone(),
                    revision: last.release.version,
                    status: last.release.info.status.text(),
                });
            }
        }
        self.run(Verb::Install, candidate, before).await
    }

    /// Upgrades a release. Where nothing would change, nothing is written.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn upgrade(&self, candidate: &Candidate) -> Result<Done, ApplyError> {
        let before = self.before().await?;
        let Some(last) = &before.last else { return Err(self.absent()) };
        if last.release.info.status == Status::Uninstalled {
            return Err(self.absent());
        }
        self.run(Verb::Upgrade, candidate, before).await
    }

    /// Goes back to what a revision had.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn rollback(&self, revision: u32) -> Result<Done, ApplyError> {
        let before = self.before().await?;
        if before.last.is_none() {
            return Err(self.absent());
        }
        let Some(target) = self.store.get(revision).await? else {
            let there: Vec<String> =
                before.keys.iter().map(|key| key.revision.to_string()).collect();
            let name = self.owner.name.clone();
            return Err(ApplyError::NoRevision { name, revision, there: there.join(", ") });
        };
        self.run(Verb::Rollback(revision), &Candidate::of_release(&target.release), before).await
    }

    /// The newest revision, whatever its state; none where it is uninstalled.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn last(&self) -> Result<Option<Release>, ApplyError> {
        let keys = self.store.keys().await?;
        let last = self.store.last(&keys).await?.map(|stored| stored.release);
        Ok(last.filter(|last| last.info.status != Status::Uninstalled))
    }

    /// Marks the revision that this run was making as failed; says whether there
    /// was one.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn interrupted(&self, by: &str) -> Result<Option<u32>, ApplyError> {
        let keys = self.store.keys().await?;
        let Some(mut last) = self.store.last(&keys).await? else { return Ok(None) };
        if last.by.as_deref() != Some(by) || !last.release.info.status.is_pending() {
            return Ok(None);
        }
        last.release.info.status = Status::Failed;
        "Interrupted".clone_into(&mut last.release.info.description);
        self.store.update(&mut last).await?;
        Ok(Some(last.release.version))
    }

    fn absent(&self) -> ApplyError {
        let (name, namespace) = (self.owner.name.clone(), self.owner.namespace.clone());
        ApplyError::Absent { name, namespace }
    }

    /// The namespace is there, or is made. An account that may not read it goes on.
    async fn namespace(&self) -> Result<(), ApplyError> {
        let name = &self.owner.namespace;
        let place = Place::named("/api/v1", None, "namespaces", "Namespace", name);
        match self.cluster.object(&place).await {
            Ok(Some(found)) => {
                let phase = found.pointer("/status/phase").and_then(|phase| phase.as_str());
                if phase == Some("Terminating") {
                    return Err(ApplyError::NamespaceEnding(name.clone()));
                }
                Ok(())
            }
            Ok(None) if self.options.create_namespace => {
                if !self.options.dry_run {
                    let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace",
                        "metadata": {"name": name, "labels": {"name": name}}});
                    self.cluster.create(&place, &object).await?;
                    self.progress.tell(News::Done(format!("made the namespace {name}")));
                }
                Ok(())
            }
            Ok(None) => Err(ApplyError::NoNamespace(name.clone())),
            Err(error) if error.code() == Some(403) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn before(&self) -> Result<Before, ApplyError> {
        let mut keys = self.store.keys().await?;
        let mut last = self.store.last(&keys).await?;
        if let Some(stored) = &mut last
            && stored.release.info.status.is_pending()
        {
            self.recover(stored).await?;
            if let Some(key) = keys.last_mut() {
                key.status = Status::Failed;
            }
        }
        let held = self.held(&keys, last.as_ref()).await?;
        Ok(Before { keys, last, held })
    }

    /// A revision that was never finished is explained, or given up.
    async fn recover(&self, stored: &mut Stored) -> Result<(), ApplyError> {
        let status = stored.release.info.status;
        if !self.options.recover {
            return Err(ApplyError::Pending {
                name: self.owner.name.clone(),
                revision: stored.release.version,
                status: status.text(),
                age: stored.begun(),
                by: stored.maker(),
            });
        }
        if !self.options.dry_run {
            stored.release.info.status = Status::Failed;
            stored.release.info.description =
                format!("Given up by --recover: it was {} and never finished", status.text());
            self.store.update(stored).await?;
        }
        let revision = stored.release.version;
        self.progress.tell(News::Warning(format!(
            "revision {revision} was {} and never finished; it is given up",
            status.text()
        )));
        Ok(())
    }

    /// The objects of the revision that is deployed, and of those after it, which
    /// failed and may have made some of theirs.
    pub(super) async fn held(
        &self,
        keys: &[Key],
        last: Option<&Stored>,
    ) -> Result<Vec<Document>, ApplyError> {
        let deployed = keys.iter().rev().find(|key| key.status == Status::Deployed);
        let from = deployed.map_or(0, |key| key.revision);
        let mut held: Vec<Document> = Vec::new();
        for key in keys.iter().filter(|key| key.revision >= from) {
            let manifest = match last {
                Some(last) if last.release.version == key.revision => last.release.manifest.clone(),
                _ => match self.store.get(key.revision).await? {
                    Some(stored) => stored.release.manifest,
                    None => continue,
                },
            };
            let newer = documents(&manifest)?;
            // Of one object, the newest text counts.
            held.retain(|old| !newer.iter().any(|new| is_same_object(old, new)));
            held.extend(newer);
        }
        Ok(held)
    }

    async fn run(
        &self,
        verb: Verb,
        candidate: &Candidate,
        before: Before,
    ) -> Result<Done, ApplyError> {
        let wanted = documents(&candidate.manifest)?;
        let planning = Planning {
            cluster: self.cluster,
            owner: &self.owner,
            force: self.options.force_conflicts,
        };
        let plan = planning.plan(&wanted, &before.held).await?;
        let last = before.last.as_ref().map(|stored| &stored.release);
        let is_recorded = last.is_some_and(|last| {
            last.info.status == Status::Deployed && candidate.is_recorded_by(last)
        });
        if self.options.dry_run || (verb == Verb::Upgrade && is_recorded && plan.is_empty()) {
            return Ok(done(&plan, last.map_or(0, |last| last.version), false, candidate));
        }
        let (status, description, _) = verb.descriptions();
        let (name, namespace) = (&self.owner.name, &self.owner.namespace);
        let release = Release::next(name, namespace, candidate, last, status, description);
        let labels = before.last.as_ref().map(Store::user_labels).unwrap_or_default();
        let mut stored = self.store.create(release, labels).await?;
        let result = self.perform(verb, &planning, plan, &wanted, &before.held, &mut stored).await;
        match result {
            Ok(plan) => {
                self.finish(verb, &mut stored).await?;
                Ok(done(&plan, stored.release.version, true, candidate))
            }
            Err(error) => {
                self.fail(verb, &mut stored, &error).await;
                Err(error)
            }
        }
    }

    async fn perform(
        &self,
        verb: Verb,
        planning: &Planning<'_>,
        mut plan: Plan,
        wanted: &[Document],
        held: &[Document],
        stored: &mut Stored,
    ) -> Result<Plan, ApplyError> {
        let (pre, post) = verb.events();
        let hooks = Hooks {
            cluster: self.cluster,
            store: &self.store,
            owner: &self.owner,
            progress: self.progress,
            end: self.end,
            limit: self.options.timeout,
        };
        let ran = hooks.run(stored, pre).await?;
        if ran && !held.is_empty() {
            // They change what is there: quiesce scales regions, removes Jobs.
            plan = planning.plan(wanted, held).await?;
        }
        planning.carry_out(&plan, self.end, self.progress).await?;
        if self.options.wait {
            let targets: Vec<_> = plan.targets.iter().map(|(target, _)| target).collect();
            let (name, limit) = (&self.owner.name, self.options.timeout);
            wait_ready(self.cluster, &targets, name, self.end, limit, self.progress).await?;
        }
        hooks.run(stored, post).await?;
        Ok(plan)
    }

    /// First the new revision is deployed, then the others are superseded: between
    /// the two there is one too many, never none.
    async fn finish(&self, verb: Verb, stored: &mut Stored) -> Result<(), ApplyError> {
        let (_, _, description) = verb.descriptions();
        stored.release.info.status = Status::Deployed;
        stored.release.info.description = description;
        self.store.update(stored).await?;
        for key in self.store.keys().await? {
            if key.status != Status::Deployed || key.revision == stored.release.version {
                continue;
            }
            if let Some(mut old) = self.store.get(key.revision).await? {
                old.release.info.status = Status::Superseded;
                self.store.update(&mut old).await?;
            }
        }
        Ok(())
    }

    /// Best effort: why it failed is told whatever becomes of the record.
    async fn fail(&self, verb: Verb, stored: &mut Stored, error: &ApplyError) {
        if matches!(error, ApplyError::Store(StoreError::TakenOver { .. })) {
            return;
        }
        stored.release.info.status = Status::Failed;
        let (verb, name) = (verb.name(), &self.owner.name);
        stored.release.info.description =
            format!("{verb} {name:?} failed: {}", crate::chain(error));
        if let Err(error) = self.store.update(stored).await {
            let revision = stored.release.version;
            let text = format!("revision {revision} is still pending: {}", crate::chain(&error));
            self.progress.tell(News::Warning(text));
        }
    }
}

fn done(plan: &Plan, revision: u32, is_recorded: bool, candidate: &Candidate) -> Done {
    Done {
        revision,
        changes: plan.changes(),
        kept: plan.kept.iter().map(|place| place.shown().to_owned()).collect(),
        is_recorded,
        notes: candidate.notes.clone(),
    }
}

fn is_same_object(one: &Document, other: &Document) -> bool {
    let key = |document: &Document| {
        let namespace = document.namespace().map(str::to_owned);
        (document.kind().to_owned(), document.name().to_owned(), namespace)
    };
    key(one) == key(other)
}
