//! `maas-mirror verify`.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{ProgressMode, VerifyArgs};
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count};
use crate::signature::Keyring;
use crate::store::Store;
use crate::verify::{Options, Report, repair, verify};

pub(super) fn run(args: &VerifyArgs, output: &Output) -> Result<Exit, Failure> {
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
    let bar = bar(output);
    let report = verify(&store, &keyring, Options { quick: args.quick }, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| Failure::store(doing(), &error))?;
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let written = std::fs::write(path, text + "\n");
        written.map_err(|error| Failure::new(format!("cannot write {}", path.display()), error))?;
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

fn bar(output: &Output) -> ProgressBar {
    let shown = output.progress() == ProgressMode::Auto && std::io::stderr().is_terminal();
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12} {eta:>4} left  {wide_bar}",
    );
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
