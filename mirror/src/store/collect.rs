//! Garbage: snapshots past their grace period, and what no snapshot reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::snapshot::SnapshotRef;
use super::{StoreError, Writer, files};
use crate::simplestreams::Digest;
use crate::total;

/// What [`Writer::prune`] may remove.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// How long a snapshot is kept after another took its place, and a blob
    /// that no snapshot reaches after it was written.
    pub grace: Duration,
    /// Removes nothing, only tells.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Snapshots past their grace period.
    pub snapshots: Vec<Digest>,
    /// Blobs that no kept snapshot reaches.
    pub blobs: usize,
    /// Downloads cut short that nobody took up again.
    pub partials: usize,
    /// Bytes of blobs and partials.
    pub bytes: u64,
}

impl Writer {
    /// Removes the snapshots that another replaced longer than `grace` ago,
    /// and the blobs that only they reach. Runs after each publish, so that a
    /// mirror that updates does not fill its disk.
    ///
    /// # Errors
    /// [`StoreError`]; where any snapshot cannot be read, nothing is removed.
    pub fn collect(&self, grace: Duration, now: Timestamp) -> Result<Collected, StoreError> {
        let (kept, expired) = self.split(grace, now)?;
        if expired.is_empty() {
            return Ok(Collected::default());
        }
        let keep = self.reach_all(&kept)?;
        let garbage: BTreeMap<_, _> = self
            .reach_all(&expired)?
            .into_iter()
            .filter(|(digest, _)| !keep.contains_key(digest))
            .collect();
        // From here the expired ones are not listed: a crash leaves garbage
        // for `prune`, never a snapshot with holes.
        self.replace_index(&kept)?;
        self.remove_blobs(garbage.keys())?;
        Ok(Collected {
            snapshots: expired.iter().map(|snapshot| snapshot.digest).collect(),
            blobs: garbage.len(),
            partials: 0,
            bytes: total(garbage.values().copied()),
        })
    }

    /// [`Writer::collect`], and everything else that nothing reaches: blobs of
    /// syncs that never published, and partial downloads, once they are older
    /// than the grace period.
    ///
    /// # Errors
    /// [`StoreError`]; where any snapshot cannot be read, nothing is removed.
    pub fn prune(&self, options: PruneOptions, now: Timestamp) -> Result<Collected, StoreError> {
        let PruneOptions { grace, dry_run } = options;
        let (kept, expired) = self.split(grace, now)?;
        let keep: BTreeSet<Digest> = self.reach_all(&kept)?.into_keys().collect();
        let expired_reach = self.reach_all(&expired)?;
        let (blobs, _) = self.store.blobs()?;
        let garbage: BTreeMap<_, _> = blobs
            .into_iter()
            .filter(|(digest, _)| !keep.contains(digest))
            .filter(|(digest, _)| {
                expired_reach.contains_key(digest)
                    || older_than(&self.store.blob_path(digest), grace)
            })
            .collect();
        let partial = |digest: &Digest| self.store.private("partial").join(digest.to_string());
        let partials: BTreeMap<Digest, u64> = self
            .store
            .partials()?
            .into_iter()
            .filter(|(digest, _)| older_than(&partial(digest), grace))
            // A download under way needs no lock of the store.
            .filter(|(digest, _)| self.store.lock_idle_partial(digest).is_some())
            .collect();
        let assembled = self.assembled(grace)?;
        if !dry_run {
            if !expired.is_empty() {
                self.replace_index(&kept)?;
            }
            self.remove_blobs(garbage.keys())?;
            for digest in partials.keys() {
                if let Some(_lock) = self.store.lock_idle_partial(digest) {
                    files::remove(&partial(digest))?;
                }
            }
            assembled.iter().try_for_each(|(path, _)| files::remove(path))?;
            // Who reads that some parts came relies on what they brought.
            let imports = self.store.private(super::IMPORTS);
            if older_than(&imports, grace) {
                files::remove(&imports)?;
            }
        }
        Ok(Collected {
            snapshots: expired.iter().map(|snapshot| snapshot.digest).collect(),
            blobs: garbage.len(),
            partials: partials.len() + assembled.len(),
            bytes: total(
                garbage
                    .values()
                    .chain(partials.values())
                    .copied()
                    .chain(assembled.iter().map(|(_, size)| *size)),
            ),
        })
    }

    /// What imports of parts left, older than `grace`: path and bytes of each.
    fn assembled(&self, grace: Duration) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let entries = files::list(&self.store.private(super::assembly::FOLDER))?;
        let files = entries.iter().map(|entry| {
            let size = entry.metadata().map_or(0, |meta| meta.len());
            (entry.path(), size)
        });
        Ok(files.filter(|(path, _)| older_than(path, grace)).collect())
    }

    /// Moves a blob whose content is not what its name says out of the way, so
    /// that nothing serves it and the next sync fetches it again. Returns
    /// where it went.
    ///
    /// # Errors
    /// An I/O error.
    pub fn quarantine(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let folder = self.store.private("quarantine");
        files::create_dir(&folder)?;
        let target = folder.join(digest.to_string());
        files::rename(&self.store.blob_path(digest), &target)?;
        files::sync_dir(&self.store.root.join("blobs/sha256"))?;
        Ok(target)
    }

    /// Takes a snapshot that is not current out of the list: one whose
    /// description is damaged serves nobody, and keeps all garbage from being
    /// removed. Returns whether it was listed.
    ///
    /// # Errors
    /// [`StoreError`] where the list cannot be read or written.
    pub fn forget(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut snapshots = self.store.snapshots()?;
        let before = snapshots.len();
        snapshots.retain(|snapshot| snapshot.current || snapshot.digest != *digest);
        if snapshots.len() == before {
            return Ok(false);
        }
        self.replace_index(&snapshots)?;
        Ok(true)
    }

    /// Snapshots to keep and snapshots past their grace period.
    fn split(
        &self,
        grace: Duration,
        now: Timestamp,
    ) -> Result<(Vec<SnapshotRef>, Vec<SnapshotRef>), StoreError> {
        let expired = |snapshot: &SnapshotRef| {
            let since = snapshot.superseded.as_deref().and_then(|text| text.parse().ok());
            since.is_some_and(|since: Timestamp| {
                now.duration_since(since).as_secs()
                    >= i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)
            })
        };
        let snapshots = self.store.snapshots()?;
        let (expired, kept) = snapshots.into_iter().partition(|s| !s.current && expired(s));
        Ok((kept, expired))
    }

    fn reach_all(&self, snapshots: &[SnapshotRef]) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut reached = BTreeMap::new();
        for snapshot in snapshots {
            reached.extend(self.store.reach(&snapshot.digest)?);
        }
        Ok(reached)
    }

    fn remove_blobs<'a>(
        &self,
        digests: impl Iterator<Item = &'a Digest>,
    ) -> Result<(), StoreError> {
        for digest in digests {
            files::remove(&self.store.blob_path(digest))?;
        }
        Ok(())
    }
}

/// Whether a file was last written longer than `age` ago. A file that cannot
/// be looked at, or lies in the future, is not.
fn older_than(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    modified
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok())
        .is_some_and(|elapsed| elapsed >= age)
}
