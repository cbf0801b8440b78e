//! `maas-mirror inspect`.

use serde_json::json;

use super::bundle::failed;
use super::bundle_args::InspectArgs;
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count};
use crate::bundle::{Summary, inspect};
use crate::store::Store;

pub(super) fn run(args: &InspectArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot inspect {}", args.bundle);
    // A delta may leave out what only its base has.
    let store = Store::open(&args.store.store).ok();
    let mut source = args.bundle.open(&doing)?;
    let summary = inspect(&mut source, store.as_ref()).map_err(|error| failed(&doing, &error))?;
    show(&summary, args.files, output);
    output.json(&json!({
        "schema": "maas-mirror/inspect/1",
        "bundle": args.bundle.to_string(),
        "snapshot": summary.snapshot,
        "updated": summary.updated,
        "part": summary.part,
        "item_count": summary.items,
        "bytes": summary.bytes,
        "items_here": summary.here,
        "bytes_here": summary.bytes_here,
        "without_base": summary.without_base,
        "metadata": summary.metadata,
        "versions": summary.versions,
    }));
    Ok(Exit::Done)
}

fn show(summary: &Summary, files: bool, output: &Output) {
    let least = if summary.without_base { "at least " } else { "" };
    output.line(&format!(
        "snapshot  {}, {least}{}, {}",
        summary.snapshot.short(),
        count(summary.items, "item"),
        bytes(summary.bytes),
    ));
    for (id, time) in &summary.updated {
        output.line(&format!("          {id} of {time}"));
    }
    if let Some(part) = &summary.part {
        if part.count > 1 {
            let (number, all, set) = (part.number, part.count, part.set.short());
            output.line(&format!("part      {number} of {all} of bundle {set}"));
        }
        if let Some(base) = &part.base {
            let made = base.updated.as_ref().map_or_else(String::new, |t| format!(" of {t}"));
            output
                .line(&format!("base      {}{made}: needed to import this", base.digest.to_oci()));
        }
        let here = format!("{}, {}", count(summary.here, "file"), bytes(summary.bytes_here));
        output.line(&format!("in it     {here}"));
    }
    for version in &summary.versions {
        output.line(&format!(
            "{:>12}  {} {}",
            bytes(version.bytes),
            version.product,
            version.version
        ));
        for file in version.files.iter().filter(|_| files) {
            output.line(&format!("{:>12}    {}  {}", bytes(file.size), file.digest, file.path));
        }
    }
    output.line("not verified: 'verify BUNDLE' checks every signature and digest");
}
