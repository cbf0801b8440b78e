//! `maas-mirror status`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::args::StoreArgs;
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count};
use crate::bundle::Pending;
use crate::signature::Signer;
use crate::simplestreams::Digest;
use crate::store::{Holder, LastSync, Outcome, Snapshot, SnapshotRef, Store, StoreError};
use crate::sync::remembered;
use crate::total;

struct Status {
    snapshots: Vec<SnapshotRef>,
    current: Option<Snapshot>,
    last_sync: Option<LastSync>,
    holder: Option<Holder>,
    partials: usize,
    partial_bytes: u64,
    free: u64,
    keys: Vec<Signer>,
}

pub(super) fn run(args: &StoreArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = || format!("cannot read the store {}", args.store.display());
    let store = Store::open(&args.store).map_err(|error| Failure::store(doing(), &error))?;
    let status = read(&store).map_err(|error| Failure::store(doing(), &error))?;
    show_json(&store, &status, output);
    show_text(&store, &status, output);
    Ok(Exit::Done)
}

fn read(store: &Store) -> Result<Status, StoreError> {
    let partials = store.partials()?;
    Ok(Status {
        snapshots: store.snapshots()?,
        current: store.current()?,
        last_sync: store.last_sync(),
        holder: store.lock_holder()?,
        partials: partials.len(),
        partial_bytes: total(partials.values().copied()),
        free: store.free_bytes()?,
        keys: remembered(store).signers(),
    })
}

/// Distinct paths and the bytes of distinct contents.
fn totals(snapshot: &Snapshot) -> (usize, u64) {
    let items = snapshot.content.versions.values().flatten();
    let paths: std::collections::BTreeSet<_> = items.clone().map(|file| &file.path).collect();
    let contents: std::collections::BTreeMap<Digest, u64> =
        items.map(|file| (file.digest, file.size)).collect();
    (paths.len(), total(contents.values().copied()))
}

fn show_json(store: &Store, status: &Status, output: &Output) {
    let current = status.current.as_ref().map(|snapshot| {
        let (items, bytes) = totals(snapshot);
        let updated: std::collections::BTreeMap<_, _> =
            snapshot.content.updated.iter().map(|(id, time)| (id, time.to_string())).collect();
        json!({ "digest": snapshot.digest, "items": items, "bytes": bytes, "updated": updated })
    });
    output.json(&json!({
        "schema": "maas-mirror/status/1",
        "store": store.root().display().to_string(),
        "current": current,
        "snapshots": status.snapshots,
        "last_sync": status.last_sync,
        "locked_by": status.holder,
        "partials": status.partials,
        "partial_bytes": status.partial_bytes,
        "free_bytes": status.free,
        "imports": Pending::of(store),
        "keys": status.keys.iter().map(key).collect::<Value>(),
    }));
}

/// A key that signed the metadata, as it was when that was judged.
fn key(signer: &Signer) -> Value {
    json!({
        "fingerprint": signer.fingerprint,
        "user_id": signer.user_id,
        "expires": signer.expires.and_then(day).map(|time| time.to_string()),
    })
}

fn day(time: SystemTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::try_from(time).ok()
}

fn show_text(store: &Store, status: &Status, output: &Output) {
    output.line(&format!("store      {}, {} free", store.root().display(), bytes(status.free)));
    match &status.current {
        None => output.line("snapshot   none yet"),
        Some(snapshot) => {
            let (items, size) = totals(snapshot);
            let published = status.snapshots.iter().find(|listed| listed.current);
            let published = published.and_then(|listed| listed.published.as_deref());
            output.line(&format!(
                "snapshot   {}, published {}, {}, {}",
                snapshot.digest.short(),
                published.unwrap_or("at an unknown time"),
                count(items, "item"),
                bytes(size),
            ));
            for (id, time) in &snapshot.content.updated {
                output.line(&format!("           {id} of {time}"));
            }
        }
    }
    for kept in status.snapshots.iter().filter(|snapshot| !snapshot.current) {
        let since = kept.superseded.as_deref().unwrap_or("an unknown time");
        output.line(&format!("           {} kept, replaced {since}", kept.digest.short()));
    }
    match &status.last_sync {
        None => output.line("last sync  none yet"),
        Some(last) => {
            let outcome = match &last.outcome {
                Outcome::Published => "published a new snapshot".to_owned(),
                Outcome::Unchanged => "found nothing new".to_owned(),
                Outcome::Failed(reason) => format!("FAILED: {reason}"),
            };
            output.line(&format!("last sync  {}, {outcome}", last.finished));
            output.line(&format!("           from {} ({})", last.upstream, last.selection));
            if let (Outcome::Failed(_), Some(succeeded)) = (&last.outcome, &last.succeeded) {
                output.line(&format!("           last success {succeeded}"));
            }
        }
    }
    for key in status.keys.iter() {
        if let Some(expires) = key.expires.and_then(day) {
            output.line(&format!("key        {} expires {expires}", key.fingerprint));
        }
    }
    if status.partials > 0 {
        let partials = count(status.partials, "unfinished download");
        output.line(&format!("unfinished {partials}, {}", bytes(status.partial_bytes)));
    }
    for import in Pending::of(store) {
        let missing: Vec<_> = import.missing().iter().map(ToString::to_string).collect();
        output.line(&format!(
            "import     {} of {} parts of bundle {} came; still to come: {}",
            import.came.len(),
            import.count,
            import.set.short(),
            missing.join(", "),
        ));
    }
    if let Some(holder) = &status.holder {
        output.line(&format!("locked by  {holder}"));
    }
}
