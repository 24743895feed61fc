//! The program's entry; the library does the work.

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

use dau_recovery::{cli, console, init, run};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run();
    }
    if std::env::args_os().any(|argument| argument == "--help") {
        println!("{}", cli::USAGE);
        return ExitCode::SUCCESS;
    }
    let arguments = match cli::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("dau-recovery: {message}\n\n{}", cli::USAGE);
            return ExitCode::from(2);
        }
    };
    console::start();
    let ended = run::run(&arguments.terminal, arguments.crashed.as_deref());
    ExitCode::from(ended.status())
}
