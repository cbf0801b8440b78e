//! Verbs on a release: install, upgrade, rollback, uninstall, history, check, diff, status,
//! support-bundle.

mod args;
mod candidate;
mod check;
mod colour;
mod diff;
mod hints;
mod history;
mod progress;
mod status;
mod status_json;
mod status_mirror;
mod status_text;
mod support;
mod uninstall;

use std::future::Future;

use serde_json::{Value, json};

pub(super) use args::{
    DiffArgs, HistoryArgs, InstallArgs, RollbackArgs, StatusArgs, SupportArgs, UninstallArgs,
    UpgradeArgs,
};
pub(super) use check::{CheckArgs, check};
pub(super) use hints::{details, exit, hint};

use self::args::{ChangeArgs, ClusterArgs};
use super::failure::{Exit, Failure};
use super::job::interrupted;
use super::output::Output;
use super::release_args::ReleaseArgs;
use crate::apply::{ApplyError, Change, Current, Done, Operation, Options, Phase};
use crate::cluster::Cluster;
use crate::counted::{are, counted};
use crate::release::{Candidate, Holder};

/// What is done, with its own arguments.
enum Work {
    Install(Box<Candidate>),
    Upgrade(Box<Candidate>),
    Rollback(u32),
}

impl Work {
    /// The verb, and what has been done.
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Install(_) => ("install", "installed"),
            Self::Upgrade(_) => ("upgrade", "upgraded"),
            Self::Rollback(_) => ("rollback", "rolled back"),
        }
    }
}

pub(super) fn install(args: &InstallArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot install {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        let name = &args.release.release;
        let candidate = candidate::first(&args.source, name, &namespace)?;
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        let phase = args.until.phase;
        let options = Options { phase, ..args.change.options(args.create_namespace) };
        context.change(Work::Install(Box::new(candidate)), &args.change, options).await
    })
}

pub(super) fn upgrade(args: &UpgradeArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot upgrade {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        let name = &args.release.release;
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        let phase = args.until.phase;
        let options = Options { phase, ..args.change.options(args.create_namespace) };
        let work = match context.current(options).await? {
            None if args.install => {
                let candidate = candidate::first(&args.source, name, &namespace)?;
                Work::Install(Box::new(candidate))
            }
            None => {
                let (name, namespace) = (name.clone(), namespace.clone());
                return Err(Failure::apply(&doing, &ApplyError::Absent { name, namespace }));
            }
            Some(current) => {
                let candidate = candidate::after(&current, &args.source, &args.keep, &namespace)?;
                if candidate::is_reused(&args.source, &args.keep) {
                    context.tell_values(&current);
                }
                Work::Upgrade(Box::new(candidate))
            }
        };
        context.change(work, &args.change, options).await
    })
}

pub(super) fn rollback(args: &RollbackArgs, output: &Output) -> Result<Exit, Failure> {
    let (release, revision) = args.which()?;
    let doing = format!("cannot roll {} back to revision {revision}", release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &release).await?;
        let name = &release.release;
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        context.change(Work::Rollback(revision), &args.change, args.change.options(false)).await
    })
}

pub(super) fn uninstall(args: &UninstallArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot uninstall {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        uninstall::run(args, &cluster, &namespace, &doing, output).await
    })
}

pub(super) fn history(args: &HistoryArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot list the revisions of {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        history::run(&args.release.release, &cluster, &namespace, &doing, output).await
    })
}

pub(super) fn diff(args: &DiffArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot say what would change of {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        let name = &args.release.release;
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        tokio::select! {
            result = Box::pin(context.diff(args)) => result,
            exit = interrupted() => Ok(exit),
        }
    })
}

pub(super) fn status(args: &StatusArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot say how {} stands", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        let (name, cluster) = (&args.release.release, cluster.impatient());
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        context.status(args).await
    })
}

pub(super) fn support(args: &SupportArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = format!("cannot gather what there is of {}", args.release.release);
    run(&doing, async || {
        let (cluster, namespace) = connect(&doing, &args.cluster, &args.release).await?;
        let (name, cluster) = (&args.release.release, cluster.impatient());
        let context =
            Context { cluster: &cluster, namespace: &namespace, name, doing: &doing, output };
        context.support(args).await
    })
}

/// Runs a verb on a runtime of its own.
fn run<F: Future<Output = Result<Exit, Failure>>>(
    doing: &str,
    work: impl FnOnce() -> F,
) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(doing, &error))?;
    let ended = runtime.block_on(Box::pin(work()));
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// The cluster, and the namespace that is meant.
async fn connect(
    doing: &str,
    args: &ClusterArgs,
    release: &ReleaseArgs,
) -> Result<(Cluster, String), Failure> {
    let cluster = Cluster::connect_to(args.kube_context.as_deref())
        .await
        .map_err(|error| Failure::apply(doing, &error.into()))?;
    // Whoever waits for a cluster that is not there learns it at once; later it
    // may go away for a while.
    cluster.greet().await.map_err(|error| Failure::apply(doing, &error.into()))?;
    let namespace = namespace(args, release, Some(&cluster));
    Ok((cluster.persistent(), namespace))
}

/// The namespace that is meant; of another context than the current one, the cluster knows it.
fn namespace(args: &ClusterArgs, release: &ReleaseArgs, cluster: Option<&Cluster>) -> String {
    match (release.named_namespace(), &args.kube_context, cluster) {
        (None, Some(_), Some(cluster)) => cluster.namespace().to_owned(),
        _ => release.namespace(),
    }
}

