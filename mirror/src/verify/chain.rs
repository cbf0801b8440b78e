//! The chain from the keyring to the digest of each item.

use std::collections::BTreeMap;

use super::listed::{Listed, Unlisted};
use super::report::{Problem, SignedMetadata, SnapshotReport};
use crate::signature::Keyring;
use crate::simplestreams::{Digest, Document};
use crate::store::{Content, FileRef, SnapshotRef, Store};

/// What came of one snapshot.
pub(super) struct Checked {
    pub(super) report: SnapshotReport,
    pub(super) problems: Vec<Problem>,
}

/// Checks one snapshot, and adds the blobs that it needs to `needed`.
pub(super) fn check(
    store: &Store,
    keyring: &Keyring,
    listed: &SnapshotRef,
    needed: &mut BTreeMap<Digest, (u64, String)>,
) -> Checked {
    let mut report = SnapshotReport::new(listed);
    match (store.load(&listed.digest), store.description(&listed.digest)) {
        (Ok(snapshot), Ok(description)) => {
            for (digest, size) in description {
                needed.entry(digest).or_insert((size, "(the snapshot's description)".to_owned()));
            }
            for file in snapshot.content.files() {
                needed.entry(file.digest).or_insert((file.size, file.path.to_string()));
            }
            let problems = check_content(store, keyring, &snapshot.content, &mut report);
            Checked { report, problems }
        }
        (Err(error), _) | (_, Err(error)) => {
            report.readable = false;
            let problem = Problem::snapshot(listed.digest, crate::chain(&error));
            Checked { report, problems: vec![problem] }
        }
    }
}

fn check_content(
    store: &Store,
    keyring: &Keyring,
    content: &Content,
    report: &mut SnapshotReport,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut listed = Listed::for_items(content);
    for file in &content.metadata {
        match check_metadata(store, keyring, file, &mut listed) {
            Ok(signed) => report.metadata.push(signed),
            Err(detail) => {
                let damaged = store.read_blob(&file.digest).is_err();
                problems.push(Problem::metadata(file, detail, damaged));
            }
        }
    }
    let items = content.by_path();
    report.items = items.len() - content.metadata.len().min(items.len());
    let metadata_held = problems.is_empty();
    for file in content.versions.values().flatten() {
        match listed.check(file) {
            Ok(()) => {}
            // Said once, of the file whose signature does not hold.
            Err(Unlisted::Unknown) if !metadata_held => {}
            Err(unlisted) => problems.push(Problem::unlisted(file, &unlisted.to_string())),
        }
    }
    problems.dedup();
    problems
}

/// Checks one signed file and adds the items that it lists.
fn check_metadata(
    store: &Store,
    keyring: &Keyring,
    file: &FileRef,
    listed: &mut Listed,
) -> Result<SignedMetadata, String> {
    let bytes = store.read_blob(&file.digest).map_err(|error| crate::chain(&error))?;
    let verified = keyring.verify(&bytes).map_err(|error| crate::chain(&error))?;
    let document = Document::parse(&verified.plaintext).map_err(|error| crate::chain(&error))?;
    if let Document::Products(products) = &document {
        listed.add(products);
    }
    Ok(SignedMetadata {
        path: file.path.clone(),
        sha256: file.digest,
        signed_by: verified.signers.into_iter().map(|signer| signer.fingerprint).collect(),
    })
}
