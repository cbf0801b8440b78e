//! `maas-mirror verify`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::args::VerifyArgs;
use super::bundle::{Place, failed};
use super::failure::{Exit, Failure};
use super::meter::Meter;
use super::output::{Output, bytes, count};
use crate::bundle::{Proved, prove};
use crate::signature::Keyring;
use crate::store::Store;
use crate::verify::{Options, Report, repair, verify};

pub(super) fn run(args: &VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    if let Some(place) = &args.bundle {
        return bundle(args, place, output);
    }
    let root = &args.store.store;
    let doing = || format!("cannot verify {}", root.display());
    let store = Store::open(root).map_err(|error| Failure::store(doing(), &error))?;
    let keyring = Keyring::from_files(&args.keyring.keyring)
        .map_err(|error| Failure::keyring(&error))?
        .allow_expired(args.keyring.allow_expired_key);
    keyring.keys().map_err(|error| Failure::keyring(&error))?;
    let cannot_repair = |error| Failure::store(format!("cannot repair {}", root.display()), &error);
    // Held from the first look on: what a sync mends meanwhile must not be
    // moved away for what it was before.
    let writer = args.repair.then(|| store.writer("maas-mirror verify --repair")).transpose();
    let writer = writer.map_err(cannot_repair)?;
    let meter = Meter::new(output, "verified");
    let progress = |done, total| meter.at(done, total);
    let report = verify(&store, &keyring, Options { quick: args.quick }, &progress);
    drop(meter);
    let report = report.map_err(|error| Failure::store(doing(), &error))?;
    if let Some(path) = &args.report {
        write_report(path, &report)?;
    }
    // Mended before anything is printed: with `-o json` a failure is printed
    // in place of the report.
    let writer = writer.filter(|_| !report.intact);
    let moved = writer.map(|writer| repair(&writer, &report)).transpose().map_err(cannot_repair)?;
    show(&report, output);
    if let Some(moved) = moved {
        output.line(&format!(
            "moved {} out of the way; run 'maas-mirror sync' to fetch what is missing",
            count(moved, "damaged blob")
        ));
    }
    output.json(&report);
    Ok(if report.intact { Exit::Done } else { Exit::Unverified })
}

/// Checks a bundle where it is.
fn bundle(args: &VerifyArgs, place: &Place, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot verify {place}");
    let keyring = Keyring::from_files(&args.keyring.keyring)
        .map_err(|error| Failure::keyring(&error))?
        .allow_expired(args.keyring.allow_expired_key);
    keyring.keys().map_err(|error| Failure::keyring(&error))?;
    let store = Store::open(&args.store.store).ok();
    let mut source = place.open(&doing)?;
    let meter = Meter::new(output, "verified");
    let progress = |done, total| meter.at(done, total);
    let proved = prove(&mut source, store.as_ref(), &keyring, args.quick, &progress)
        .map_err(|error| failed(&doing, &error))?;
    drop(meter);
    let report = json!({
        "schema": "maas-mirror/verify-bundle/1",
        "bundle": place.to_string(),
        "intact": true,
        "proved": proved,
    });
    if let Some(path) = &args.report {
        write_report(path, &report)?;
    }
    output.json(&report);
    show_proved(&proved, output);
    Ok(Exit::Done)
}

fn show_proved(proved: &Proved, output: &Output) {
    output.line(&format!(
        "snapshot {}: {} signed, {}",
        proved.snapshot.short(),
        count(proved.metadata.len(), "metadata file"),
        count(proved.items, "item"),
    ));
    if let Some(part) = proved.part.as_ref().filter(|part| part.count > 1) {
        let cut = count(proved.ranges, "range");
        output.line(&format!(
            "part {} of {}, {cut} of files that are cut: 'import' checks these when they are whole",
            part.number, part.count,
        ));
    }
    if proved.without_base {
        output
            .line("a delta, and its base is not in the store: what only that has was not checked");
    }
    let how = if proved.quick { "not read" } else { "read" };
    output.line(&format!("{}, {}, {how}", count(proved.here, "blob"), bytes(proved.bytes)));
    output.line(if proved.quick {
        "every signature holds"
    } else {
        "intact: every signature and digest holds"
    });
}

fn write_report<T: Serialize>(path: &Path, report: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    let written = std::fs::write(path, text + "\n");
    written.map_err(|error| Failure::new(format!("cannot write {}", path.display()), error))
}

fn show(report: &Report, output: &Output) {
    for snapshot in &report.snapshots {
        let state = if snapshot.current { "current" } else { "kept" };
        output.line(&format!(
            "snapshot {} ({state}): {} signed, {}",
            snapshot.digest.short(),
            count(snapshot.metadata.len(), "metadata file"),
            count(snapshot.items, "item"),
        ));
    }
    for problem in &report.problems {
        output.line(&format!("  NOT RIGHT: {}: {}", problem.subject, problem.detail));
    }
    let how = if report.quick { "compared by length" } else { "read again" };
    output.line(&format!("{}, {}, {how}", count(report.blobs, "blob"), bytes(report.bytes)));
    let removable = &report.removable;
    if removable.partials + removable.unreferenced_blobs > 0 {
        output.line(&format!(
            "{} and {} that no snapshot needs, {}: 'prune' removes them when they are old",
            count(removable.partials, "unfinished download"),
            count(removable.unreferenced_blobs, "blob"),
            bytes(removable.partial_bytes + removable.unreferenced_bytes),
        ));
    }
    output.line(match (report.intact, report.snapshots.is_empty()) {
        (true, true) => "intact, and empty: there is no snapshot yet",
        (true, false) => "intact: every signature and digest holds",
        (false, _) => {
            "NOT INTACT: see the lines above; 'verify --repair' and 'sync' mend damaged content"
        }
    });
}
