//! `maas-mirror export`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::args::ExportArgs;
use super::bundle::{Place, failed};
use super::failure::{Exit, Failure};
use super::meter::Meter;
use super::output::{Output, bytes, count};
use crate::bundle::{Chosen, Exported, Plan, StoreItems, Target, export, since};
use crate::signature::Keyring;
use crate::store::Store;

pub(super) fn run(args: &ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let Some(place) = &args.target else {
        return Ok(Exit::Usage);
    };
    if let Place::Registry(reference) = place {
        return super::registry::export(reference, args, output);
    }
    let target = target(place, args)?;
    let root = &args.store.store;
    let doing = format!("cannot export {} to {place}", root.display());
    let fail = |error| failed(&doing, &error);
    let store = Store::open(root).map_err(|error| Failure::store(doing.clone(), &error))?;
    let chosen = choose(args, &store, &doing)?;
    let held = match &args.since {
        Some(text) => Some(
            since(Some(&store), text)
                .map_err(|error| failed(&format!("cannot use --since {text}"), &error))?,
        ),
        None => None,
    };
    let Chosen { content, description, metadata } = chosen;
    let plan = Plan::new(&content, &description, metadata, held, args.split).map_err(fail)?;
    let started = Instant::now();
    let meter = Meter::new(output, "exported");
    let progress = |done, total| meter.at(done, total);
    let exported =
        export(plan, &mut StoreItems(&store), &target, args.overwrite, &progress).map_err(fail)?;
    drop(meter);
    show(&exported, started.elapsed().as_secs_f64(), output);
    Ok(Exit::Done)
}

/// What of the store is exported.
pub(super) fn choose(args: &ExportArgs, store: &Store, doing: &str) -> Result<Chosen, Failure> {
    let fail = |error| failed(doing, &error);
    let Some(selection) = args.selection.given() else {
        return Chosen::current(store).map_err(fail);
    };
    let keyring = Keyring::from_files(&args.keyring.keyring)
        .map_err(|error| Failure::keyring(&error))?
        .allow_expired(args.keyring.allow_expired_key);
    Chosen::selected(store, &keyring, &selection).map_err(fail)
}

/// Where the bundle goes. A name that ends in `/`, or a folder that is there,
/// is the folder of a layout.
fn target(place: &Place, args: &ExportArgs) -> Result<Target, Failure> {
    let doing = format!("cannot export to {place}");
    let usage = |reason: &str, hint: &str| {
        Failure::message(doing.clone(), reason).hint(hint).exit(Exit::Usage)
    };
    let target = match place {
        Place::Standard if std::io::stdout().is_terminal() => {
            return Err(usage(
                "standard output is a terminal",
                "name a file, or send it through a pipe",
            ));
        }
        Place::Standard => Target::Stdout,
        Place::Registry(_) => return Err(usage("it is a registry", "name a file")),
        Place::Path(path)
            if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") =>
        {
            Target::Folder(path.components().collect::<PathBuf>())
        }
        Place::Path(path) => Target::File(path.clone()),
    };
    if args.split.is_some() && !matches!(target, Target::File(_)) {
        return Err(usage("only a file is split into parts", "name a file such as bundle.tar"));
    }
    Ok(target)
}

fn show(exported: &Exported, seconds: f64, output: &Output) {
    let Exported { snapshot, base, set, files, items, bytes: size } = exported;
    for file in files {
        let path =
            file.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        match file.sha256 {
            Some(digest) => output.line(&format!("{digest}  {path}")),
            None => output.line(&path),
        }
    }
    let since =
        base.as_ref().map_or_else(String::new, |base| format!(" since {}", base.digest.short()));
    output.confirm(&format!(
        "exported snapshot {}{since}: {}, {} in {} ({seconds:.1} s)",
        snapshot.short(),
        count(*items, "item"),
        bytes(*size),
        count(files.len(), "file"),
    ));
    output.json(&json!({
        "schema": "maas-mirror/export/1",
        "snapshot": snapshot,
        "base": base,
        "set": set,
        "files": files,
        "item_count": items,
        "bytes": size,
        "seconds": seconds,
    }));
}
