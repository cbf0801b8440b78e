//! Publishing: the one moment at which what is served changes.

use jiff::Timestamp;

use super::layout::{self, Index};
use super::snapshot::{Content, SnapshotRef};
use super::state::{self, NEWEST};
use super::{StoreError, Writer, files};
use crate::simplestreams::Digest;

/// The outcome of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The snapshot that is current now.
    pub digest: Digest,
    /// Whether it was another before.
    pub changed: bool,
}

/// What becomes of the snapshot that another takes the place of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replaced {
    /// It stays listed until its grace period is over.
    Listed,
    /// It goes at once: all it had is in the new one.
    Gone,
}

impl Writer {
    /// Makes `content` the current snapshot, in the order of durability of the
    /// [module](super). Where it is current already, nothing is written,
    /// unless its description is damaged, which this mends.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names a file whose blob is not held; or an I/O
    /// error. The snapshot that was current stays so.
    pub fn publish(&self, content: &Content, now: Timestamp) -> Result<Published, StoreError> {
        self.publish_over(content, now, Replaced::Listed)
    }

    /// [`Writer::publish`], saying what becomes of the snapshot before.
    pub(super) fn publish_over(
        &self,
        content: &Content,
        now: Timestamp,
        replaced: Replaced,
    ) -> Result<Published, StoreError> {
        let encoded = content.encode();
        let digest = encoded.digest();
        let mut snapshots = self.store.snapshots()?;
        let is_current = snapshots.iter().any(|s| s.current && s.digest == digest);
        if is_current && self.is_described(&digest) {
            self.put_listing(digest, content)?;
            return Ok(Published { digest, changed: false });
        }
        // A join adds to what is current already, and looks at what it adds: a
        // hole there (a damaged blob that was moved away) is no reason to keep
        // other items out until a sync mends it.
        if matches!(replaced, Replaced::Listed) {
            self.check_held(content)?;
        }
        self.put_all(encoded.blobs())?;
        files::sync_dir(&self.store.root.join("blobs/sha256"))?;
        self.remember(content)?;
        self.put_listing(digest, content)?;
        if is_current {
            return Ok(Published { digest, changed: false });
        }
        let now = crate::iso(now);
        snapshots.retain(|snapshot| snapshot.digest != digest);
        if matches!(replaced, Replaced::Gone) {
            snapshots.retain(|snapshot| !snapshot.current);
        }
        for snapshot in snapshots.iter_mut().filter(|snapshot| snapshot.current) {
            snapshot.current = false;
            snapshot.superseded = Some(now.clone());
        }
        let size = encoded.index.len() as u64;
        let published = Some(now);
        snapshots
            .insert(0, SnapshotRef { digest, size, current: true, published, superseded: None });
        self.replace_index(&snapshots)?;
        Ok(Published { digest, changed: true })
    }

    /// Writes `index.json`: what this lists exists, the rest is garbage.
    pub(super) fn replace_index(&self, snapshots: &[SnapshotRef]) -> Result<(), StoreError> {
        let manifests = snapshots.iter().map(SnapshotRef::descriptor).collect();
        let index = Index::new(manifests, layout::Annotations::new());
        files::write_atomically(&self.store.root.join("index.json"), &layout::to_bytes(&index))?;
        // It is done: a listing too many costs a little space, until the next.
        let _ = self.prune_listings(snapshots);
        Ok(())
    }

    /// Whether a snapshot's description is whole.
    fn is_described(&self, digest: &Digest) -> bool {
        let blobs = self.store.description(digest);
        blobs.is_ok_and(|blobs| blobs.iter().all(|(part, _)| self.store.read_blob(part).is_ok()))
    }

    fn check_held(&self, content: &Content) -> Result<(), StoreError> {
        let missing = content.files().find(|f| !self.store.has_blob(&f.digest, f.size));
        missing.map_or(Ok(()), |file| {
            Err(StoreError::Damaged {
                path: self.store.blob_path(&file.digest),
                reason: format!("the content of {} is missing or has another length", file.path),
            })
        })
    }

    fn remember(&self, content: &Content) -> Result<(), StoreError> {
        let path = self.store.private(NEWEST);
        let mut newest = state::read_newest(&path)?;
        let before = newest.clone();
        state::merge(&mut newest, &content.updated);
        if newest == before { Ok(()) } else { state::write_newest(&path, &newest) }
    }
}
