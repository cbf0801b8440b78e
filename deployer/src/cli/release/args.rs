//! Options of the verbs on a release.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::super::args::duration;
use super::super::failure::Failure;
use super::super::release_args::{NamespaceArgs, ReleaseArgs, ValuesArgs, release_name};
use super::super::shared_args::{OverwriteArgs, ProgressArgs};
use super::colour::When;
use super::status::SHORTEST;
use crate::apply::{Options, Phase};
use crate::duration::DurationError;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(in crate::cli) struct ClusterArgs {
    /// A context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "CONTEXT", env = "MAAS_DEPLOYER_KUBE_CONTEXT")]
    pub(super) kube_context: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SourceArgs {
    #[command(flatten)]
    pub(super) values: ValuesArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Values")]
pub(in crate::cli) struct KeepArgs {
    /// Put the values that are given over those of the revision that is deployed
    #[arg(long, conflicts_with = "reset_values")]
    pub(super) reuse_values: bool,
    /// Take only the values that are given [default: so, unless none are given: then those of the revision that is deployed]
    #[arg(long)]
    pub(super) reset_values: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How it is done")]
pub(in crate::cli) struct ChangeArgs {
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Return when the objects are applied, without waiting for them
    #[arg(long)]
    no_wait: bool,
    /// How long it may take in all, such as 90s, 15m or 2h; importing images may take hours
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    timeout: Duration,
    /// Go on where a run before was killed and left the release pending
    #[arg(long)]
    recover: bool,
    /// Take fields that other programs own
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

/// How far a run goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it is done")]
pub(in crate::cli) struct PhaseArgs {
    /// Stop when this phase is over; the same command without it goes on
    #[arg(long, value_name = "PHASE", value_parser = PossibleValuesParser::new(Phase::ALL.map(Phase::word)).try_map(|word| Phase::of_word(&word).ok_or("no phase")))]
    pub(super) phase: Option<Phase>,
}

impl ChangeArgs {
    pub(super) fn options(&self, create_namespace: bool) -> Options {
        Options {
            wait: !self.no_wait,
            timeout: self.timeout,
            dry_run: self.dry_run,
            force_conflicts: self.force_conflicts,
            recover: self.recover,
            create_namespace,
            phase: None,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InstallArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Make the namespace where it is not there
    #[arg(long)]
    pub(super) create_namespace: bool,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) until: PhaseArgs,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpgradeArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Install the release where it is not there
    #[arg(long)]
    pub(super) install: bool,
    /// With --install: make the namespace where it is not there
    #[arg(long, requires = "install")]
    pub(super) create_namespace: bool,
    #[command(flatten)]
    pub(super) keep: KeepArgs,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) until: PhaseArgs,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Exit with 2 where an upgrade would change or record anything
    #[arg(long)]
    pub(super) detailed_exitcode: bool,
    /// How many lines are shown around what differs
    #[arg(long = "context", value_name = "LINES", default_value = "3")]
    pub(super) context_lines: usize,
    /// auto: colours on a terminal, unless the variable `NO_COLOR` is set; always; never
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(super) color: When,
    #[command(flatten)]
    pub(super) keep: KeepArgs,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Look again and again: the screen anew on a terminal, else a line when something changes
    #[arg(short, long)]
    pub(super) watch: bool,
    /// With --watch: the pause between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub(super) interval: Duration,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SupportArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// The archive, `-` for standard output [default: maas-support-NAMESPACE-RELEASE-TIME.tar.gz]
    #[arg(short = 'O', long = "out", value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overwrite: OverwriteArgs,
    /// How many lines of each log
    #[arg(long, value_name = "LINES", default_value = "5000")]
    pub(super) log_lines: u32,
    /// How large it may be before it is packed, in MiB
    #[arg(long, value_name = "MIB", default_value = "200", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(super) max_size: u64,
    /// How long it may take in all, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Take logs and texts also where the Secrets cannot be read that are to be struck out of them
    #[arg(long)]
    pub(super) unstruck: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

fn interval(text: &str) -> Result<Duration, DurationError> {
    Ok(duration(text)?.max(SHORTEST))
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The release [default: maas], and the revision to go back to
    #[arg(value_name = "[RELEASE] REVISION", num_args = 1..=2, required = true)]
    which: Vec<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

impl RollbackArgs {
    /// Which release, and which revision.
    pub(super) fn which(&self) -> Result<(ReleaseArgs, u32), Failure> {
        let (release, revision) = match self.which.as_slice() {
            [release, revision] => (release.clone(), revision),
            [revision] => ("maas".to_owned(), revision),
            _ => ("maas".to_owned(), &String::new()),
        };
        let release = release_name(&release).map_err(|reason| {
            Failure::usage("cannot roll back", format!("'{release}': {reason}"))
        })?;
        let number = revision.parse().ok().filter(|number| *number > 0);
        let target = ReleaseArgs::new(release, self.namespace.clone());
        number.map(|number| (target, number)).ok_or_else(|| {
            let reason = format!("'{revision}' is no revision: it is a number from 1");
            Failure::usage("cannot roll back", reason).with_hint("maas-deployer history lists them")
        })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UninstallArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Also delete the volumes and the Secrets with the passwords of what is on them
    #[arg(long)]
    pub(super) purge_data: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Say what would be deleted and kept, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Go on where a revision was never finished: only where no other run is at it any more
    #[arg(long)]
    pub(super) recover: bool,
    /// How long it may take in all, such as 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RollbackArgs,
    }

    #[test]
    fn a_rollback_takes_the_names_that_other_verbs_take() {
        let line = |args: &[&str]| Line::try_parse_from([&["rollback"], args].concat());
        let which = |args: &[&str]| line(args).expect("arguments").args.which();
        let (release, revision) = which(&["metal", "3"]).expect("both");
        assert_eq!((release.release.as_str(), revision), ("metal", 3));
        assert_eq!(which(&["2"]).expect("revision").0.release, "maas");
        for bad in [&["Metal", "3"][..], &["metal", "0"], &["metal"]] {
            assert!(which(bad).is_err(), "{bad:?}");
        }
        assert!(line(&["-n", "Not_one", "3"]).is_err());
    }
}
