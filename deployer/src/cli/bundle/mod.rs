//! `maas-deployer bundle`: made, loaded into a registry, looked at, unpacked.

mod args;
mod hints;
mod progress;

use std::future::Future;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use serde_json::{Value, json};

pub(super) use args::BundleArgs;
use args::{BundleVerb, InspectArgs, MakeArgs, PushArgs, UnpackArgs};

use super::failure::{Exit, Failure};
use super::job::interrupted;
use super::output::Output;
use super::target;
use crate::bundle::find::Finder;
use crate::bundle::list::{FileKind, List};
use crate::bundle::pack::{PlainFile, Plan};
use crate::bundle::push::{Outcome, Push};
use crate::bundle::read::Bundle;
use crate::bundle::unpack::unpack;
use crate::bundle::{BundleError, Event, Observer, wanted};
use crate::counted::{are, counted};
use crate::render::{ReleaseInfo, render};

pub(super) fn run(args: &BundleArgs, output: &Output) -> Result<Exit, Failure> {
    match &args.verb {
        None => make(&args.make, output),
        Some(BundleVerb::Push(args)) => push(args, output),
        Some(BundleVerb::Inspect(args)) => inspect(args, output),
        Some(BundleVerb::Unpack(args)) => unpacked(args, output),
    }
}

impl Failure {
    /// A bundle cannot be made, read or loaded.
    fn bundle(doing: &str, error: &BundleError) -> Self {
        Self::new(doing, error)
            .with_exit(hints::exit(error))
            .with_details(hints::details(error))
            .with_hint(hints::hint(error))
    }
}

/// Runs `work` until it is done or a signal comes; `after` is what is said then.
fn until_signal<T>(
    doing: &str,
    after: &str,
    output: &Output,
    work: impl Future<Output = Result<T, BundleError>>,
) -> Result<Result<T, Exit>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(doing, &error))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            result = Box::pin(work) => result.map(Ok),
            exit = interrupted() => Ok(Err(exit)),
        }
    });
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    if let Ok(Err(_)) = &ended {
        output.error(&format!("interrupted: {after}"));
    }
    ended.map_err(|error| Failure::bundle(doing, &error))
}

fn make(args: &MakeArgs, output: &Output) -> Result<Exit, Failure> {
    // clap asks for it where no other verb is given.
    let path = args.file.clone().unwrap_or_default();
    let doing = format!("cannot make the bundle {}", path.display());
    if !args.dry_run {
        target::check(&doing, &path, args.overwrite.force, hints::NO_FILE)?;
    }
    let values = args.values.load()?;
    let release = ReleaseInfo::install("maas", "maas");
    let rendered = render(&values, &release).map_err(|error| Failure::render(&error))?;
    let wanted = wanted::of(&rendered, values.merged());
    let wanted = wanted.map_err(|error| Failure::bundle(&doing, &error))?;
    let progress = progress::of(args.progress.progress, output);
    let ended = until_signal(&doing, "nothing of the bundle is left", output, async {
        let options = args.network.options();
        let files = files(args)?;
        let finder = Finder::new(&wanted, &args.from_archive, &args.arch, &options)?;
        progress.event(&Event::Begun("looking for the images"));
        let plan = Plan::new(finder.find(&wanted, &*progress).await?, &files)?;
        warn(&plan.list, &*progress);
        let digest = match args.dry_run {
            true => None,
            false => Some(plan.write(&path, &options, &*progress).await?),
        };
        Ok((plan, digest))
    });
    drop(progress);
    let (plan, digest) = match ended? {
        Ok(done) => done,
        Err(exit) => return Ok(exit),
    };
    let (list, bytes) = (&plan.list, plan.size());
    let mut report = report(list);
    if let Value::Object(report) = &mut report {
        report.insert("file".to_owned(), json!(path));
        report.insert("bytes".to_owned(), json!(bytes));
        report.insert("sha256".to_owned(), json!(digest.map(|digest| digest.to_string())));
        report.insert("dry_run".to_owned(), json!(args.dry_run));
    }
    output.json(&report);
    show(list, output);
    let path = path.display();
    output.confirm(&match digest {
        Some(digest) => format!("made {path}, {}, sha256 {digest}", DecimalBytes(bytes)),
        None => format!("{path} would have {}; nothing was written", DecimalBytes(bytes)),
    });
    Ok(Exit::Done)
}

/// This program, and the files that are named.
fn files(args: &MakeArgs) -> Result<Vec<PlainFile>, BundleError> {
    let mut files = Vec::new();
    if !args.no_program {
        let path = std::env::current_exe().map_err(|source| BundleError::Io {
            doing: "find",
            path: PathBuf::from("this program"),
            source,
        })?;
        let (kind, name) = (FileKind::Program, "maas-deployer".to_owned());
        files.push(PlainFile { kind, name, path });
    }
    for path in &args.binary {
        files.push(PlainFile::new(FileKind::Program, path)?);
    }
    for path in &args.mirror_bundle {
        files.push(PlainFile::mirror_bundle(path)?);
    }
    Ok(files)
}

