//! The command line: verbs, output, exit codes.
//!
//! Nothing else in the crate may use this module. Data goes to stdout, all
//! else to stderr; with `-o json` stdout holds one JSON object and nothing
//! more. Errors are printed in one place, [`failure`].

mod args;
mod bundle;
mod bundle_args;
mod completions;
mod config;
mod export;
mod failure;
mod import;
mod init;
mod inspect;
mod list;
mod logging;
mod meter;
mod output;
mod progress;
mod prune;
mod registry;
mod serve;
mod size;
mod status;
mod sync;
mod unread;
mod verify;

use std::ffi::OsString;

use args::{Cli, Verb};
use failure::{Exit, Failure};
use output::Output;

/// Runs the program with `args` (the first is its name) and returns its exit
/// code.
#[must_use]
pub fn run(args: &[OsString]) -> u8 {
    let is_sent_from_outside = unread::is_sent_from_outside(args);
    let code = run_verb(args);
    if is_sent_from_outside {
        unread::discard(&Output::default());
    }
    code
}

fn run_verb(args: &[OsString]) -> u8 {
    let cli = match config::parse(args.to_vec()) {
        Ok(cli) => cli,
        Err(config::ParseError::Clap(error)) => {
            // Help and version go to stdout and are no error.
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return code.code();
        }
        Err(config::ParseError::Config(failure)) => {
            return failure.print(&Output::default()).code();
        }
    };
    logging::start(&cli);
    if matches!(cli.verb, Verb::Serve(_)) && init::is_process_1() {
        match init::run(args) {
            Ok(code) => return code,
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(reason, "gpg may leave zombies behind: it is served by process 1");
            }
        }
    }
    let mut output = Output::new(&cli.global);
    if let Verb::Export(args) = &cli.verb
        && args.target == Some(bundle::Place::Standard)
    {
        output = output.to_stderr();
    }
    match dispatch(cli, &output) {
        Ok(Exit::Done) if output.is_lost() => {
            let reason = "what was to be printed could not be written to stdout";
            Failure::message("the output is not complete", reason).print(&output).code()
        }
        Ok(exit) => exit.code(),
        Err(failure) => failure.print(&output).code(),
    }
}

fn dispatch(cli: Cli, output: &Output) -> Result<Exit, Failure> {
    match cli.verb {
        Verb::Sync(args) => sync::run(&args, output),
        Verb::Serve(args) => serve::run(&args, output),
        Verb::Verify(args) => verify::run(&args, output),
        Verb::Status(args) => status::run(&args, output),
        Verb::List(args) => list::run(&args, output),
        Verb::Prune(args) => prune::run(&args, output),
        Verb::Export(args) => export::run(&args, output),
        Verb::Import(args) => import::run(&args, output),
        Verb::Inspect(args) => inspect::run(&args, output),
        Verb::Completions(args) => completions::run(&args, output),
    }
}

/// A runtime for the verbs that use the network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start", error))
}
