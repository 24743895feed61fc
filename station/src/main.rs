//! `dau-station`: orders OS upgrades for distribution automation terminals, serves their packages and keeps the results.
//!
//! - [`serve`]: the daemon, with [`config`], [`api_tokens`] and [`clock`]
//! - [`store`]: what must not be forgotten; [`job`]: what becomes of a job when something is heard of it
//! - [`link`]: terminals over MQTT; [`web`]: packages and REST over HTTPS
//! - [`init`]: a new station's files; [`cli`]: the client for operators

mod api_tokens;
mod cli;
mod clock;
mod config;
mod init;
mod job;
mod link;
mod serve;
mod store;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The station: orders OS upgrades for terminals, serves their packages and keeps the results.
#[derive(Debug, Parser)]
#[command(name = "dau-station", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the station until it is told to stop
    Serve {
        /// Configuration file, see docs/station.md
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/dau-station/station.toml"
        )]
        config: PathBuf,
    },
    /// Writes the files of a new station: its configuration, a token for the operator, and the broker's configuration
    Init(init::Args),
    /// Makes a bearer token for REST: the token goes to standard output, the line for the station's file to standard error
    Token {
        /// Whose token it is; the name stands in the record of jobs
        name: String,
    },
    /// Prints the OpenAPI description of the REST interface
    Openapi,
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let default = match args.command {
        // rumqttc tells of every packet id that it waits for.
        Command::Serve { .. } => "info,rumqttc=warn",
        _ => "warn",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(default)).init();
    let done = match args.command {
        Command::Serve { config } => serve::run(&config).map(|()| ExitCode::SUCCESS),
        Command::Init(args) => init::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Token { name } => token(&name).map(|()| ExitCode::SUCCESS),
        Command::Openapi => openapi().map(|()| ExitCode::SUCCESS),
        Command::Client(command) => cli::run(command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("dau-station: {error:#}");
        ExitCode::from(2)
    })
}

fn token(name: &str) -> anyhow::Result<()> {
    let token = api_tokens::generate()?;
    eprintln!("{}", api_tokens::line(name, &token)?);
    println!("{token}");
    Ok(())
}

fn openapi() -> anyhow::Result<()> {
    println!("{}", web::openapi().to_pretty_json()?);
    Ok(())
}
