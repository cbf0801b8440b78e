//! The log on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::args::{Cli, Format, Job, Verb};

/// Starts logging. A job tells what it does; a probe, which runs every few
/// seconds, only what is out of order.
pub(super) fn start(cli: &Cli) {
    let is_probe = matches!(&cli.verb, Verb::Job(args) if matches!(args.job, Job::Probe { .. }));
    let level = match (cli.global.quiet, cli.global.verbose, is_probe) {
        (true, ..) => "error",
        (false, 0, true) => "warn",
        (false, 0, false) => "info",
        (false, 1, _) => "debug",
        (false, ..) => "trace",
    };
    // Other crates' debug output would hold headers and statements; kube and
    // the TLS library log each failed attempt as an error of its own.
    let filter = EnvFilter::new(format!(
        "warn,kube_client=off,rustls_platform_verifier=off,maas_deployer={level}"
    ));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Fails only where a logger is set already.
    let _ = match cli.global.log_format {
        Format::Json => log.json().flatten_event(true).try_init(),
        Format::Text => log.with_ansi(false).try_init(),
    };
}
