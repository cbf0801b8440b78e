//! `maas-mirror import`.

use std::collections::BTreeSet;

use serde_json::json;

use super::bundle::{Place, failed};
use super::bundle_args::ImportArgs;
use super::failure::{Exit, Failure};
use super::meter::Meter;
use super::output::{Output, bytes, count};
use crate::bundle::{BundleError, Import, Imported, Options, Pending, State};
use crate::signature::Keyring;
use crate::store::{Store, Writer};
use crate::sync::Limits;

pub(super) fn run(args: &ImportArgs, output: &Output) -> Result<Exit, Failure> {
    if let [Place::Registry(reference)] = args.bundles.as_slice() {
        return super::registry::import(reference, args, output);
    }
    let root = &args.store.store;
    let doing = || format!("cannot import to {}", root.display());
    let mut places = Vec::new();
    for place in &args.bundles {
        places.extend(place.expand()?);
    }
    let keyring = Keyring::from_files(&args.keyring.keyring)
        .map_err(|error| Failure::keyring(&error))?
        .allow_expired(args.keyring.allow_expired_key);
    keyring.keys().map_err(|error| Failure::keyring(&error))?;
    let failed = |error| Failure::store(doing(), &error);
    let store = Store::open_or_create(root).map_err(failed)?;
    let writer = store.writer("maas-mirror import").map_err(failed)?;
    let options = Options {
        allow_older: args.fetch.allow_older,
        grace: args.fetch.grace,
        limits: Limits::default(),
    };
    let done = take_all(&places, &writer, &keyring, options, output)?;
    let complete = complete(&done, &store);
    show(&done, complete, output);
    warn_of_mixture(&done, output);
    Ok(if complete { Exit::Done } else { Exit::Partial })
}

/// Whether every bundle of this run is whole by now: of those that came in
/// parts, the last part to come tells.
fn complete(done: &[(Place, Imported)], store: &Store) -> bool {
    let pending: BTreeSet<_> = Pending::of(store).iter().map(|pending| pending.set).collect();
    done.iter().enumerate().all(|(at, (_, imported))| match &imported.state {
        State::Published | State::Unchanged => true,
        State::Waiting { set, .. } => !pending.contains(set),
        State::MissingBase { .. } | State::Lost => done.iter().skip(at).any(|(_, later)| {
            let whole = matches!(later.state, State::Published | State::Unchanged);
            whole && later.snapshot == imported.snapshot
        }),
    })
}

/// Takes each bundle; one whose base comes later in the list, after the
/// others.
fn take_all(
    places: &[Place],
    writer: &Writer,
    keyring: &Keyring,
    options: Options,
    output: &Output,
) -> Result<Vec<(Place, Imported)>, Failure> {
    let import = Import { writer, keyring, options };
    let mut queue = places.to_vec();
    let mut done = Vec::new();
    while !queue.is_empty() {
        let mut later = Vec::new();
        let before = queue.len();
        for place in queue {
            let doing = format!("cannot import {place}");
            let mut source = place.open(&doing)?;
            let meter = Meter::new(output, "imported");
            let taken = import.take(&mut source, &|done, total| meter.at(done, total));
            drop(meter);
            match taken {
                Ok(imported) => {
                    said(&place, &imported, output);
                    done.push((place, imported));
                }
                // A stream cannot be read twice.
                Err(BundleError::MissingBase { .. }) if before > 1 && place != Place::Standard => {
                    later.push(place);
                }
                Err(error) => return Err(failed(&doing, &error)),
            }
        }
        if later.len() == before {
            let place = later.remove(0);
            let doing = format!("cannot import {place}");
            let mut source = place.open(&doing)?;
            let error = import.take(&mut source, &|_, _| {}).err();
            return Err(error.map_or_else(
                || Failure::message(&doing, "the store changed meanwhile"),
                |error| failed(&doing, &error),
            ));
        }
        queue = later;
    }
    Ok(done)
}

/// One line for each bundle.
fn said(place: &Place, imported: &Imported, output: &Output) {
    let Imported { snapshot, items, added_bytes, .. } = imported;
    let snapshot = snapshot.short();
    let added = bytes(*added_bytes);
    let held = format!("{}, {}", count(*items, "item"), bytes(imported.bytes));
    let line = match &imported.state {
        State::Published => {
            format!("published snapshot {snapshot}: {held} ({added} from {place})")
        }
        State::Unchanged => format!("already imported: snapshot {snapshot} is current, {held}"),
        State::Waiting { set, count: all, missing } => {
            let list: Vec<_> = missing.iter().map(ToString::to_string).collect();
            format!(
                "{place}: {added} added; {} of {all} parts of bundle {} still to come: {}",
                missing.len(),
                set.short(),
                list.join(", "),
            )
        }
        State::MissingBase { base } => {
            let made = base.updated.as_ref();
            let made =
                made.map_or_else(String::new, |time| format!(" (made of metadata of {time})"));
            format!("{place}: {added} added; missing base {}{made}", base.digest.to_oci())
        }
        State::Lost => {
            format!("{place}: {added} added; what other parts brought is gone: import them again")
        }
    };
    output.confirm(&line);
    if let Some(reason) = &imported.not_collected {
        output.error(&format!(
            "warning: old snapshots could not be removed: {reason}; 'verify' tells more"
        ));
    }
}

/// Says so where parts of different bundles were mixed up.
fn warn_of_mixture(done: &[(Place, Imported)], output: &Output) {
    let sets: BTreeSet<_> = done
        .iter()
        .filter_map(|(_, imported)| match &imported.state {
            State::Waiting { set, .. } => Some(*set),
            _ => None,
        })
        .collect();
    if sets.len() > 1 {
        output.error(&format!("warning: these are parts of {} different bundles", sets.len()));
    }
}

fn show(done: &[(Place, Imported)], complete: bool, output: &Output) {
    let whole = |imported: &Imported| matches!(imported.state, State::Published | State::Unchanged);
    let current = done.iter().rfind(|(_, imported)| whole(imported));
    let bundles: Vec<_> = done
        .iter()
        .map(|(place, imported)| {
            json!({
                "bundle": place.to_string(),
                "snapshot": imported.snapshot,
                "state": imported.state,
                "item_count": imported.items,
                "bytes": imported.bytes,
                "added_items": imported.added,
                "added_bytes": imported.added_bytes,
                "removed": imported.collected,
            })
        })
        .collect();
    output.json(&json!({
        "schema": "maas-mirror/import/1",
        "complete": complete,
        "snapshot": current.map(|(_, imported)| imported.snapshot),
        "bundles": bundles,
    }));
}
