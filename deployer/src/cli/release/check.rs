//! `maas-deployer check`.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::args::duration;
use super::super::failure::{Exit, Failure};
use super::super::job::interrupted;
use super::super::output::{Output, printable};
use super::super::release_args::ReleaseArgs;
use super::super::shared_args::{ProgressArgs, ProgressMode};
use super::args::{ClusterArgs, KeepArgs, SourceArgs};
use super::{by, candidate, progress};
use crate::apply::{ApplyError, Current};
use crate::check::{Check, Checking, Names, Options, Report, Status, without_cluster};
use crate::cluster::{Cluster, ClusterError};
use crate::counted::counted;
use crate::release::{self, Release, Store, StoreError, Stored};

/// How long probes are given to go after an interruption.
const CLEAN: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Check what an installation or upgrade with these values needs, before it
    #[arg(long)]
    pre: bool,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(
    next_help_heading = "How it is done",
    mut_arg("progress", |progress| progress.help("auto: a bar on a terminal, else nothing; plain: lines; none"))
)]
struct HowArgs {
    /// Make no pods that look from inside the cluster: nothing is written to it
    #[arg(long)]
    no_pods: bool,
    /// With --pre: look from pods at the network of the nodes that racks go to
    #[arg(long, requires = "pre", conflicts_with = "no_pods")]
    probe_nodes: bool,
    /// How long one of these pods may take, such as 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    progress: ProgressArgs,
}

impl HowArgs {
    fn options(&self) -> Options {
        Options { pods: !self.no_pods, nodes: self.probe_nodes, limit: self.timeout }
    }

    /// Whoever reads a log wants the report, not how it came.
    fn progress(&self) -> ProgressMode {
        let is_terminal = std::io::stderr().is_terminal();
        match self.progress.progress {
            ProgressMode::Auto if !is_terminal => ProgressMode::None,
            mode => mode,
        }
    }
}

pub(in crate::cli) fn check(args: &CheckArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot check {}", args.release.release);
    if !args.pre && args.source.values.is_given() {
        return Err(Failure::usage(&doing, "values are of what is to be installed")
            .with_hint("with --pre they are checked; without it, what is installed is"));
    }
    super::run(&doing, async || run(args, &doing, output).await)
}

async fn run(args: &CheckArgs, doing: &str, output: &Output) -> Result<Exit, Failure> {
    let cluster = match connected(args).await {
        Ok(cluster) => cluster,
        Err(error) => {
            // Values that are wrong are told all the same.
            args.source.values.load()?;
            let report = without_cluster(&error, args.pre);
            return Ok(show(args, &names(args, None), &report, output));
        }
    };
    let names = names(args, Some(&cluster));
    let checking = Checking::new(&cluster, &names, args.how.options());
    let progress = progress::of(args.how.progress(), output);
    let work = async {
        let found = last(&cluster, &names, args.pre).await;
        let unread = |error| Failure::apply("cannot read the release's record", &error);
        let (last, deployed) = found.map_err(unread)?;
        if !args.pre {
            return Ok(checking.present(last.as_ref(), &*progress).await);
        }
        let candidate = match &last {
            Some(last) if last.release.info.status != release::Status::Uninstalled => {
                let current = Current { last: last.release.clone(), deployed };
                candidate::after(&current, &args.source, &args.keep, &names.namespace)?
            }
            _ => candidate::first(&args.source, &names.release, &names.namespace)?,
        };
        Ok::<_, Failure>(checking.pre(&candidate, last.as_ref(), &*progress).await)
    };
    let ended = tokio::select! {
        ended = Box::pin(work) => Ok(ended),
        exit = interrupted() => Err(exit),
    };
    progress.close();
    clean(&checking, output).await;
    let report = match ended {
        Ok(report) => report?.map_err(|error| Failure::apply(doing, &error))?,
        Err(exit) => {
            output.error("interrupted: what was made to look from inside the cluster is removed");
            return Ok(exit);
        }
    };
    Ok(show(args, &names, &report, output))
}

fn names(args: &CheckArgs, cluster: Option<&Cluster>) -> Names {
    let namespace = super::namespace(&args.cluster, &args.release, cluster);
    Names { release: args.release.release.clone(), namespace }
}

async fn connected(args: &CheckArgs) -> Result<Cluster, ClusterError> {
    let cluster = Cluster::connect_to(args.cluster.kube_context.as_deref()).await?;
    cluster.greet().await?;
    Ok(cluster)
}

