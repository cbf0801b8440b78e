//! Verbs and their options.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::bundle::Place;
use super::bundle_args::{ExportArgs, ImportArgs, InspectArgs};
use crate::simplestreams::{Filter, MaxVersions, Selection};
use crate::upstream::Address;

/// Mirrors MAAS boot images, verifies every byte, and serves them.
#[derive(Debug, Parser)]
#[command(
    name = "maas-mirror",
    version,
    arg_required_else_help = true,
    after_help = "Every option can also be set in the environment, as MAAS_MIRROR_ and its name in \
        capitals (MAAS_MIRROR_STORE), and in the file given by --config. A flag wins over the \
        environment, the environment over the file.\n\n\
        Exit codes: 0 done, 1 error, 3 some items failed, 4 a signature, digest, size or age does \
        not hold, 5 refused before starting, 6 locked, 64 usage, 130 and 143 interrupted."
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
    #[arg(short, long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub(super) output: Format,
    /// Print errors and warnings only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Form of the log on stderr
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub(super) log_format: Format,
    /// How progress is shown; auto: bars on a terminal, lines elsewhere
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "HOW")]
    pub(super) progress: ProgressMode,
    /// Read defaults from this TOML file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // Not doc comments: with those, clap gives each value a line of --help.
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    Auto,
    Plain,
    None,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Fetch what upstream has new, verify it and publish it
    Sync(SyncArgs),
    /// Serve the store over HTTP; with --upstream, keep it up to date
    Serve(ServeArgs),
    /// Check every signature and digest again, without a network
    Verify(VerifyArgs),
    /// Tell what the store holds and how the last sync went
    Status(StoreArgs),
    /// List the images held
    List(ListArgs),
    /// Remove snapshots past their grace period and what nothing needs
    Prune(PruneArgs),
    /// Write a snapshot to a bundle that can be carried: a file, parts, a folder
    Export(ExportArgs),
    /// Take a bundle, or parts of one, into the store
    Import(ImportArgs),
    /// Tell what a bundle holds
    Inspect(InspectArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct StoreArgs {
    /// Folder of the store
    #[arg(long, value_name = "DIR", default_value_os_t = default_store())]
    pub(super) store: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(super) struct KeyringArgs {
    /// Keyring to trust instead of Ubuntu's built-in one; repeatable
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(super) keyring: Vec<PathBuf>,
    /// Accept signatures by keys that have expired since
    #[arg(long)]
    pub(super) allow_expired_key: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct NetworkArgs {
    /// How often a failed request is tried again
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) retries: u32,
    /// Downloads or uploads at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) parallel: u8,
    /// Give up on a server that sends nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) stall_timeout: Duration,
    /// Trust the certificate authorities in this PEM file too; repeatable
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(super) ca_file: Vec<PathBuf>,
    /// Reach a registry (oci://) without TLS
    #[arg(long)]
    pub(super) plain_http: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct FetchArgs {
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    /// Keep replaced snapshots for this long, for clients that use them still
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub(super) grace: Duration,
    /// Accept metadata older than what was accepted before
    #[arg(long)]
    pub(super) allow_older: bool,
}

/// The heading of the selection where images are mirrored.
const DEFAULT_SELECTION: &str = "Selection (default: xenial for amd64, with its bootloaders)";

/// What to hold, or to take of what is held. The heading, which tells the
/// default, is its user's.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SelectionArgs {
    /// Release (xenial, 16.04); repeatable
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub(super) release: Vec<String>,
    /// Architecture (amd64); repeatable
    #[arg(long, value_name = "A", value_delimiter = ',')]
    pub(super) arch: Vec<String>,
    /// Kernel (ga-16.04); repeatable
    #[arg(long, value_name = "K", value_delimiter = ',')]
    pub(super) kernel: Vec<String>,
    /// Leave out the bootloaders
    #[arg(long)]
    pub(super) no_bootloaders: bool,
    /// Newest versions of each product, or 'all' [default: 1 of an upstream, all of what is held]
    #[arg(long, value_name = "N")]
    pub(super) max_versions: Option<MaxVersions>,
    /// sstream-mirror filters, all of which must hold: arch=amd64 'release~(xenial|bionic)'
    #[arg(value_name = "FILTER", value_parser = filter)]
    pub(super) filters: Vec<Filter>,
}

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Where to mirror from
    #[arg(long, value_name = "URL", default_value = crate::upstream::DEFAULT_UPSTREAM)]
    pub(super) upstream: Address,
    #[command(flatten)]
    pub(super) keyring: KeyringArgs,
    #[command(flatten)]
    pub(super) fetch: FetchArgs,
    /// Tell what would be fetched and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten, next_help_heading = DEFAULT_SELECTION)]
    pub(super) selection: SelectionArgs,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8888", value_parser = listen)]
    pub(super) listen: SocketAddr,
    /// Serve over TLS with this certificate (PEM, with its chain)
    #[arg(long, value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Mirror from here, at start and then on a schedule
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<Address>,
    /// Mirror again this long after the last time [default: 6h]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "once")]
    pub(super) every: Option<Duration>,
    /// Mirror once and never again: a point-in-time mirror
    #[arg(long)]
    pub(super) once: bool,
    /// Fetch what is listed and not held when it is first asked for, and keep it
    #[arg(long)]
    pub(super) pull_through: bool,
    #[command(flatten)]
    pub(super) keyring: KeyringArgs,
    #[command(flatten)]
    pub(super) fetch: FetchArgs,
    /// Close connections that send no whole request within this time
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) header_timeout: Duration,
    /// Close connections whose client takes nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub(super) body_timeout: Duration,
    /// Connections in all
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,
    /// Connections from one address
    #[arg(long, value_name = "N", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections_by_address: u32,
    /// After SIGTERM, let responses go on for this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) drain: Duration,
    #[command(flatten, next_help_heading = DEFAULT_SELECTION)]
    pub(super) selection: SelectionArgs,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Check this bundle instead of the store
    #[arg(value_name = "BUNDLE", conflicts_with = "repair")]
    pub(super) bundle: Option<Place>,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) keyring: KeyringArgs,
    /// Compare lengths and do not read the images
    #[arg(long)]
    pub(super) quick: bool,
    /// Move damaged content out of the way, so that the next sync fetches it
    #[arg(long)]
    pub(super) repair: bool,
    /// Also write the report, as JSON, to this file
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// List every file with its size and digest
    #[arg(long)]
    pub(super) files: bool,
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Keep what was replaced or written less than this long ago
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub(super) grace: Duration,
    /// Tell what would be removed and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

