//! What a verification found, in a form that can be filed.

use std::path::Path;

use serde::Serialize;

use super::Options;
use crate::signature::Keyring;
use crate::simplestreams::{Digest, RelPath};
use crate::store::{FileRef, SnapshotRef, Store};

/// The outcome of a verification.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Names this form; the number changes when a field changes its meaning.
    pub schema: &'static str,
    /// Name and version of the program.
    pub program: String,
    /// The store's folder.
    pub store: String,
    /// When it started, ISO 8601.
    pub started: String,
    /// When it ended, ISO 8601.
    pub finished: String,
    /// Whether everything holds.
    pub intact: bool,
    /// Whether blobs were compared by length alone.
    pub quick: bool,
    /// Fingerprints of the keys that were trusted.
    pub trusted_keys: Vec<String>,
    /// Blobs looked at.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Each snapshot, current first.
    pub snapshots: Vec<SnapshotReport>,
    /// What does not hold.
    pub problems: Vec<Problem>,
    /// What could be removed; no fault.
    pub removable: Removable,
}

/// One snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotReport {
    /// Its digest.
    pub digest: Digest,
    /// Whether it is the one that is served.
    pub current: bool,
    /// Whether its description could be read.
    pub readable: bool,
    /// When it was published, ISO 8601.
    pub published: Option<String>,
    /// Signed files whose signatures hold.
    pub metadata: Vec<SignedMetadata>,
    /// Items in it.
    pub items: usize,
}

/// A metadata file whose signature holds.
#[derive(Clone, Debug, Serialize)]
pub struct SignedMetadata {
    /// Its path.
    pub path: RelPath,
    /// Its digest.
    #[serde(serialize_with = "Digest::serialize_hex")]
    pub sha256: Digest,
    /// Fingerprints of the keys that signed it.
    pub signed_by: Vec<String>,
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A snapshot's description cannot be read.
    Snapshot,
    /// A signature or the content of a metadata file does not hold.
    Metadata,
    /// A file is in a snapshot, but not in its signed metadata.
    Unlisted,
    /// A content is missing or not what its digest says.
    Blob,
    /// A file that has no place in `blobs/`.
    Stranger,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which kind.
    pub kind: ProblemKind,
    /// The path, snapshot or file that it is about.
    pub subject: String,
    /// What is wrong.
    pub detail: String,
    /// The blob to fetch again, where that would mend it.
    pub blob: Option<Digest>,
}

/// What `prune` removes once it is older than the grace period.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Removable {
    /// Blobs that no snapshot reaches.
    pub unreferenced_blobs: usize,
    /// Their bytes.
    pub unreferenced_bytes: u64,
    /// Downloads cut short.
    pub partials: usize,
    /// Their bytes.
    pub partial_bytes: u64,
}

/// What [`Report::new`] is made from.
pub(super) struct Findings {
    pub(super) snapshots: Vec<SnapshotReport>,
    pub(super) problems: Vec<Problem>,
    pub(super) removable: Removable,
    pub(super) blobs: usize,
    pub(super) bytes: u64,
}

impl Report {
    pub(super) fn new(
        store: &Store,
        keyring: &Keyring,
        options: Options,
        started: jiff::Timestamp,
        findings: Findings,
    ) -> Self {
        let Findings { snapshots, problems, removable, blobs, bytes } = findings;
        Self {
            schema: "maas-mirror/verify/1",
            program: concat!("maas-mirror ", env!("CARGO_PKG_VERSION")).to_owned(),
            store: store.root().display().to_string(),
            started: crate::iso(started),
            finished: crate::iso(jiff::Timestamp::now()),
            intact: problems.is_empty(),
            quick: options.quick,
            trusted_keys: keyring.keys().into_iter().flatten().map(|key| key.fingerprint).collect(),
            blobs,
            bytes,
            snapshots,
            problems,
            removable,
        }
    }
}

impl SnapshotReport {
    pub(super) fn new(listed: &SnapshotRef) -> Self {
        Self {
            digest: listed.digest,
            current: listed.current,
            readable: true,
            published: listed.published.clone(),
            metadata: Vec::new(),
            items: 0,
        }
    }
}

impl Problem {
    pub(super) fn snapshot(digest: Digest, detail: String) -> Self {
        let subject = format!("snapshot {}", digest.short());
        Self { kind: ProblemKind::Snapshot, subject, detail, blob: None }
    }

    pub(super) fn metadata(file: &FileRef, detail: String, damaged: bool) -> Self {
        let blob = damaged.then_some(file.digest);
        Self { kind: ProblemKind::Metadata, subject: file.path.to_string(), detail, blob }
    }

    pub(super) fn unlisted(file: &FileRef, detail: &str) -> Self {
        let (subject, detail) = (file.path.to_string(), detail.to_owned());
        Self { kind: ProblemKind::Unlisted, subject, detail, blob: None }
    }

    pub(super) fn blob(digest: Digest, path: &str, detail: String) -> Self {
        Self { kind: ProblemKind::Blob, subject: path.to_owned(), detail, blob: Some(digest) }
    }

    /// A blob that the system does not let us read: nothing to move away.
    pub(super) fn unreadable(path: &str, reason: &str) -> Self {
        let (subject, detail) = (path.to_owned(), format!("its content cannot be read: {reason}"));
        Self { kind: ProblemKind::Blob, subject, detail, blob: None }
    }

    pub(super) fn stranger(path: &Path) -> Self {
        Self {
            kind: ProblemKind::Stranger,
            subject: path.display().to_string(),
            detail: "it has no place in the store".to_owned(),
            blob: None,
        }
    }
}