/// Who runs this: `root@host, process 123`, and what no other run has.
fn by() -> Holder {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("user {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Holder::new(format!("{user}@{host}, process {}", std::process::id()))
}

/// One operation, from the command line's side.
#[derive(Clone, Copy)]
struct Context<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: &'a str,
    doing: &'a str,
    output: &'a Output,
}

impl Context<'_> {
    async fn current(&self, options: Options) -> Result<Option<Current>, Failure> {
        let operation = Operation::new(self.cluster, self.name, self.namespace, by(), options, &());
        operation.current().await.map_err(|error| self.failure(&error))
    }

    /// Says whose values are kept, where that is not the newest revision.
    fn tell_values(&self, current: &Current) {
        if let Some(deployed) = &current.deployed {
            let (last, status) = (current.last.version, current.last.info.status.text());
            self.output.note(&format!(
                "revision {last} is {status}: the values that are kept are those of revision {}, which is deployed",
                deployed.version
            ));
        }
    }

    /// Does it, until it is done or a signal comes; then its record is closed.
    async fn change(
        &self,
        work: Work,
        args: &ChangeArgs,
        options: Options,
    ) -> Result<Exit, Failure> {
        let progress = progress::of(args.progress.progress, self.output);
        let operation =
            Operation::new(self.cluster, self.name, self.namespace, by(), options, &*progress);
        let result = tokio::select! {
            result = Box::pin(perform(&operation, &work)) => result,
            exit = interrupted() => {
                progress.close();
                return Ok(self.closed(&operation, exit).await);
            }
        };
        progress.close();
        match result {
            Ok(done) => {
                self.show(&work, &done, options);
                Ok(Exit::Done)
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn failure(&self, error: &ApplyError) -> Failure {
        Failure::apply(self.doing, error)
    }

    async fn closed(&self, operation: &Operation<'_>, exit: Exit) -> Exit {
        let bound = std::time::Duration::from_secs(10);
        let closed = tokio::time::timeout(bound, operation.interrupted()).await;
        let state = match closed {
            Ok(Ok(Some(revision))) => format!("revision {revision} is marked as failed; "),
            Ok(Ok(None)) => String::new(),
            Ok(Err(_)) | Err(_) => {
                "the cluster did not answer, so the next run needs --recover; ".to_owned()
            }
        };
        self.output.error(&format!("interrupted: {state}run the same command again to go on"));
        exit
    }

    fn show(&self, work: &Work, done: &Done, options: Options) {
        self.output.json(&self.told(work, done, options));
        if options.dry_run {
            self.show_planned(done);
        } else if done.is_recorded {
            self.show_done(work, done);
        } else {
            let (name, revision) = (self.name, done.revision);
            self.output.confirm(&format!(
                "{name}: nothing to change; revision {revision} is what is there"
            ));
        }
        self.show_later(done, options);
        let is_whole = !options.dry_run && done.is_recorded && done.later == 0;
        if is_whole && matches!(work, Work::Install(_)) && !done.notes.trim().is_empty() {
            self.output.confirm(&format!("\n{}", done.notes.trim()));
        }
    }

    /// The same, for programs.
    fn told(&self, work: &Work, done: &Done, options: Options) -> Value {
        json!({
            "schema": "maas-deployer/release/1",
            "verb": work.words().0,
            "release": self.name,
            "namespace": self.namespace,
            "revision": done.revision,
            "recorded": done.is_recorded,
            "dry_run": options.dry_run,
            "waited": options.wait && done.is_recorded,
            "phase": options.phase.map(Phase::word),
            "left_to_a_later_run": done.later,
            "changes": done.changes.iter().map(change_json).collect::<Vec<_>>(),
            "kept": done.kept,
        })
    }

    fn show_planned(&self, done: &Done) {
        for change in &done.changes {
            self.output.confirm(&format!("would {} the {}", change.action.name(), change.what));
        }
        let count = counted(done.changes.len(), "object");
        self.output.confirm(&format!("{count} would change; nothing was changed"));
    }

    fn show_done(&self, work: &Work, done: &Done) {
        for kept in &done.kept {
            self.output.confirm(&format!("left the {kept}, which says that it is to be kept"));
        }
        let (name, namespace) = (self.name, self.namespace);
        let (past, part) = (work.words().1, if done.later > 0 { "a part of " } else { "" });
        let (revision, count) = (done.revision, counted(done.changes.len(), "object"));
        self.output.confirm(&format!(
            "{past} {part}{name} in {namespace}: revision {revision}, {count} changed"
        ));
    }

    /// What `--phase` left.
    fn show_later(&self, done: &Done, options: Options) {
        if let Some(phase) = options.phase.filter(|_| done.later > 0) {
            self.output.confirm(&format!(
                "{} of the phases after {} {} left; the same command without --phase goes on",
                counted(done.later, "object"),
                phase.word(),
                are(done.later)
            ));
        }
    }
}

async fn perform(operation: &Operation<'_>, work: &Work) -> Result<Done, ApplyError> {
    match work {
        Work::Install(candidate) => operation.install(candidate).await,
        Work::Upgrade(candidate) => operation.upgrade(candidate).await,
        Work::Rollback(revision) => operation.rollback(*revision).await,
    }
}

fn change_json(change: &Change) -> Value {
    json!({"action": change.action.name(), "object": change.what})
}
