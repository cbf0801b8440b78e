//! `maas-mirror prune`.

use serde_json::json;

use super::args::PruneArgs;
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count};
use crate::store::{PruneOptions, Store};

pub(super) fn run(args: &PruneArgs, output: &Output) -> Result<Exit, Failure> {
    let root = &args.store.store;
    let options = PruneOptions { grace: args.grace, dry_run: args.dry_run };
    let removed = Store::open(root)
        .and_then(|store| store.writer("maas-mirror prune"))
        .and_then(|writer| writer.prune(options, jiff::Timestamp::now()))
        .map_err(|error| Failure::store(format!("cannot prune {}", root.display()), &error))?;
    output.json(&json!({
        "schema": "maas-mirror/prune/1",
        "dry_run": args.dry_run,
        "removed": removed,
    }));
    output.confirm(&format!(
        "{} {}, {} and {}, {}",
        if args.dry_run { "would remove" } else { "removed" },
        count(removed.snapshots.len(), "snapshot"),
        count(removed.blobs, "blob"),
        count(removed.partials, "unfinished download"),
        bytes(removed.bytes),
    ));
    Ok(Exit::Done)
}
