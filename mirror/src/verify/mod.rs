//! Proof, without a network, that a store holds what was signed.
//!
//! For each snapshot: the signature of every metadata file, and that each item
//! is listed by one of them with the digest and size under which it is held.
//! For each blob: that its content is what its name says. The outcome is a
//! [`Report`] that can be filed.

mod chain;
mod hash;
mod listed;
mod report;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use hash::Fault;

use crate::signature::Keyring;
use crate::simplestreams::Digest;
use crate::store::{SnapshotRef, Store, StoreError, Writer};

pub use hash::is_of_blob;
pub use listed::{Listed, Unlisted};
pub use report::{Problem, ProblemKind, Removable, Report, SignedMetadata, SnapshotReport};

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Compares lengths and does not read the blobs.
    pub quick: bool,
}

/// What is told while blobs are read: bytes read now, of how many.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

const MISSING: &str = "its content is missing";
const DAMAGED: &str = "its content is not what was signed";

/// Looks at a store that changes under it before its findings are taken as
/// they are.
const LOOKS: usize = 3;

/// Checks everything in `store` against `keyring`. Blocks; reads blobs on all
/// processors. Needs no lock: where something does not hold and another
/// process published meanwhile, it looks again.
///
/// # Errors
/// [`StoreError`] where the list of snapshots itself cannot be read. What does
/// not hold is no error but a [`Problem`] of the report.
pub fn verify(
    store: &Store,
    keyring: &Keyring,
    options: Options,
    progress: Progress<'_>,
) -> Result<Report, StoreError> {
    let mut looks = 1;
    loop {
        let listed = store.snapshots()?;
        let report = look(store, keyring, options, &listed, progress)?;
        if report.intact || looks == LOOKS || store.snapshots()? == listed {
            return Ok(report);
        }
        looks += 1;
    }
}

fn look(
    store: &Store,
    keyring: &Keyring,
    options: Options,
    listed: &[SnapshotRef],
    progress: Progress<'_>,
) -> Result<Report, StoreError> {
    let started = jiff::Timestamp::now();
    let (held, strangers) = store.blobs()?;
    let mut problems = Vec::new();
    let mut snapshots = Vec::new();
    // What snapshots need: digest to length and a path to name it by.
    let mut needed: BTreeMap<Digest, (u64, String)> = BTreeMap::new();
    for listed in listed {
        let checked = chain::check(store, keyring, listed, &mut needed);
        problems.extend(checked.problems);
        snapshots.push(checked.report);
    }
    for (digest, (size, path)) in &needed {
        let detail = match held.get(digest) {
            None => MISSING.to_owned(),
            Some(found) if found != size => format!("its content has {found} of {size} bytes"),
            Some(_) => continue,
        };
        problems.push(Problem::blob(*digest, path, detail));
    }
    if !options.quick {
        for (digest, fault) in hash::faults(store, &held, progress) {
            let known = needed.get(&digest);
            let path = known.map_or("(in no snapshot)", |(_, path)| path);
            if problems.iter().any(|problem| problem.blob == Some(digest)) {
                continue;
            }
            match fault {
                // Another process may prune what nothing needs.
                Fault::Gone if known.is_none() => {}
                Fault::Gone => problems.push(Problem::blob(digest, path, MISSING.to_owned())),
                Fault::Damaged => problems.push(Problem::blob(digest, path, DAMAGED.to_owned())),
                Fault::Unreadable(reason) => problems.push(Problem::unreadable(path, &reason)),
            }
        }
    }
    problems.extend(strangers.iter().map(|path| Problem::stranger(path)));
    let unreferenced = held.iter().filter(|(digest, _)| !needed.contains_key(digest));
    let partials = store.partials()?;
    let removable = Removable {
        unreferenced_blobs: unreferenced.clone().count(),
        unreferenced_bytes: unreferenced.map(|(_, size)| size).sum(),
        partials: partials.len(),
        partial_bytes: partials.values().sum(),
    };
    Ok(Report::new(
        store,
        keyring,
        options,
        started,
        report::Findings {
            snapshots,
            problems,
            removable,
            blobs: held.len(),
            bytes: held.values().sum(),
        },
    ))
}

/// Moves every damaged blob that `report` names out of the way, so that
/// nothing serves it and the next sync fetches it again; snapshots that were
/// replaced and cannot be read are forgotten. Returns how many blobs moved.
/// What was mended since the report was made stays.
///
/// # Errors
/// An I/O error.
pub fn repair(writer: &Writer, report: &Report) -> Result<usize, StoreError> {
    let unreadable = report.snapshots.iter().filter(|snapshot| !snapshot.readable);
    for snapshot in unreadable.filter(|snapshot| !snapshot.current) {
        writer.forget(&snapshot.digest)?;
    }
    let mut moved = 0;
    for digest in report.problems.iter().filter_map(|problem| problem.blob) {
        match set_aside(writer, &digest) {
            Ok(Some(_)) => moved += 1,
            // One that is being written is about to be replaced.
            Ok(None) | Err(StoreError::Busy(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Moves a blob to quarantine, where it is damaged now; returns where to.
/// Looks again, and lets nobody write it meanwhile: a server may have pulled
/// it anew, beside the lock of the store, since it was found damaged. Blocks
/// for as long as it takes to read it.
///
/// # Errors
/// [`StoreError::Busy`] where somebody writes it now, or an I/O error.
pub fn set_aside(writer: &Writer, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
    let path = writer.store().blob_path(digest);
    // Whatever stands there: a link that leads nowhere is no blob either.
    if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let _held_off = writer.hold_off(digest)?;
    match hash::is_whole(writer.store(), digest) {
        Ok(true) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) if !is_of_blob(&source) => {
            return Err(StoreError::Io { doing: "read", path, source });
        }
        Ok(false) | Err(_) => {}
    }
    writer.quarantine(digest).map(Some)
}
