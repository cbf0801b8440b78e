//! The program `maas-mirror`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(maas_mirror::cli::run(&std::env::args_os().collect::<Vec<_>>()))
}