impl ServeArgs {
    /// Whether anything is said of what to mirror.
    pub(super) fn chooses(&self) -> bool {
        self.selection.chooses() || !self.keyring.keyring.is_empty()
    }
}

impl SelectionArgs {
    /// Whether anything is chosen.
    pub(super) fn chooses(&self) -> bool {
        let Self { release, arch, kernel, filters, .. } = self;
        [release.is_empty(), arch.is_empty(), kernel.is_empty(), filters.is_empty()]
            .contains(&false)
    }

    /// Any choice given replaces the default one; the number of versions and
    /// the bootloaders are no choice but shape it.
    pub(super) fn selection(&self) -> Selection {
        let Self { release, arch, kernel, no_bootloaders, max_versions, filters } = self.clone();
        let (bootloaders, max_versions) = (!no_bootloaders, max_versions.unwrap_or_default());
        if !self.chooses() {
            return Selection { bootloaders, max_versions, ..Selection::default() };
        }
        Selection {
            releases: release,
            arches: arch,
            kernels: kernel,
            bootloaders,
            filters,
            max_versions,
        }
    }

    /// The choice of what a store holds; `None` where nothing is said of it.
    pub(super) fn given(&self) -> Option<Selection> {
        let said = self.chooses() || self.max_versions.is_some() || self.no_bootloaders;
        said.then(|| self.selection_of_held())
    }

    /// The choice among what a snapshot holds: all of it, but for what is said.
    pub(super) fn selection_of_held(&self) -> Selection {
        let mut selection = self.selection();
        if !self.chooses() {
            // Shaped, not chosen: everything else is taken.
            (selection.releases, selection.arches) = (Vec::new(), Vec::new());
        }
        if self.max_versions.is_none() {
            selection.max_versions = MaxVersions::All;
        }
        selection
    }
}

/// `/var/lib/maas-mirror` for root, the XDG data folder otherwise.
fn default_store() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/maas-mirror");
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.filter(|path| path.is_absolute()).or_else(home).unwrap_or_default().join("maas-mirror")
}

/// The longest duration, ten years: its end is a time that there is.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// `6h`, `90s`, `1h 30m`: jiff's friendly durations. Not negative, nor without an end.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    match parsed.and_then(|duration| Duration::try_from(duration).ok()) {
        Some(duration) if duration > LONGEST => Err("write at most 87600h".to_owned()),
        Some(duration) => Ok(duration),
        None => Err("write a duration such as 6h, 30m or 90s".to_owned()),
    }
}

/// clap prints an error without its causes: here with them.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    text.parse::<Filter>().map_err(|error| crate::chain(&error))
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let mut resolved =
        text.to_socket_addrs().map_err(|_| "write ADDRESS:PORT, such as 0.0.0.0:8888")?;
    resolved.next().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_an_end() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("87600h"), Ok(LONGEST));
        for text in ["87601h", "2562047788015215h", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
