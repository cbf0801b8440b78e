//! Install, upgrade and rollback: record, hooks, objects, wait.

use std::time::Duration;

use tokio::time::Instant;

use super::before::Before;
use super::complete;
use super::documents::documents;
use super::error::ApplyError;
use super::hooks::Hooks;
use super::phase::Phase;
use super::plan::{Change, Plan, Planning};
use super::progress::{News, Progress};
use super::target::Owner;
use super::verb::Verb;
use super::watch::wait_ready;
use crate::cluster::{Cluster, Place};
use crate::counted::{are, counted};
use crate::manifest::Document;
use crate::release::{Candidate, Holder, Release, Status, Store, StoreError, Stored};

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
    /// Stop after this phase, and leave the rest to a later run.
    pub phase: Option<Phase>,
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
    /// How many objects are left to a later run, as [`Options::phase`] asked.
    pub later: usize,
}

/// One operation on a release.
pub struct Operation<'a> {
    pub(super) cluster: Cluster,
    pub(super) store: Store,
    pub(super) owner: Owner,
    pub(super) options: Options,
    pub(super) progress: &'a dyn Progress,
    end: Instant,
}

impl<'a> Operation<'a> {
    /// An operation on the release `name` in `namespace`; `by` says whose it is.
    #[must_use]
    pub fn new(
        cluster: &Cluster,
        name: &str,
        namespace: &str,
        by: impl Into<Holder>,
        options: Options,
        progress: &'a dyn Progress,
    ) -> Self {
        let end = Instant::now() + options.timeout;
        let cluster = cluster.clone().until(end);
        Self {
            store: Store::new(cluster.clone(), namespace, name, by),
            cluster,
            owner: Owner { name: name.to_owned(), namespace: namespace.to_owned() },
            options,
            progress,
            end,
        }
    }

