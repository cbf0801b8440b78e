//! Options that verbs of several kinds have.

use clap::{Args, ValueEnum};

/// How progress is shown, on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    Auto,
    Plain,
    None,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How it is done")]
pub(super) struct ProgressArgs {
    /// auto: bars on a terminal, else lines; plain: lines; none
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        value_name = "MODE",
        env = "MAAS_DEPLOYER_PROGRESS"
    )]
    pub(super) progress: ProgressMode,
}

#[derive(Debug, Args)]
pub(super) struct OverwriteArgs {
    /// Write over a file that is there
    #[arg(long)]
    pub(super) force: bool,
}
