//! `maas-mirror completions`.

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs};
use super::failure::{Exit, Failure};
use super::output::Output;

pub(super) fn run(args: &CompletionsArgs, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "maas-mirror", &mut script);
    output.raw(&script);
    Ok(Exit::Done)
}