    /// Installs a release that is not there, or was never finished, or is uninstalled
    /// with its history kept.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn install(&self, candidate: &Candidate) -> Result<Done, ApplyError> {
        complete::check(candidate)?;
        self.namespace().await?;
        let before = self.before().await?;
        if let Some(last) = before.last.as_ref().filter(|_| before.is_there()) {
            return Err(ApplyError::Exists {
                name: self.owner.name.clone(),
                revision: last.release.version,
                status: last.release.info.status.text(),
            });
        }
        self.run(Verb::Install, candidate, before).await
    }

    /// Upgrades a release. Where nothing would change, nothing is written.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn upgrade(&self, candidate: &Candidate) -> Result<Done, ApplyError> {
        complete::check(candidate)?;
        let before = self.before().await?;
        let Some(last) = &before.last else { return Err(self.absent()) };
        if last.release.info.status == Status::Uninstalled {
            return Err(self.absent());
        }
        let revision = last.release.version;
        if candidate.after.is_some_and(|after| after != revision) {
            return Err(ApplyError::Moved { name: self.owner.name.clone(), revision });
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
        let candidate = Candidate::of_release(&target.release);
        complete::check(&candidate)?;
        self.run(Verb::Rollback(revision), &candidate, before).await
    }

    /// Marks the revision that this run was making as failed; says whether there
    /// was one.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn interrupted(&self) -> Result<Option<u32>, ApplyError> {
        let keys = self.store.keys().await?;
        let Some(mut last) = self.store.last(&keys).await? else { return Ok(None) };
        if !self.store.is_own(&last) || !last.release.info.status.is_pending() {
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
        self.namespace_there().await.map_err(ApplyError::before_anything)
    }

    async fn namespace_there(&self) -> Result<(), ApplyError> {
        let name = &self.owner.namespace;
        let place = Place::named("/api/v1", None, "namespaces", "Namespace", name)?;
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
                    match self.cluster.create(&place, &object).await {
                        // Somebody else was faster, or it was made and the answer lost.
                        Err(error) if error.code() == Some(409) => {}
                        result => drop(result?),
                    }
                    self.progress.tell(News::Done(format!("made the namespace {name}")));
                }
                Ok(())
            }
            Ok(None) => Err(ApplyError::NoNamespace(name.clone())),
            Err(error) if error.code() == Some(403) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn run(
        &self,
        verb: Verb,
        candidate: &Candidate,
        before: Before,
    ) -> Result<Done, ApplyError> {
        let wanted = documents(&candidate.manifest)?;
        let plan = self.plan(&wanted, &before.held).await;
        let plan = plan.map_err(ApplyError::before_anything)?;
        let last = before.last.as_ref().map(|stored| &stored.release);
        let is_recorded = last.is_some_and(|last| {
            last.info.status == Status::Deployed && candidate.is_recorded_by(last)
        });
        if self.options.dry_run || (verb == Verb::Upgrade && is_recorded && plan.is_empty()) {
            return Ok(done(&plan, last.map_or(0, |last| last.version), false, candidate));
        }
        let checked = self.hooks().check(&candidate.hooks, verb.events()).await;
        checked.map_err(ApplyError::before_anything)?;
        let (status, description, _) = verb.descriptions();
        let (name, namespace) = (&self.owner.name, &self.owner.namespace);
        let mut release = Release::next(name, namespace, candidate, last, status, description);
        if last.is_some_and(|last| last.info.status == Status::Uninstalled) {
            release.info.first_deployed = release.info.last_deployed.clone();
        }
        let labels = before.last.as_ref().map(Store::user_labels).unwrap_or_default();
        self.give_up(&before).await?;
        let made = self.store.create(release, labels).await.map_err(ApplyError::from);
        let is_first = before.given_up.is_none();
        let mut stored =
            made.map_err(|error| if is_first { error.before_anything() } else { error })?;
        self.forget_old().await;
        let result = self.perform(verb, plan, &wanted, &before.held, &mut stored).await;
        match result {
            Ok(plan) => {
                if let Err(error) = self.finish(verb, &mut stored, &plan).await {
                    self.fail(verb, &mut stored, &error).await;
                    return Err(error);
                }
                self.supersede(stored.release.version).await;
                Ok(done(&plan, stored.release.version, true, candidate))
            }
            Err(error) => {
                self.fail(verb, &mut stored, &error).await;
                Err(error.midway())
            }
        }
    }

    fn planning(&self) -> Planning<'_> {
        Planning { cluster: &self.cluster, owner: &self.owner, force: self.options.force_conflicts }
    }

    fn hooks(&self) -> Hooks<'_> {
        Hooks {
            cluster: &self.cluster,
            store: &self.store,
            owner: &self.owner,
            progress: self.progress,
            end: self.end,
            limit: self.options.timeout,
        }
    }

    /// What would change, up to the phase that this run stops after.
    async fn plan(&self, wanted: &[Document], held: &[Document]) -> Result<Plan, ApplyError> {
        let mut plan = self.planning().plan(wanted, held).await?;
        if let Some(phase) = self.options.phase {
            plan.stop_after(phase);
        }
        Ok(plan)
    }

    async fn perform(
        &self,
        verb: Verb,
        mut plan: Plan,
        wanted: &[Document],
        held: &[Document],
        stored: &mut Stored,
    ) -> Result<Plan, ApplyError> {
        let (pre, post) = verb.events();
        let ran = self.hooks().run(stored, pre).await?;
        if ran && !held.is_empty() {
            // They change what is there: quiesce scales regions, removes Jobs.
            plan = self.plan(wanted, held).await?;
        }
        self.planning().carry_out(&plan, self.end, self.progress).await?;
        if self.options.wait {
            let targets: Vec<_> = plan.targets.iter().map(|(target, _)| target).collect();
            let (name, limit) = (&self.owner.name, self.options.timeout);
            let phases = Phase::of_all(wanted);
            wait_ready(&self.cluster, &targets, phases, name, self.end, limit, self.progress)
                .await?;
        }
        if plan.later == 0 {
            self.hooks().run(stored, post).await?;
        }
        Ok(plan)
    }

    /// First the new revision is deployed, then [`Self::supersede`] the others: between
    /// the two there is one too many, never none.
    async fn finish(&self, verb: Verb, stored: &mut Stored, plan: &Plan) -> Result<(), ApplyError> {
        let (_, _, description) = verb.descriptions();
        if let Some(phase) = self.options.phase.filter(|_| plan.later > 0) {
            // Helm has no word for it. As after a failure, what is deployed is the
            // revision before, and the next run goes on.
            stored.release.info.status = Status::Failed;
            stored.release.info.description = format!(
                "Stopped after the phase {}, as --phase asked; {} {} left to a later run",
                phase.word(),
                counted(plan.later, "object"),
                are(plan.later)
            );
            return Ok(self.store.update(stored).await?);
        }
        stored.release.info.status = Status::Deployed;
        stored.release.info.description = description;
        Ok(self.store.update(stored).await?)
    }

    /// Revisions before the one that is deployed now. Best effort: as far as they are
    /// still called deployed, the newest counts.
    async fn forget_old(&self) {
        if let Err(error) = self.store.forget_old().await {
            let text = format!("old revisions are still there: {}", crate::chain(&error));
            self.progress.tell(News::Warning(text));
        }
    }

    async fn supersede(&self, deployed: u32) {
        if let Err(error) = self.supersede_all(deployed).await {
            let text =
                format!("an older revision is still called deployed: {}", crate::chain(&error));
            self.progress.tell(News::Warning(text));
        }
    }

    async fn supersede_all(&self, deployed: u32) -> Result<(), ApplyError> {
        let keys = self.store.keys().await?;
        // Not where this one only is a part, and stopped.
        if !keys.iter().any(|key| key.revision == deployed && key.status == Status::Deployed) {
            return Ok(());
        }
        for key in keys {
            let is_over = matches!(key.status, Status::Deployed | Status::Uninstalled);
            if !is_over || key.revision >= deployed {
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
        later: plan.later,
    }
}
