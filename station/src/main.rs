//! `dau-station`: orders OS upgrades for distribution automation terminals, serves their packages
//! and keeps the results.
//!
//! - [`serve`]: the daemon, with [`config`], [`api_tokens`] and [`clock`]
//! - [`store`]: the database; [`job`]: decides a job's next state
//! - [`rollout`]: decides what a rollout does next; [`orders`], [`rollouts`]: do what is due of them
//! - [`deltas`]: makes delta packages
//! - [`link`]: terminals over MQTT; [`web`]: packages and REST over HTTPS
//! - [`archive`]: archives of the record; [`migrate`]: to another database
//! - [`init`]: a new station's files; [`cli`]: the client for operators
//!
//! # What it guarantees
//!
//! - An order that was answered survives a crash, and reaches the terminal at least once; the same order
//!   twice is one job, and a job has one result.
//! - A package is verified when it is uploaded and when it is ordered; its download needs a token that is
//!   bound to terminal and package.
//! - One client's flood or silence takes neither memory nor time from the others.
//! - REST answers as docs/api/openapi.json says; `ci/test-openapi` holds it to that.
//!
//! # By hand
//!
//! `dau-station init` makes a new station's folder, `serve` runs it; docs/station.md and
//! docs/operator-guide.md tell the rest.

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

mod api_tokens;
mod archive;
mod cli;
mod clock;
mod config;
mod deltas;
mod init;
mod job;
mod link;
mod migrate;
mod orders;
mod rollout;
mod rollouts;
mod serve;
mod store;
mod web;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use api_tokens::role::Role;
use clap::{CommandFactory, Parser, Subcommand};
use cli::out;

/// The signal that ends programs whose output is closed.
const SIGPIPE: u8 = 13;

/// The station: orders OS upgrades for terminals, serves their packages and keeps the results.
#[derive(Debug, Parser)]
#[command(name = "dau-station", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the station until SIGTERM or SIGINT
    Serve {
        /// Configuration file, see docs/station.md
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/dau-station/station.toml"
        )]
        config: PathBuf,
    },
    /// Write the files of a new station: its configuration, a token for the operator, and the
    /// broker's configuration
    Init(init::Args),
    /// Make a bearer token for REST: the token goes to standard output, the line for the station's
    /// file to standard error
    Token {
        /// Name of its holder, for the record
        name: String,
        /// What its holder may do
        #[arg(long, value_enum, default_value_t = Role::Administrator)]
        role: Role,
        /// When the token ends: a date (its beginning, UTC) or an RFC 3339 time [default: never]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Seal, list, check and search the archives of the record, on the station's machine
    #[command(subcommand)]
    Archive(archive::Command),
    /// Move a stopped station from SQLite to PostgreSQL; after an interruption, go on
    Migrate(migrate::Args),
    /// Make one delta, for `serve`
    #[command(hide = true)]
    MakeDelta(deltas::make::Args),
    /// Write man pages and completions of shells
    #[command(hide = true)]
    Manuals(dau_manuals::Args),
    /// Print the OpenAPI description of the REST interface
    Openapi,
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let default = match args.command {
        // rumqttc logs every packet id that it waits for.
        Command::Serve { .. } => "info,rumqttc=warn",
        _ => "warn",
    };
    start_log(default);
    let done = match args.command {
        Command::Serve { config } => serve::run(&config).map(|()| ExitCode::SUCCESS),
        Command::Init(args) => init::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Token { name, role, until } => {
            token(&name, role, until.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Command::Archive(command) => archive::run(&command),
        Command::Migrate(args) => migrate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::MakeDelta(args) => deltas::make::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Manuals(args) => {
            dau_manuals::write(&args, Args::command()).map(|()| ExitCode::SUCCESS)
        }
        Command::Openapi => openapi().map(|()| ExitCode::SUCCESS),
        Command::Client(command) => cli::run(command),
    };
    done.unwrap_or_else(|error| match error.is::<out::Closed>() {
        // As if ended by the signal, which Rust's runtime ignores.
        true => ExitCode::from(128 + SIGPIPE),
        false => {
            out::note(&format!("dau-station: {error:#}"));
            ExitCode::from(2)
        }
    })
}

/// Logs to standard error: one line per message, with the time, and without control characters.
fn start_log(default: &str) {
    let filter = env_logger::Env::default().default_filter_or(default);
    env_logger::Builder::from_env(filter)
        .format(|line, record| {
            let time = clock::text(clock::now());
            let (level, target) = (record.level(), record.target());
            let message = out::escaped(&record.args().to_string());
            writeln!(line, "{time} {level:5} {target}: {message}")
        })
        .init();
}

fn token(name: &str, role: Role, until: Option<&str>) -> anyhow::Result<()> {
    let token = api_tokens::generate()?;
    out::note(&api_tokens::line(name, &token, role, until)?);
    out::text(&format!("{token}\n"))
}

fn openapi() -> anyhow::Result<()> {
    out::text(&format!("{}\n", web::openapi().to_pretty_json()?))
}
