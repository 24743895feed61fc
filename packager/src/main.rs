//! `dau-packager`: makes upgrade packages from build results, on workstations and build systems.
//!
//! It builds, signs, verifies and inspects `.dau` files, makes deltas between them, and makes development keys. The work is done by
//! `dau_package::make`; here are the command line, the progress line and what is printed.
//!
//! # What it guarantees
//!
//! - A package is put at its place only when it is whole and was verified as a terminal verifies it.
//! - What a terminal would refuse is refused here: images larger than their partition, features that its
//!   ext4 cannot read, keys and dates that nobody would accept.
//! - Equal inputs make equal bytes, whatever the number of processors (ECDSA's random number apart).
//!
//! # By hand
//!
//! ```text
//! dau-packager keygen --out pki
//! dau-packager build --product dtu --version 1.1.0 --rollback-index 2 --kernel kernel.itb \
//!     --signer pki/package/signer.pem --key pki/package/signer.key -o dtu-1.1.0-kernel.dau
//! dau-packager verify --keyring pki/keyring dtu-1.1.0-kernel.dau
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// `apply`: rebuilds a package as a terminal does.
mod apply;
/// `build`: packages a kernel, a root filesystem, a RecoveryOS.
mod build;
/// The command line.
mod cli;
/// `delta`: makes a delta between two packages.
mod delta;
/// `inspect`: shows a package's contents.
mod inspect;
/// `keygen`: makes the development PKI.
mod keygen;
/// Standard output and standard error.
mod out;
/// Checks whether parameters can be restored on a root filesystem.
mod parameters;
/// `keep-places`: lays out a root filesystem like an earlier one.
mod places;
/// Progress on a terminal.
mod progress;
/// Checks whether terminals can install a root filesystem.
mod rootfs;
/// `sign`, and the signing of `build`.
mod sign;
/// Runs tools of e2fsprogs.
mod tool;
/// `verify`: checks whether a terminal would accept a package.
mod verify;

use cli::{Cli, Command};

/// Exit status when `verify` refuses a package. 1 is any other failure, 2 a wrong command line.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Build(arguments) => build::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Delta(arguments) => delta::run(&arguments),
        Command::KeepPlaces(arguments) => places::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Manuals(arguments) => {
            dau_manuals::write(&arguments, Cli::command()).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        out::complaint(format_args!("dau-packager: {error:#}"));
        ExitCode::FAILURE
    })
}
