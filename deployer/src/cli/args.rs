//! Verbs and their options.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::bundle::BundleArgs;
use super::release::{
    CheckArgs, DiffArgs, HistoryArgs, InstallArgs, RollbackArgs, StatusArgs, SupportArgs,
    UninstallArgs, UpgradeArgs,
};
use super::release_args::{ReleaseArgs, ValuesArgs};
pub(super) use crate::duration::parse as duration;
use crate::jobs::wait_for::Target;
use crate::ports::Port;

/// Installs MAAS on Kubernetes; in the cluster, runs the jobs of the chart.
#[derive(Debug, Parser)]
#[command(
    name = "maas-deployer",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 error, 2 changes found (diff --detailed-exitcode), 3 some images failed, 4 a digest does not hold, 5 refused before starting, 6 locked, 64 usage, 130 and 143 \
        interrupted."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Under a heading of their own: clap would list them among the verb's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(super) struct Global {
    /// Form of what is printed on stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORM",
        env = "MAAS_DEPLOYER_OUTPUT"
    )]
    pub(super) output: Format,
    /// Print errors and warnings only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Form of the log on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORM",
        env = "MAAS_DEPLOYER_LOG_FORMAT"
    )]
    pub(super) log_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // Not doc comments: with those, clap gives each value a line of --help.
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say what an install or upgrade would change, against what is on the cluster
    Diff(DiffArgs),
    /// Install a release, and wait until it works
    Install(InstallArgs),
    /// Upgrade a release, and wait until it works; where nothing changed, nothing is written
    Upgrade(UpgradeArgs),
    /// Go back to an earlier revision of a release
    Rollback(RollbackArgs),
    /// Delete a release; volumes and their Secrets stay
    Uninstall(UninstallArgs),
    /// List the revisions of a release
    History(HistoryArgs),
    /// Check that an installation would work, before it; or that one works
    Check(CheckArgs),
    /// Say how a release stands: phases, pods, mirror, MAAS, certificates
    Status(StatusArgs),
    /// Gather what somebody needs who is to help in one archive, and no secret
    SupportBundle(SupportArgs),
    /// Print the manifests that an installation applies
    Template(TemplateArgs),
    /// Print the values, the chart's own and those given
    Values(ShowValuesArgs),
    /// List the container images of an installation
    Images(ImagesArgs),
    /// Put all that an installation needs into one file, for a site without internet
    Bundle(BundleArgs),
    /// Run a job of the chart, in the cluster
    Job(JobArgs),
}

#[derive(Debug, Args)]
pub(super) struct TemplateArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Only what this template renders to, such as templates/region.yaml
    #[arg(short = 's', long, value_name = "TEMPLATE")]
    pub(super) show_only: Vec<String>,
    #[command(flatten)]
    pub(super) values: ValuesArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowValuesArgs {
    /// Print each value on a line, with the file or option that set it; secrets are hidden
    #[arg(long)]
    pub(super) origin: bool,
    #[command(flatten)]
    pub(super) values: ValuesArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImagesArgs {
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Form of the list: one a line, or as skopeo sync, Hauler or Zarf read it
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    pub(super) format: ImageFormat,
    #[command(flatten)]
    pub(super) values: ValuesArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ImageFormat {
    Text,
    Skopeo,
    Hauler,
    Zarf,
}

#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// Settings, JSON [default: the variable `MAAS_DEPLOYER_SETTINGS`, then settings.json beside the program]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    /// How long to wait for one thing, such as 90s, 15m or 2h [default: by job]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    /// How often a call of MAAS is tried again that failed for a reason that may pass
    #[arg(long, global = true, value_name = "N", default_value = "6")]
    pub(super) retries: u32,
    #[command(subcommand)]
    pub(super) job: Job,
}

#[derive(Debug, Subcommand)]
pub(super) enum Job {
    /// Copy this program and its settings to a folder
    InstallSelf {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Make the Secrets that are not there, check the others
    Secrets,
    /// Before an upgrade: remove Jobs of before that must not go on; stop the regions where MAAS's version changes
    Quiesce {
        /// The Jobs that the upgrade brings: of these, those under way go on
        #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
        coming: Vec<String>,
    },
    /// Wait until something is there
    Wait {
        /// database, database-admin, schema, shared-secret, api, mirror, job/NAME, tcp/HOST:PORT
        #[arg(value_name = "TARGET", required = true)]
        targets: Vec<Target>,
    },
    /// Make MAAS's role and database
    DbInit,
    /// Bring the database's schema to this image's version of MAAS
    DbSync,
    /// Put the shared secret of regions and racks into the database
    SeedSecret,
    /// Make MAAS's administrator
    CreateAdmin,
    /// Have MAAS serve its API over TLS
    EnableTls,
    /// Have MAAS serve its API without TLS
    DisableTls,
    /// Write the administrator's API key to its Secret
    ExportApiKey,
    /// Set MAAS's settings, boot source and selections
    Configure,
    /// Import the boot images, to completion, and make them the defaults
    ImportImages,
    /// Write MAAS's configuration of its database
    RegionConf {
        /// The file [default: /etc/maas-deployer/region/regiond.conf]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Register this rack with the region
    RegisterRack {
        /// The folder of the rack's state
        #[arg(long, value_name = "DIR", default_value = "/var/lib/maas", hide = true)]
        state: PathBuf,
        /// The rack's configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/maas/rackd.conf", hide = true)]
        configuration: PathBuf,
    },
    /// Tell whether a region or a rack is well
    Probe {
        /// Of what; without it, whether systemd answers
        #[arg(value_name = "WHAT", value_enum, required_unless_present = "live")]
        subject: Option<ProbeSubject>,
        /// Whether it lives, rather than whether it is ready
        #[arg(long)]
        live: bool,
        /// The region's URL
        #[arg(long, value_name = "URL", hide = true)]
        url: Option<String>,
    },
    /// Check an installation: key, racks, images, mirror
    Test,
    /// Look at the database: version, TLS, encoding, MAAS's role; nothing is changed
    CheckDatabase,
    /// Say which ports of this network are taken
    CheckPorts {
        /// udp/67, tcp/5248
        #[arg(value_name = "PORT", required = true)]
        ports: Vec<Port>,
        /// The tables of Linux
        #[arg(long, value_name = "DIR", default_value = "/proc/net", hide = true)]
        tables: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProbeSubject {
    Region,
    Rack,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wait_takes_its_options_on_either_side() {
        let cli = Cli::try_parse_from([
            "maas-deployer",
            "job",
            "wait",
            "--timeout",
            "15m",
            "database",
            "schema",
        ])
        .unwrap();
        let Verb::Job(args) = cli.verb else { panic!("{:?}", cli.verb) };
        assert_eq!(args.timeout, Some(Duration::from_secs(900)));
        let Job::Wait { targets } = args.job else { panic!("{:?}", args.job) };
        assert_eq!(targets, [Target::Database, Target::Schema]);
    }
}
