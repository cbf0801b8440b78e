//! Joining: items that come one by one become part of the current snapshot.
//!
//! A join makes a snapshot that has all the one before had, and some items
//! more. So nobody needs the one before for its grace period, and it goes at
//! once: a mirror that is filled item by item would otherwise keep thousands.
//!
//! What joined is remembered beside the snapshots, so that the next sync,
//! which did not select it, keeps it for as long as upstream lists it. It is
//! remembered before the publish: a crash between the two leaves an item that
//! is held and remembered, and the next sync takes it in.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::publish::{Published, Replaced};
use super::snapshot::{Content, FileRef, VersionKey};
use super::{StoreError, Writer, files};
use crate::simplestreams::{Digest, RelPath};

/// Where the store remembers what joined.
const JOINED: &str = "joined.json";

/// An item that joined a snapshot, which no sync selected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JoinedItem {
    /// Where it is served.
    pub path: RelPath,
    /// Which blob it is.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What came of [`Writer::join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// The snapshot with the items is current.
    Done(Published),
    /// Another snapshot than the one named is current: whether the items
    /// belong to it has to be judged again.
    Moved,
}

impl super::Store {
    /// The items that joined and are remembered.
    #[must_use]
    pub fn joined(&self) -> Vec<JoinedItem> {
        self.kept(JOINED).unwrap_or_default()
    }
}

impl Writer {
    /// Adds `items` to the current snapshot, which must be `base`. Those whose
    /// blob is not held (any more), and paths that the snapshot has already,
    /// are left out.
    ///
    /// # Errors
    /// [`StoreError`]; the snapshot that was current stays so.
    pub fn join(
        &self,
        base: &Digest,
        items: &[(VersionKey, FileRef)],
        now: Timestamp,
    ) -> Result<Joining, StoreError> {
        let current = self.store.snapshots()?.into_iter().find(|snapshot| snapshot.current);
        if current.is_none_or(|current| current.digest != *base) {
            return Ok(Joining::Moved);
        }
        let mut content = self.store.load(base)?.content;
        let mut known: BTreeSet<_> = content.files().map(|file| file.path.clone()).collect();
        let mut joined: BTreeSet<_> = self.store.joined().into_iter().collect();
        let before = joined.len();
        for (key, file) in items {
            if self.store.has_blob(&file.digest, file.size) && known.insert(file.path.clone()) {
                let FileRef { path, digest, size } = file.clone();
                joined.insert(JoinedItem { path, digest, size });
                content.versions.entry(key.clone()).or_default().push(file.clone());
            }
        }
        if joined.len() != before {
            self.remember_joined(&joined.into_iter().collect::<Vec<_>>())?;
        }
        let published = self.publish_over(&content, now, Replaced::Gone)?;
        if published.changed {
            self.remove_description(base, &content)?;
        }
        Ok(Joining::Done(published))
    }

    /// Remembers exactly these items as joined.
    ///
    /// # Errors
    /// An I/O error.
    pub fn remember_joined(&self, items: &[JoinedItem]) -> Result<(), StoreError> {
        if items == self.store.joined() { Ok(()) } else { self.keep(JOINED, &items) }
    }

    /// Removes what described a snapshot that is not listed any more, but for
    /// what others share with it.
    fn remove_description(&self, gone: &Digest, content: &Content) -> Result<(), StoreError> {
        let mut needed: BTreeSet<Digest> = content.files().map(|file| file.digest).collect();
        for snapshot in self.store.snapshots()? {
            // Where one cannot be read, what it needs is not known: `prune` may
            // remove the rest once it can.
            let Ok(parts) = self.store.description(&snapshot.digest) else { return Ok(()) };
            needed.extend(parts.into_iter().map(|(digest, _)| digest));
        }
        // The index, which names the others, comes first there and goes last.
        for (digest, _) in self.store.description(gone)?.into_iter().rev() {
            if !needed.contains(&digest) {
                files::remove(&self.store.blob_path(&digest))?;
            }
        }
        Ok(())
    }
}
