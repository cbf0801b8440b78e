//! What is known of a release before anything is done.

use super::complete::named;
use super::documents::documents;
use super::error::ApplyError;
use super::operation::Operation;
use super::progress::News;
use crate::manifest::Document;
use crate::release::{Key, Release, Status, Stored};

/// What an upgrade goes on from.
#[derive(Debug)]
pub struct Current {
    /// The newest revision.
    pub last: Release,
    /// The one that is deployed, where that is another: those after it were never
    /// finished. As with Helm, its values are the ones that are kept.
    pub deployed: Option<Release>,
}

impl Current {
    /// The revision whose values are those of what is there.
    #[must_use]
    pub fn values_of(&self) -> &Release {
        self.deployed.as_ref().unwrap_or(&self.last)
    }
}

/// What is known of a release before anything is done.
pub(super) struct Before {
    pub(super) keys: Vec<Key>,
    /// The newest revision. One that was never finished is a failed one here, and not yet in
    /// its record.
    pub(super) last: Option<Stored>,
    /// What that one was.
    pub(super) given_up: Option<Status>,
    /// All objects that the release may have on the cluster, as each revision had them.
    pub(super) held: Vec<Document>,
}

impl Before {
    /// Whether something of the release is there that an installation cannot go on with.
    pub(super) fn is_there(&self) -> bool {
        let since = self.keys.iter().rev().take_while(|key| key.status != Status::Uninstalled);
        let is_there = |status| matches!(status, Status::Deployed | Status::Superseded);
        since.into_iter().any(|key| is_there(key.status))
    }
}

impl Operation<'_> {
    /// What an upgrade goes on from; none where there is no such release, or it is
    /// uninstalled.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn current(&self) -> Result<Option<Current>, ApplyError> {
        self.look_at_current().await.map_err(ApplyError::before_anything)
    }

    async fn look_at_current(&self) -> Result<Option<Current>, ApplyError> {
        let keys = self.store.keys().await?;
        let Some(last) = self.store.last(&keys).await? else { return Ok(None) };
        let last = last.release;
        let deployed = match last.info.status {
            Status::Uninstalled => return Ok(None),
            Status::Deployed => None,
            _ => self.store.deployed(&keys).await?.map(|stored| stored.release),
        };
        Ok(Some(Current { last, deployed }))
    }

    pub(super) async fn before(&self) -> Result<Before, ApplyError> {
        self.look_before().await.map_err(ApplyError::before_anything)
    }

    async fn look_before(&self) -> Result<Before, ApplyError> {
        let mut keys = self.store.keys().await?;
        let mut last = self.store.last(&keys).await?;
        let mut given_up = None;
        if let Some(stored) = &mut last
            && stored.release.info.status.is_under_way()
        {
            given_up = Some(self.recover(stored)?);
            if let Some(key) = keys.last_mut() {
                key.status = Status::Failed;
            }
        }
        let held = self.held(&keys, last.as_ref()).await?;
        Ok(Before { keys, last, given_up, held })
    }

    /// A revision that was never finished is explained, or counts as failed; gives what it was.
    fn recover(&self, stored: &mut Stored) -> Result<Status, ApplyError> {
        let (status, revision) = (stored.release.info.status, stored.release.version);
        if !self.options.recover {
            return Err(pending(&self.owner.name, stored));
        }
        stored.release.info.status = Status::Failed;
        stored.release.info.description =
            format!("Given up by --recover: it was {} and never finished", status.text());
        if self.options.dry_run {
            self.progress.tell(News::Warning(format!(
                "revision {revision} is {} and was never finished; it would be given up",
                status.text()
            )));
        }
        Ok(status)
    }

    /// Records that a revision is given up, now that another is made.
    pub(super) async fn give_up(&self, before: &Before) -> Result<(), ApplyError> {
        let (Some(last), Some(was)) = (&before.last, before.given_up) else { return Ok(()) };
        self.store.update(&mut last.clone()).await?;
        self.progress.tell(News::Warning(format!(
            "revision {} was {} and never finished; it is given up",
            last.release.version,
            was.text()
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
            held.extend(named(documents(&manifest)?));
        }
        Ok(held)
    }
}

/// That a revision is under way, or was interrupted.
pub(super) fn pending(name: &str, stored: &Stored) -> ApplyError {
    ApplyError::Pending {
        name: name.to_owned(),
        revision: stored.release.version,
        status: stored.release.info.status.text(),
        age: stored.begun(),
        by: stored.maker(),
    }
}
