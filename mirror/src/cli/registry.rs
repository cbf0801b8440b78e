//! `export` to a registry and `import` from one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{SelectionArgs, SyncArgs};
use super::bundle_args::{ExportArgs, ImportArgs};
use super::export::choose;
use super::failure::{Exit, Failure, fetch_hint, store_hint};
use super::output::{Output, bytes, count};
use super::progress;
use super::sync::{self, interrupted, network};
use crate::bundle::Chosen;
use crate::push::{PushError, Pushed, push};
use crate::store::Store;
use crate::sync::Observer;
use crate::upstream::registry::{Reference, Target};
use crate::upstream::{Address, ConfigError};

/// Puts a snapshot under a tag.
pub(super) fn export(
    reference: &Reference,
    args: &ExportArgs,
    output: &Output,
) -> Result<Exit, Failure> {
    let root = &args.store.store;
    let doing = format!("cannot export {} to {reference}", root.display());
    if args.since.is_some() || args.split.is_some() || args.from.is_some() {
        let reason = "--since, --split and --from are for files: a registry is sent what it lacks of a store";
        return Err(Failure::message(doing, reason).exit(Exit::Usage));
    }
    let store = Store::open(root).map_err(|error| Failure::store(doing.clone(), &error))?;
    let chosen = choose(args, &store, &doing)?;
    let target = Target::new(reference, &network(&args.network)).map_err(|error| match error {
        error @ ConfigError::NoTag(_) => {
            let hint = "name a tag: oci://REGISTRY/NAME:TAG";
            Failure::new(doing.clone(), error).hint(hint).exit(Exit::Usage)
        }
        error => Failure::new(doing.clone(), error),
    })?;
    let parallel = usize::from(args.network.parallel);
    let observer = progress::observer(output);
    let started = Instant::now();
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let pushed = work(&store, &chosen, &target, parallel, &observer);
        tokio::select! {
            result = pushed => Ok(result),
            exit = interrupted() => Err(exit),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(observer);
    match ended {
        Ok(Ok(pushed)) => {
            show(reference, &pushed, started.elapsed(), output);
            Ok(Exit::Done)
        }
        Ok(Err(error)) => Err(failed(doing, &error)),
        Err(exit) => {
            output.error("interrupted: what was sent is kept; run it again to go on");
            Ok(exit)
        }
    }
}

async fn work(
    store: &Store,
    chosen: &Chosen,
    target: &Target,
    parallel: usize,
    observer: &Arc<dyn Observer>,
) -> Result<Pushed, PushError> {
    push(store, &chosen.description, &chosen.content, target, parallel, observer).await
}

/// Takes the snapshot under a tag: a sync from there, once.
pub(super) fn import(
    reference: &Reference,
    args: &ImportArgs,
    output: &Output,
) -> Result<Exit, Failure> {
    let upstream = Address::in_registry(reference.clone())
        .map_err(|error| Failure::new(format!("cannot import {reference}"), error))?;
    let args = SyncArgs {
        store: args.store.clone(),
        upstream,
        keyring: args.keyring.clone(),
        fetch: args.fetch.clone(),
        dry_run: false,
        selection: SelectionArgs::default(),
    };
    sync::run(&args, output)
}

fn failed(doing: String, error: &PushError) -> Failure {
    let (exit, hint) = match error {
        PushError::Registry(error) => (Exit::Error, fetch_hint(error)),
        PushError::Store(error) => (Exit::Error, store_hint(error)),
        PushError::Damaged { .. } => {
            let hint =
                "run 'maas-mirror verify --repair' and 'maas-mirror sync', then export again";
            (Exit::Unverified, Some(hint.to_owned()))
        }
        PushError::Task(_) => (Exit::Error, None),
    };
    let failure = Failure::new(doing, error).exit(exit);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn show(reference: &Reference, pushed: &Pushed, elapsed: Duration, output: &Output) {
    let seconds = elapsed.as_secs_f64();
    output.json(&json!({
        "schema": "maas-mirror/export/1",
        "registry": reference.to_string(),
        "snapshot": pushed.snapshot,
        "changed": pushed.changed,
        "blobs": pushed.blobs,
        "bytes": pushed.bytes,
        "sent_blobs": pushed.sent_blobs,
        "sent_bytes": pushed.sent_bytes,
        "seconds": seconds,
    }));
    let snapshot = pushed.snapshot.short();
    let held = format!("{}, {}", count(pushed.blobs, "file"), bytes(pushed.bytes));
    let sent = bytes(pushed.sent_bytes);
    output.confirm(&if pushed.changed {
        format!("{reference} is snapshot {snapshot}: {held} ({sent} sent in {seconds:.1} s)")
    } else {
        format!("nothing new: {reference} is snapshot {snapshot}, {held} ({sent} sent)")
    });
}
