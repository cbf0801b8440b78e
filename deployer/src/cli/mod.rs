//! The command line: verbs, output, exit codes.
//!
//! Nothing else in the crate may use this module. Data goes to stdout, all
//! else to stderr; with `-o json` stdout holds one JSON object and nothing
//! more. Errors are printed in one place, [`failure`].

mod args;
mod bundle;
mod failure;
mod hints;
mod images;
mod job;
mod logging;
mod output;
mod release;
mod release_args;
mod shared_args;
mod target;
mod template;
mod values;

use std::ffi::OsString;

use clap::Parser as _;

use args::{Cli, Verb};
use failure::{Exit, Failure};
use output::Output;

/// Runs the program with `args` (the first is its name) and returns its exit
/// code.
#[must_use]
pub fn run(args: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no error.
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return code.code();
        }
    };
    logging::start(&cli);
    let output = Output::new(&cli.global);
    let ended = match &cli.verb {
        Verb::Diff(args) => release::diff(args, &output),
        Verb::Install(args) => release::install(args, &output),
        Verb::Upgrade(args) => release::upgrade(args, &output),
        Verb::Rollback(args) => release::rollback(args, &output),
        Verb::Uninstall(args) => release::uninstall(args, &output),
        Verb::History(args) => release::history(args, &output),
        Verb::Check(args) => release::check(args, &output),
        Verb::Status(args) => release::status(args, &output),
        Verb::SupportBundle(args) => release::support(args, &output),
        Verb::Template(args) => template::run(args, &output),
        Verb::Values(args) => values::run(args, &output),
        Verb::Images(args) => images::run(args, &output),
        Verb::Bundle(args) => bundle::run(args, &output),
        Verb::Job(args) => job::run(args, &output),
    };
    match ended {
        Ok(Exit::Done) if output.is_lost() => {
            let reason = "what was to be printed could not be written to stdout";
            Failure::message("the output is not complete", reason).print(&output).code()
        }
        Ok(exit) => exit.code(),
        Err(failure) => failure.print(&output).code(),
    }
}