/// Says which images `--registry` will not rename.
fn warn(list: &List, progress: &dyn Observer) {
    for image in list.images.iter().filter(|image| !image.renamed) {
        progress.event(&Event::Warning(&format!(
            "{} is of an object that the values hold whole: --registry does not change that name, \
             so name it there as REGISTRY/{}",
            image.image, image.name
        )));
    }
}

fn push(args: &PushArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot push the bundle {}", args.bundle.file.display());
    let bundle = open(&doing, &args.bundle.file)?;
    let progress = progress::of(args.progress.progress, output);
    let options = args.network.options();
    let push = Push {
        bundle: &bundle,
        destination: &args.registry,
        options: &options,
        parallel: args.parallel.into(),
        is_dry: args.dry_run,
    };
    let after = "what was sent stays; run the same command again to go on";
    let ended = until_signal(&doing, after, output, push.run(&*progress));
    drop(progress);
    let outcome = match ended? {
        Ok(outcome) => outcome,
        Err(exit) => return Ok(exit),
    };
    pushed(&doing, args, &outcome, output)
}

fn pushed(
    doing: &str,
    args: &PushArgs,
    outcome: &Outcome,
    output: &Output,
) -> Result<Exit, Failure> {
    let Outcome { pushed, failed } = outcome;
    let would = if args.dry_run { "would send" } else { "sent" };
    for one in pushed {
        let what = match (one.changed, one.sent) {
            (false, _) => "there already".to_owned(),
            (true, sent) => format!("{would} {}", progress::amount(sent, one.sent_bytes)),
        };
        output.confirm(&format!("{}: {what}", one.name));
    }
    let exit =
        failed.iter().map(|(_, error)| hints::exit(error)).find(|it| *it == Exit::Unverified);
    let exit = match (exit, pushed.is_empty()) {
        (Some(unverified), _) => unverified,
        (None, true) => Exit::Error,
        (None, false) => Exit::Partial,
    };
    if let Some((_, first)) = failed.first() {
        let all = pushed.len() + failed.len();
        let (count, all) = (failed.len(), counted(all, "image"));
        let reason = format!("{count} of {all} {} not there", are(count));
        // What failed of an image names it, mostly.
        let line = |(name, error): &(String, BundleError)| match crate::chain(error) {
            text if text.contains(name) => text,
            text => format!("{name}: {text}"),
        };
        return Err(Failure::message(doing, reason)
            .with_exit(exit)
            .with_details(failed.iter().map(line).collect())
            .with_hint(hints::hint(first)));
    }
    output.json(&json!({
        "schema": "maas-deployer/bundle-push/1",
        "dry_run": args.dry_run,
        "images": pushed,
    }));
    Ok(Exit::Done)
}

fn inspect(args: &InspectArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot read the bundle {}", args.bundle.file.display());
    let bundle = open(&doing, &args.bundle.file)?;
    let mut report = report(&bundle.list);
    if args.verify {
        let damaged = bundle.damaged(&|_| {}).map_err(|error| Failure::bundle(&doing, &error))?;
        if !damaged.is_empty() {
            let reason = format!("{} of its files are not what their digests say", damaged.len());
            let hint = "copy the bundle again and compare its sha256 with the one that was printed when it was made";
            return Err(Failure::message(doing, reason)
                .with_exit(Exit::Unverified)
                .with_details(damaged.iter().map(|digest| format!("{digest:?}")).collect())
                .with_hint(hint));
        }
    }
    if let Value::Object(report) = &mut report {
        report.insert("verified".to_owned(), json!(args.verify));
    }
    output.json(&report);
    show(&bundle.list, output);
    if args.verify {
        output.confirm("every digest holds");
    }
    Ok(Exit::Done)
}

fn unpacked(args: &UnpackArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot unpack the bundle {}", args.bundle.file.display());
    let bundle = open(&doing, &args.bundle.file)?;
    let after = "what is there is whole; run the same command again to go on";
    let ended = until_signal(&doing, after, output, unpack(&bundle, &args.folder));
    let written = match ended? {
        Ok(written) => written,
        Err(exit) => return Ok(exit),
    };
    output.json(&json!({"schema": "maas-deployer/bundle-unpack/1", "files": written}));
    for path in written {
        output.confirm(&format!("wrote {}", path.display()));
    }
    Ok(Exit::Done)
}

fn open(doing: &str, path: &Path) -> Result<Bundle, Failure> {
    Bundle::open(path).map_err(|error| Failure::bundle(doing, &error))
}

fn report(list: &List) -> Value {
    serde_json::to_value(list).unwrap_or_default()
}

fn show(list: &List, output: &Output) {
    for image in &list.images {
        let platforms = match image.platforms.is_empty() {
            true => String::new(),
            false => format!(", {}", image.platforms.join(", ")),
        };
        let bytes = DecimalBytes(image.bytes);
        output.data_line(&format!("image {}: {bytes}{platforms}, {:?}", image.name, image.digest));
    }
    let chart = &list.chart;
    let bytes = DecimalBytes(chart.bytes);
    output.data_line(&format!("chart {}: {bytes}, {:?}", chart.name, chart.digest));
    for file in &list.files {
        let (kind, bytes) = (file.kind.name(), DecimalBytes(file.bytes));
        output.data_line(&format!("{kind} {}: {bytes}, {:?}", file.name, file.digest));
    }
}
