//! `maas-mirror list`.

use std::collections::BTreeSet;

use serde_json::json;

use super::args::ListArgs;
use super::failure::{Exit, Failure};
use super::output::{Output, bytes};
use crate::simplestreams::Digest;
use crate::store::{FileRef, Snapshot, Store, StoreError};
use crate::total;

pub(super) fn run(args: &ListArgs, output: &Output) -> Result<Exit, Failure> {
    let root = &args.store.store;
    let doing = || format!("cannot list {}", root.display());
    let store = Store::open(root).map_err(|error| Failure::store(doing(), &error))?;
    let current = store.current().map_err(|error| Failure::store(doing(), &error))?;
    let Some(snapshot) = current else {
        return Err(Failure::store(doing(), &StoreError::NoSnapshot("current".into()))
            .hint("run 'maas-mirror sync' first"));
    };
    show_json(&snapshot, output);
    if args.files {
        show_files(&snapshot, output);
    } else {
        show_versions(&snapshot, output);
    }
    Ok(Exit::Done)
}

fn show_json(snapshot: &Snapshot, output: &Output) {
    let file = |file: &FileRef| json!({ "path": file.path, "size": file.size, "sha256": file.digest.to_string() });
    let versions = snapshot.content.versions.iter().map(|(key, files)| {
        let files: Vec<_> = files.iter().map(file).collect();
        json!({ "product": key.product, "version": key.version, "files": files })
    });
    output.json(&json!({
        "schema": "maas-mirror/list/1",
        "snapshot": snapshot.digest,
        "metadata": snapshot.content.metadata.iter().map(file).collect::<Vec<_>>(),
        "versions": versions.collect::<Vec<_>>(),
    }));
}

/// A row for each product version. Content that versions share counts in
/// each, and once in the sum.
fn show_versions(snapshot: &Snapshot, output: &Output) {
    let versions = &snapshot.content.versions;
    let width = versions.keys().map(|key| key.product.len()).max().unwrap_or(0).max(7);
    output.line(&format!("{:width$}  {:12}  {:>5}  {:>12}", "PRODUCT", "VERSION", "FILES", "SIZE"));
    for (key, files) in versions {
        let size = total(files.iter().map(|file| file.size));
        let (product, version) = (&key.product, &key.version);
        let row =
            format!("{product:width$}  {version:12}  {:>5}  {:>12}", files.len(), bytes(size));
        output.line(&row);
    }
    let distinct: BTreeSet<(Digest, u64)> =
        versions.values().flatten().map(|file| (file.digest, file.size)).collect();
    let all = total(distinct.iter().map(|(_, size)| *size));
    output.line(&format!("{} in all, shared content counted once", bytes(all)));
}

fn show_files(snapshot: &Snapshot, output: &Output) {
    for file in snapshot.content.by_path().into_values() {
        output.line(&format!("{}  {:>12}  {}", file.digest, file.size, file.path));
    }
}
