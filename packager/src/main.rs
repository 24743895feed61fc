//! `dau-packager`: upgrade packages from build results, on workstations and build systems.

use std::process::ExitCode;

use clap::Parser;

/// `build`: kernel, root filesystem, RecoveryOS to package.
mod build;
/// The command line.
mod cli;
/// `inspect`: what a package says of itself.
mod inspect;
/// `keygen`: the development PKI.
mod keygen;
/// Progress on a terminal.
mod progress;
/// `sign`, and how `build` signs.
mod sign;
/// `verify`: whether a terminal with a keyring would take it.
mod verify;

use cli::{Cli, Command};

/// Exit status when `verify` refuses a package. 1 is any other failure, 2 a wrong command line.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Build(arguments) => build::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("dau-packager: {error:#}");
        ExitCode::FAILURE
    })
}
