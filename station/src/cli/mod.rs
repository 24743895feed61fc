//! The client for operators: what REST offers, on the command line.
//!
//! - [`client`]: its requests
//! - [`order`]: ordering, and following what was ordered
//! - [`show`]: lists and details as text

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{json, Value};

use crate::store::jobs::Job;
use crate::store::packages::Package;
use crate::web::jobs::{JobRecord, Jobs};
use crate::web::packages::Packages;
use crate::web::terminals::Terminals;
use client::Client;

mod client;
mod order;
mod show;

/// Where the station is, and who asks.
#[derive(Debug, Args)]
pub struct Access {
    /// URL of the station
    #[arg(
        long,
        value_name = "URL",
        env = "DAU_STATION_URL",
        default_value = "https://localhost:8443"
    )]
    station: String,
    /// Certificate authority of the station, where the system does not know it
    #[arg(long, value_name = "FILE", env = "DAU_STATION_CA")]
    ca: Option<PathBuf>,
    /// File with the bearer token
    #[arg(long, value_name = "FILE", env = "DAU_STATION_TOKEN_FILE")]
    token_file: PathBuf,
    /// Prints JSON, as REST gives it
    #[arg(long)]
    json: bool,
}

/// What an operator does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Uploads a package
    Upload {
        /// The .dau file
        file: PathBuf,
        #[command(flatten)]
        access: Access,
    },
    /// Lists packages
    Packages {
        #[command(flatten)]
        access: Access,
    },
    /// Removes a package that no job needs any more
    Remove {
        /// The package's number
        package: i64,
        #[command(flatten)]
        access: Access,
    },
    /// Lists terminals and what runs on them
    Terminals {
        /// Only those of this product
        #[arg(long)]
        product: Option<String>,
        /// Only those with this version
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        access: Access,
    },
    /// Makes a terminal known before it links up
    Register {
        /// The terminal's id
        terminal: String,
        #[command(flatten)]
        access: Access,
    },
    /// Orders an upgrade
    Order(order::Args),
    /// Follows a job until it ends; exit status 0 only if it succeeds
    Follow {
        /// The job's id
        job: i64,
        #[command(flatten)]
        access: Access,
    },
    /// Lists jobs, newest first
    Jobs {
        /// Only those of this terminal
        #[arg(long)]
        terminal: Option<String>,
        /// Only those of this order
        #[arg(long)]
        order: Option<i64>,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those with this outcome
        #[arg(long)]
        outcome: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        access: Access,
    },
    /// Shows a job with its record
    Job {
        /// The job's id
        job: i64,
        #[command(flatten)]
        access: Access,
    },
    /// Calls a job off
    Cancel {
        /// The job's id
        job: i64,
        /// Ends it at the station whatever the terminal does: for terminals that are gone
        #[arg(long)]
        abandon: bool,
        #[command(flatten)]
        access: Access,
    },
}

/// Does it.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Order(args) => return order::run(args),
        Command::Follow { job, access } => return order::follow(&Client::new(&access)?, job),
        Command::Upload { file, access } => {
            let client = Client::new(&access)?;
            let package = upload(&client, &file)?;
            print(&access, &package, show::package)?;
        }
        Command::Packages { access } => {
            let packages: Packages = Client::new(&access)?.get("packages", &[])?;
            print(&access, &packages.packages, |all| show::packages(all))?;
        }
        Command::Remove { package, access } => {
            Client::new(&access)?.delete(&format!("packages/{package}"))?;
        }
        Command::Terminals {
            product,
            version,
            access,
        } => {
            let terminals = terminals(&Client::new(&access)?, product, version)?;
            print(&access, &terminals, |all| show::terminals(all))?;
        }
        Command::Register { terminal, access } => {
            Client::new(&access)?.put(&format!("terminals/{terminal}"))?;
        }
        Command::Jobs {
            terminal,
            order,
            state,
            outcome,
            limit,
            access,
        } => {
            let query = [
                ("terminal", terminal),
                ("order", order.map(|id| id.to_string())),
                ("state", state),
                ("outcome", outcome),
                ("limit", Some(limit.to_string())),
            ];
            let jobs: Jobs = Client::new(&access)?.get("jobs", &query)?;
            print(&access, &jobs.jobs, |all| show::jobs(all))?;
        }
        Command::Job { job, access } => {
            let job: JobRecord = Client::new(&access)?.get(&format!("jobs/{job}"), &[])?;
            print(&access, &job, show::record)?;
        }
        Command::Cancel {
            job,
            abandon,
            access,
        } => {
            let path = format!("jobs/{job}/cancel");
            let job: Job = Client::new(&access)?.post(&path, &json!({ "abandon": abandon }))?;
            print(&access, &job, show::cancelled)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints `value` as JSON or as `text` puts it.
fn print<T: serde::Serialize>(
    access: &Access,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    match access.json {
        true => println!("{}", serde_json::to_string_pretty(value)?),
        false => print!("{}", text(value)),
    }
    Ok(())
}

/// Uploads a file with a progress bar.
fn upload(client: &Client, file: &std::path::Path) -> Result<Package> {
    let size = std::fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    // A refusal for want of a good token comes now rather than in mid-upload, where it would look like a broken line.
    client.get::<Packages>("packages", &[])?;
    let bar = ProgressBar::new(size).with_style(show::bytes_style());
    bar.set_message("upload");
    let package = client.upload(file, &bar);
    bar.finish_and_clear();
    package
}

fn terminals(
    client: &Client,
    product: Option<String>,
    version: Option<String>,
) -> Result<Vec<crate::store::terminals::Terminal>> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let query = [
            ("product", product.clone()),
            ("version", version.clone()),
            ("after", after),
        ];
        let page: Terminals = client.get("terminals", &query)?;
        all.extend(page.terminals);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// JSON that REST may leave empty.
fn text_or_dash(value: &Value) -> &str {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("-")
}
