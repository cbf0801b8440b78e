//! `maas-mirror completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::{Cli, CompletionsArgs};
use super::failure::{Exit, Failure};
use super::output::Output;

pub(super) fn run(args: &CompletionsArgs, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "maas-mirror", &mut script);
    if args.shell == Shell::Bash {
        script = mended(&String::from_utf8_lossy(&script)).into_bytes();
    }
    output.raw(&script);
    Ok(Exit::Done)
}

/// clap_complete spells the hyphen of the program's name in two ways in its
/// script for bash, so that nothing after a verb is completed:
/// <https://github.com/clap-rs/clap/issues/6421>.
fn mended(script: &str) -> String {
    script.replace("maas__subcmd__mirror", "maas__mirror")
}
