//! The log on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::args::{Cli, Format, Verb};

/// Starts logging. A server tells what it does; the other verbs print that
/// themselves and log only what is out of order.
pub(super) fn start(cli: &Cli) {
    let serving = matches!(cli.verb, Verb::Serve(_));
    let level = match (cli.global.quiet, cli.global.verbose, serving) {
        (true, ..) => "error",
        (false, 0, true) => "info",
        (false, 0, false) => "warn",
        (false, 1, _) => "debug",
        (false, ..) => "trace",
    };
    // Other crates' debug output would name headers and addresses.
    let filter = EnvFilter::new(format!("warn,maas_mirror={level}"));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Fails only where a logger is set already.
    let _ = match cli.global.log_format {
        Format::Json => log.json().flatten_event(true).try_init(),
        Format::Text => log.with_ansi(false).try_init(),
    };
}
