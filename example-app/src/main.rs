//! Stands for the utility's software on a terminal: serves the points of a table by IEC
//! 60870-5-104.
//!
//! An example to try upgrades with, not a product. It implements these parts of IEC 60870-5-104
//! (edition 2): the APDU with its sequence numbers, k and w, the timers t1, t2 and t3, STARTDT,
//! STOPDT, TESTFR, and general interrogation. It has no spontaneous transmission, commands, clock
//! synchronisation, files, redundancy groups, t0 (it never connects by itself) and TLS (IEC
//! 62351-3); it refuses unknown requests as the standard says.

mod apdu;
mod asdu;
mod check;
mod points;
mod server;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};

use points::Points;
use settings::Settings;

const USAGE: &str = "\
Usage: dau-example-app [--settings FILE] [--points FILE] [--check-config]
       dau-example-app --check-port ADDRESS:PORT
       dau-example-app --version | --help

  --settings FILE    default /etc/dau-example/settings.toml
  --points FILE      default /etc/dau-example/points.csv
  --check-config     judge both files and end
  --check-port A:P   end with status 0 when a station at that address answers STARTDT";

/// The task given on the command line.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Serve { settings: PathBuf, points: PathBuf },
    CheckConfig { settings: PathBuf, points: PathBuf },
    CheckPort(String),
    Say(String),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp(None)
        .init();
    match parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dau-example-app: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Task> {
    let mut settings = PathBuf::from("/etc/dau-example/settings.toml");
    let mut points = PathBuf::from("/etc/dau-example/points.csv");
    let mut check = false;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} wants a value\n{USAGE}"))
        };
        match argument.as_str() {
            "--settings" => settings = value()?.into(),
            "--points" => points = value()?.into(),
            "--check-config" => check = true,
            "--check-port" => return Ok(Task::CheckPort(value()?)),
            "--version" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Task::Say(format!("dau-example-app {version}")));
            }
            "--help" => return Ok(Task::Say(USAGE.to_owned())),
            other => bail!("'{other}' is unknown\n{USAGE}"),
        }
    }
    Ok(match check {
        true => Task::CheckConfig { settings, points },
        false => Task::Serve { settings, points },
    })
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Say(text) => println!("{text}"),
        Task::CheckPort(address) => check::startdt(&address)?,
        Task::CheckConfig { settings, points } => {
            Settings::load(&settings)?;
            Points::load(&points)?;
        }
        Task::Serve { settings, points } => {
            let settings = Settings::load(&settings)?;
            let points = Points::load(&points)?;
            log::info!(
                "dau-example-app {}: station address {}, {} points, overcurrent {} A after {} s",
                env!("CARGO_PKG_VERSION"),
                settings.station_address,
                points.len(),
                settings.overcurrent.pickup,
                settings.overcurrent.delay,
            );
            server::serve(server::listen(&settings)?, settings, points)?;
        }
    }
    Ok(())
}
