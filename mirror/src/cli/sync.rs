//! `maas-mirror sync`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{FetchArgs, KeyringArgs, NetworkArgs, SelectionArgs, SyncArgs};
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count};
use super::progress;
use crate::signature::Keyring;
use crate::simplestreams::Selection;
use crate::store::{Store, StoreError};
use crate::sync::{Limits, Options, Plan, Report, Sync};
use crate::upstream::{self, Address, RetryPolicy, Upstream};

pub(super) fn run(args: &SyncArgs, output: &Output) -> Result<Exit, Failure> {
    let sync = build(&args.upstream, &args.keyring, &args.fetch, &args.selection)?;
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            result = work(args, &sync, output) => Ok(result),
            exit = interrupted() => Err(exit),
        }
    });
    // Threads that write to the store end as soon as their queues do.
    runtime.shutdown_timeout(Duration::from_secs(5));
    match ended {
        Ok(result) => result,
        // Said last: until then threads draw bars, over any other line.
        Err(exit) => {
            output.error("interrupted: what was fetched is kept; run it again to go on");
            Ok(exit)
        }
    }
}

/// The parts of a sync, from the options that `sync` and `serve` share.
pub(super) fn build(
    address: &Address,
    keyring: &KeyringArgs,
    fetch: &FetchArgs,
    selection: &SelectionArgs,
) -> Result<Sync, Failure> {
    let trusted =
        Keyring::from_files(&keyring.keyring).map_err(|error| Failure::keyring(&error))?;
    let upstream = connect(address, &fetch.network)?;
    let selection = selection_from(address, selection);
    let options = Options {
        selection,
        parallel: usize::from(fetch.network.parallel),
        grace: fetch.grace,
        limits: Limits::default(),
        allow_older: fetch.allow_older,
    };
    let keyring = Arc::new(trusted.allow_expired(keyring.allow_expired_key));
    Ok(Sync { upstream, keyring, options })
}

/// How to talk to an upstream or a registry.
pub(super) fn network(args: &NetworkArgs) -> upstream::Options {
    upstream::Options {
        user_agent: upstream::USER_AGENT,
        stall_timeout: args.stall_timeout,
        retry: RetryPolicy { retries: args.retries, ..RetryPolicy::default() },
        ca_files: args.ca_file.clone(),
        plain_http: args.plain_http,
        ..upstream::Options::default()
    }
}

/// The choice among what an upstream has. A registry has what somebody chose
/// before: that is the default there.
pub(super) fn selection_from(address: &Address, args: &SelectionArgs) -> Selection {
    match address.registry() {
        Some(_) => args.selection_of_held(),
        None => args.selection(),
    }
}

/// The client of an upstream.
pub(super) fn connect(address: &Address, args: &NetworkArgs) -> Result<Upstream, Failure> {
    Upstream::new(address.clone(), network(args))
        .map_err(|error| Failure::new(format!("cannot set up the connection to {address}"), error))
}

async fn work(args: &SyncArgs, sync: &Sync, output: &Output) -> Result<Exit, Failure> {
    let (root, address) = (&args.store.store, sync.upstream.address());
    let doing = || format!("cannot mirror {address} to {}", root.display());
    let observer = progress::observer(output);
    if args.dry_run {
        let store = match Store::open(root) {
            Ok(store) => Some(store),
            Err(StoreError::Missing(_)) => None,
            Err(error) => return Err(Failure::store(doing(), &error)),
        };
        let plan = sync.plan(store.as_ref(), observer.as_ref()).await;
        let plan = plan.map_err(|error| Failure::sync(doing(), &error))?;
        show_plan(sync, &plan, output);
        return Ok(Exit::Done);
    }
    let store = Store::open_or_create(root).map_err(|error| Failure::store(doing(), &error))?;
    let started = Instant::now();
    let report = sync.run(&store, "maas-mirror sync", &observer).await;
    drop(observer);
    let report = report.map_err(|error| Failure::sync(doing(), &error))?;
    show_report(sync, &report, started.elapsed(), output);
    Ok(Exit::Done)
}

/// Ends with SIGINT or SIGTERM.
pub(super) async fn interrupted() -> Exit {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then the system's default ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}

fn show_plan(sync: &Sync, plan: &Plan, output: &Output) {
    output.json(&json!({
        "schema": "maas-mirror/sync/1",
        "dry_run": true,
        "upstream": sync.upstream.address().to_string(),
        "selection": sync.options.selection.to_string(),
        "item_count": plan.items.len(),
        "bytes": plan.bytes,
        "held_bytes": plan.held_bytes,
        "fetch_bytes": plan.fetch_bytes(),
        "free_bytes": plan.free,
        "refused": plan.check().err().map(|error| error.to_string()),
        "items": plan.items,
    }));
    for item in &plan.items {
        let state = if item.held { "held " } else { "fetch" };
        output.line(&format!("{state} {:>12}  {}", bytes(item.size), item.path));
    }
    output.line(&summary(plan));
    if let Err(error) = plan.check() {
        output.line(&format!("'sync' would refuse: {error}"));
    }
}

/// `11 items, 449.02 MB: 0 B held, 449.02 MB to fetch, 80 GB free`.
pub(super) fn summary(plan: &Plan) -> String {
    let free = plan.free.map_or_else(String::new, |free| format!(", {} free", bytes(free)));
    let partial = match plan.partial_bytes() {
        0 => String::new(),
        kept => format!(" ({} of it kept from earlier runs)", bytes(kept)),
    };
    format!(
        "{}, {}: {} held, {} to fetch{partial}{free}",
        count(plan.items.len(), "item"),
        bytes(plan.bytes),
        bytes(plan.held_bytes),
        bytes(plan.fetch_bytes().saturating_add(plan.partial_bytes())),
    )
}

fn show_report(sync: &Sync, report: &Report, elapsed: Duration, output: &Output) {
    output.json(&json!({
        "schema": "maas-mirror/sync/1",
        "dry_run": false,
        "upstream": sync.upstream.address().to_string(),
        "selection": sync.options.selection.to_string(),
        "snapshot": report.snapshot,
        "changed": report.changed,
        "item_count": report.items,
        "bytes": report.bytes,
        "fetched_items": report.fetched_items,
        "fetched_bytes": report.fetched_bytes,
        "removed": report.collected,
        "seconds": elapsed.as_secs_f64(),
    }));
    let held = format!("{}, {}", count(report.items, "item"), bytes(report.bytes));
    let snapshot = report.snapshot.short();
    if report.changed {
        let fetched = bytes(report.fetched_bytes);
        let seconds = elapsed.as_secs_f64();
        output.confirm(&format!(
            "published snapshot {snapshot}: {held} ({fetched} fetched in {seconds:.1} s)"
        ));
    } else {
        output.confirm(&format!("nothing new: snapshot {snapshot} is current, {held}"));
    }
    if !report.collected.snapshots.is_empty() {
        let removed = count(report.collected.snapshots.len(), "snapshot");
        output.confirm(&format!(
            "removed {removed} past the grace period, {}",
            bytes(report.collected.bytes)
        ));
    }
}
