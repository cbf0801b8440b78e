//! `maas-mirror export`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bundle::{Place, failed};
use super::bundle_args::ExportArgs;
use super::failure::{Exit, Failure};
use super::meter::Meter;
use super::output::{Output, bytes, count};
use super::progress;
use crate::bundle::{
    Chosen, Exported, Items, Plan, StoreItems, Target, Tree, TreeOptions, UpstreamItems, export,
    since, temporaries, tree,
};
use crate::signature::Keyring;
use crate::store::Store;
use crate::sync::{Limits, Options, Sync};
use crate::upstream::Address;

pub(super) fn run(args: &ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let root = &args.store.store;
    let place = match (&args.target, &args.tree) {
        (Some(place), _) => place.to_string(),
        (None, Some(tree)) => tree.display().to_string(),
        (None, None) => return Ok(Exit::Usage),
    };
    let doing = format!("cannot export {} to {place}", root.display());
    let open = || Store::open(root).map_err(|error| Failure::store(doing.clone(), &error));
    if let Some(Place::Registry(reference)) = &args.target {
        return super::registry::export(reference, args, output);
    }
    if let Some(place) = &args.target {
        let target = target(place, args)?;
        if let Some(address) = &args.from {
            let doing = format!("cannot export {address} to {place}");
            return from_upstream(args, address, &target, &doing, output);
        }
        let store = open()?;
        let chosen = choose(args, &store, &doing)?;
        let mut items = StoreItems(&store);
        bundle(args, Some(&store), chosen, &mut items, (&target, &doing), output)
    } else {
        let store = open()?;
        let chosen = choose(args, &store, &doing)?;
        plain_tree(args, &store, &chosen, &doing, output)
    }
}

/// All that the store holds, or what was chosen of it.
pub(super) fn choose(args: &ExportArgs, store: &Store, doing: &str) -> Result<Chosen, Failure> {
    let chosen = match args.selection.given() {
        None => Chosen::current(store),
        Some(selection) => {
            let keyring = Keyring::from_files(&args.keyring.keyring)
                .map_err(|error| Failure::keyring(&error))?
                .allow_expired(args.keyring.allow_expired_key);
            Chosen::selected(store, &keyring, &selection)
        }
    };
    chosen.map_err(|error| failed(doing, &error))
}

fn plain_tree(
    args: &ExportArgs,
    store: &Store,
    chosen: &Chosen,
    doing: &str,
    output: &Output,
) -> Result<Exit, Failure> {
    let root = args.tree.as_deref().unwrap_or(Path::new("."));
    let options = TreeOptions { copy: args.copy, delete: args.delete };
    let meter = Meter::new(output, "exported");
    let progress = |done, total| meter.at(done, total);
    let made = tree(store, &chosen.content, root, options, &progress);
    drop(meter);
    let made = made.map_err(|error| failed(doing, &error))?;
    let Tree { unchanged, reflinked, linked, copied, removed, stale, .. } = made;
    output.confirm(&format!(
        "exported snapshot {} as a tree: {unchanged} unchanged, {reflinked} reflinked, {linked} hard-linked, {copied} copied, {removed} removed",
        chosen.description.digest().short(),
    ));
    if stale > 0 {
        output
            .confirm(&format!("{} no longer listed: --delete removes them", count(stale, "file")));
    }
    output.json(&json!({
        "schema": "maas-mirror/export-tree/1",
        "snapshot": chosen.description.digest(),
        "tree": root.display().to_string(),
        "files": made,
    }));
    Ok(Exit::Done)
}

/// Exports what an upstream has now; no store is kept.
fn from_upstream(
    args: &ExportArgs,
    address: &Address,
    target: &Target,
    doing: &str,
    output: &Output,
) -> Result<Exit, Failure> {
    let keyring =
        Keyring::from_files(&args.keyring.keyring).map_err(|error| Failure::keyring(&error))?;
    let upstream = super::sync::connect(address, &args.network)?;
    let sync = Sync {
        upstream: upstream.clone(),
        keyring: Arc::new(keyring.allow_expired(args.keyring.allow_expired_key)),
        options: Options {
            selection: super::sync::selection_from(address, &args.selection),
            parallel: 1,
            grace: Duration::ZERO,
            limits: Limits::default(),
            allow_older: false,
        },
    };
    let runtime = super::runtime()?;
    let observer = progress::notices(output);
    let survey = runtime.block_on(sync.survey(observer.as_ref()));
    let survey = survey.map_err(|error| Failure::sync(doing, &error))?;
    let chosen = Chosen::surveyed(survey).map_err(|error| failed(doing, &error))?;
    let folder = match target {
        Target::File(path) => path.parent().filter(|p| !p.as_os_str().is_empty()),
        Target::Folder(path) => Some(path.as_path()),
        Target::Stdout => None,
    };
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let mut items = UpstreamItems::new(upstream, runtime.handle().clone(), observer, folder);
    // Where --since names a snapshot, it is the default store's.
    let store = Store::open(&args.store.store).ok();
    bundle(args, store.as_ref(), chosen, &mut items, (target, doing), output)
}

fn bundle(
    args: &ExportArgs,
    store: Option<&Store>,
    chosen: Chosen,
    items: &mut dyn Items,
    (target, doing): (&Target, &str),
    output: &Output,
) -> Result<Exit, Failure> {
    let fail = |error| failed(doing, &error);
    let held = match &args.since {
        Some(text) => Some(
            since(store, text)
                .map_err(|error| failed(&format!("cannot use --since {text}"), &error))?,
        ),
        None => None,
    };
    let Chosen { content, description, metadata } = chosen;
    let plan = Plan::new(&content, &description, metadata, held, args.split).map_err(fail)?;
    remove_when_interrupted(temporaries(&plan, target))?;
    let started = Instant::now();
    let meter = Meter::new(output, "exported");
    let progress = |done, total| meter.at(done, total);
    let exported = export(plan, items, target, args.overwrite, &progress).map_err(fail)?;
    drop(meter);
    show(&exported, started.elapsed().as_secs_f64(), output);
    Ok(Exit::Done)
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

/// A signal ends the program as ever, but leaves nothing half written.
fn remove_when_interrupted(files: Vec<PathBuf>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start", error))?;
    std::thread::spawn(move || {
        let exit = runtime.block_on(super::sync::interrupted());
        for file in files {
            // One that was not begun is not there.
            let _ = std::fs::remove_file(file);
        }
        std::process::exit(i32::from(exit.code()));
    });
    Ok(())
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
