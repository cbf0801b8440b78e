//! Benchmarks of maas-mirror and maas-deployer beside their rivals.
//!
//! Programs, not tests: they print figures and judge nothing. Everything that
//! is compared runs in one go, interleaved, round after round, because a
//! machine's speed drifts by more than what is measured; quote medians and
//! ratios, never one absolute figure. `docs/performance.md` says how to read
//! them.

mod bundle;
mod client;
mod cold;
mod deployer;
mod figures;
mod many;
mod paced;
mod process;
mod pull;
mod rivals;
mod serving;
mod setup;
mod slow_disk;
mod start;
mod sync;
mod tls;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use figures::Report;

/// Any failure: a benchmark has no caller that tells failures apart.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "Benchmarks of maas-mirror and maas-deployer beside their rivals"
)]
struct Cli {
    /// Which to run; all of them where none is named
    #[arg(value_enum)]
    which: Vec<Which>,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Sizes of the images, 1.0 being those of maas.io
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Also write the figures, as JSON, to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// First and later syncs, beside sstream-mirror
    Sync,
    /// Memory of a sync of 900 MB
    Memory,
    /// Large and small files, beside nginx, apache, ServeDir and a bare loop
    Serve,
    /// A large file over TLS, beside nginx
    Tls,
    /// Export and import of 1 GB, beside tar and sha256sum
    Bundle,
    /// Start on a snapshot of 10,000 items
    Start,
    /// 1,000 clients at once, beside nginx
    Many,
    /// Small warm files while others read cold ones from a slow disk, beside
    /// nginx; as root, for its file system
    Cold,
    /// Items that are not held: the first byte, and 50 clients at once
    Pull,
    /// The chart rendered, beside Helm
    Template,
    /// A small part of the chart installed and upgraded on a cluster, beside Helm
    Install,
    /// The same of the whole chart, in a third of the rounds
    InstallWhole,
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln_error(error.as_ref());
            std::process::ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a program's own error output")]
fn eprintln_error(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because {cause}");
        source = cause.source();
    }
}

fn run(cli: &Cli) -> Result<()> {
    process::raise_descriptor_limit()?;
    let all = Which::value_variants();
    let wanted = if cli.which.is_empty() { all } else { &cli.which[..] };
    let mut report = Report::default();
    for which in wanted {
        match which {
            Which::Sync => sync::compare(cli.rounds, cli.scale, &mut report)?,
            Which::Memory => sync::memory(cli.scale * 2.0, &mut report)?,
            Which::Serve => serving::compare(cli.rounds, &mut report)?,
            Which::Tls => tls::compare(cli.rounds, &mut report)?,
            Which::Bundle => bundle::compare(cli.rounds, cli.scale, &mut report)?,
            Which::Start => start::measure(cli.rounds, &mut report)?,
            Which::Many => many::measure(cli.rounds, &mut report)?,
            Which::Cold => cold::compare(cli.rounds, &mut report)?,
            Which::Pull => pull::measure(cli.rounds, &mut report)?,
            Which::Template => deployer::template(cli.rounds, &mut report)?,
            Which::Install => deployer::small(cli.rounds, &mut report)?,
            Which::InstallWhole => deployer::whole(cli.rounds.div_ceil(3), &mut report)?,
        }
    }
    report.print();
    match &cli.json {
        Some(path) => Ok(std::fs::write(path, report.to_json()? + "\n")?),
        None => Ok(()),
    }
}