/// The newest revision, and the one that is deployed where that is another. Before an
/// installation, an account that may not read Secrets learns that from the report.
async fn last(
    cluster: &Cluster,
    names: &Names,
    is_pre: bool,
) -> Result<(Option<Stored>, Option<Release>), ApplyError> {
    let store = Store::new(cluster.clone(), &names.namespace, &names.release, by());
    let looked = async {
        let keys = store.keys().await?;
        let last = store.last(&keys).await?;
        let deployed = match &last {
            Some(last) if last.release.info.status != release::Status::Deployed => {
                store.deployed(&keys).await?.map(|stored| stored.release)
            }
            _ => None,
        };
        Ok::<_, StoreError>((last, deployed))
    };
    match looked.await {
        Ok(found) => Ok(found),
        Err(StoreError::Cluster(error)) if is_pre && error.code() == Some(403) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

/// What is found wrong with an installation where nothing may be made on the cluster: for
/// people, and for programs.
pub(super) async fn from_outside(
    cluster: &Cluster,
    names: &Names,
) -> Result<(String, Value), ApplyError> {
    let options = Options { pods: false, nodes: false, limit: Duration::ZERO };
    let (last, _) = last(cluster, names, false).await?;
    let report = Checking::new(cluster, names, options).present(last.as_ref(), &()).await?;
    Ok((text(&report, false, false), described(names, false, &report)))
}

/// What cannot be removed now goes by itself, minutes later.
async fn clean(checking: &Checking<'_>, output: &Output) {
    let left = tokio::time::timeout(CLEAN, checking.clean()).await.unwrap_or_default();
    for what in left {
        output
            .error(&format!("warning: the {what} could not be removed; the cluster does it soon"));
    }
}

fn described(names: &Names, is_pre: bool, report: &Report) -> Value {
    json!({
        "schema": "maas-deployer/check/1",
        "release": names.release,
        "namespace": names.namespace,
        "pre": is_pre,
        "ok": report.is_ok(),
        "groups": report.to_json(),
    })
}

fn show(args: &CheckArgs, names: &Names, report: &Report, output: &Output) -> Exit {
    output.json(&described(names, args.pre, report));
    let is_terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    output.data(&text(report, is_terminal, output.is_quiet()));
    match (report.is_ok(), args.pre) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Refused,
        (false, false) => Exit::Error,
    }
}

/// A line a check, below its group; hints below what they are about. `only_bad` leaves out what
/// passed.
fn text(report: &Report, is_coloured: bool, only_bad: bool) -> String {
    let all = report.groups.iter().flat_map(|group| &group.checks);
    let width = all.map(|check| check.id.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for group in &report.groups {
        let is_shown = |check: &&Check| !only_bad || check.status > Status::Skipped;
        let mut checks = group.checks.iter().filter(is_shown).peekable();
        if checks.peek().is_some() {
            lines.push(group.title.to_owned());
        }
        for check in checks {
            lines.extend(lines_of(check, width, is_coloured));
        }
    }
    lines.push(summary(report));
    lines.push(String::new());
    lines.join("\n")
}

fn lines_of(check: &Check, width: usize, is_coloured: bool) -> Vec<String> {
    let (mark, colour) = match check.status {
        Status::Pass => ("ok", "32"),
        Status::Skipped => ("skip", "2"),
        Status::Warn => ("warn", "33"),
        Status::Fail => ("FAIL", "31;1"),
    };
    let padded = format!("{mark:<4}");
    let mark = if is_coloured { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded };
    let why = if check.why.is_empty() { String::new() } else { format!(": {}", check.why) };
    let said = format!("{}{why}", check.what);
    let said = printable(&said).replace('\n', " ");
    let mut lines = vec![format!("  {mark}  {:<width$}  {said}", check.id)];
    let indent = " ".repeat(width + 10);
    let hints = check.hint.iter().flat_map(|hint| hint.lines().collect::<Vec<_>>());
    lines.extend(hints.enumerate().map(|(number, hint)| {
        let head = if number == 0 { "hint: " } else { "      " };
        format!("{indent}{head}{}", printable(hint))
    }));
    lines
}

fn summary(report: &Report) -> String {
    let count = |status| report.count(status);
    let all: usize = report.groups.iter().map(|group| group.checks.len()).sum();
    format!(
        "{}: {} ok, {}, {} failed, {} skipped",
        counted(all, "check"),
        count(Status::Pass),
        counted(count(Status::Warn), "warning"),
        count(Status::Fail),
        count(Status::Skipped),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Group;

    fn report() -> Report {
        let nodes = vec![
            Check::pass("nodes.ready", "1 of 1 node ready"),
            Check::fail("nodes.rack", "StatefulSet maas-rack", "no node takes it\nat all")
                .hint("kubectl label node a b=c\nor set it"),
        ];
        Report {
            groups: vec![
                Group::new("nodes", "Nodes", nodes),
                Group::new(
                    "images",
                    "Images",
                    vec![Check::skip("images.pull", "images", "--no-pods")],
                ),
            ],
        }
    }

    #[test]
    fn a_line_a_check_with_its_hint_below() {
        let wanted = "\
Nodes
  ok    nodes.ready  1 of 1 node ready
  FAIL  nodes.rack   StatefulSet maas-rack: no node takes it at all
                     hint: kubectl label node a b=c
                           or set it
Images
  skip  images.pull  images: --no-pods
3 checks: 1 ok, 0 warnings, 1 failed, 1 skipped
";
        assert_eq!(text(&report(), false, false), wanted);
        assert!(text(&report(), true, false).contains("\x1b[31;1mFAIL\x1b[0m"));
    }

    #[test]
    fn quiet_it_says_only_what_is_wrong() {
        let quiet = text(&report(), false, true);
        assert!(!quiet.contains("nodes.ready") && !quiet.contains("Images"), "{quiet}");
        assert!(quiet.contains("nodes.rack"));
    }

    #[test]
    fn what_servers_say_cannot_steer_a_terminal() {
        let check = Check::fail("a", "b", "\u{1b}[2Jgone");
        assert!(!lines_of(&check, 1, false)[0].contains('\u{1b}'));
    }
}
