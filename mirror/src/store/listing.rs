//! What a snapshot lists, in one file.
//!
//! A server that starts on 10,000 items would otherwise read thousands of
//! manifests before its first answer. A listing is derived from a snapshot
//! when that is published, stands in `.maas-mirror/listing/`, and carries its
//! own digest: one that is missing, torn or of another format is done without.
//! It has the standing of `index.json`, which is no more signed than it is:
//! who may write to the store decides what is served under a path. `verify`
//! never looks at it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::snapshot::{Content, FileRef, Snapshot, SnapshotRef, VersionKey};
use super::{Store, StoreError, Writer, files, layout};
use crate::simplestreams::{Digest, Timestamp};

const FOLDER: &str = "listing";

/// What a listing says. Its file is the digest of the JSON, a line feed, and
/// the JSON.
#[derive(Serialize, Deserialize)]
struct Listing {
    snapshot: Digest,
    updated: BTreeMap<String, String>,
    metadata: Vec<FileRef>,
    versions: Vec<(VersionKey, Vec<FileRef>)>,
}

impl Listing {
    fn read(bytes: &[u8], snapshot: &Digest) -> Option<Content> {
        let (digest, json) = bytes.split_at_checked(HEX)?;
        let json = json.strip_prefix(b"\n")?;
        if Digest::of(json).to_string().as_bytes() != digest {
            return None;
        }
        let listing: Self = serde_json::from_slice(json).ok()?;
        if listing.snapshot != *snapshot {
            return None;
        }
        let time = |(id, text): (String, String)| Some((id, Timestamp::parse(&text).ok()?));
        Some(Content {
            updated: listing.updated.into_iter().map(time).collect::<Option<_>>()?,
            metadata: listing.metadata,
            versions: listing.versions.into_iter().collect(),
        })
    }

    fn write(snapshot: Digest, content: &Content) -> Vec<u8> {
        let updated = content.updated.iter().map(|(id, time)| (id.clone(), time.to_string()));
        let versions = content.versions.iter().map(|(key, files)| (key.clone(), files.clone()));
        let json = layout::to_bytes(&Self {
            snapshot,
            updated: updated.collect(),
            metadata: content.metadata.clone(),
            versions: versions.collect(),
        });
        let mut bytes = format!("{}\n", Digest::of(&json)).into_bytes();
        bytes.extend(json);
        bytes
    }
}

/// Length of a digest in hex.
const HEX: usize = 64;

impl Store {
    /// What a snapshot lists: from its listing where there is a good one, else
    /// as [`Store::load`]. For serving; not for proving anything.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn listed(&self, digest: &Digest) -> Result<Snapshot, StoreError> {
        let listing = files::read_optional(&self.listing_path(digest)).ok().flatten();
        match listing.and_then(|bytes| Listing::read(&bytes, digest)) {
            Some(content) => Ok(Snapshot { digest: *digest, content }),
            None => self.load(digest),
        }
    }

    fn listing_path(&self, digest: &Digest) -> PathBuf {
        self.private(FOLDER).join(digest.to_string())
    }
}

impl Writer {
    /// Writes the listing of a snapshot, unless a good one is there.
    pub(super) fn put_listing(&self, digest: Digest, content: &Content) -> Result<(), StoreError> {
        let path = self.store.listing_path(&digest);
        let bytes = Listing::write(digest, content);
        if files::read_optional(&path).is_ok_and(|there| there.as_ref() == Some(&bytes)) {
            return Ok(());
        }
        files::create_dir(&self.store.private(FOLDER))?;
        files::write_atomically(&path, &bytes)
    }

    /// Removes the listings of snapshots that are not among `kept`.
    pub(super) fn prune_listings(&self, kept: &[SnapshotRef]) -> Result<(), StoreError> {
        for entry in files::list(&self.store.private(FOLDER))? {
            let name = entry.file_name();
            if !kept.iter().any(|snapshot| name == *snapshot.digest.to_string()) {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}
