//! The program `maas-deployer`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(maas_deployer::cli::run(std::env::args_os().collect()))
}
