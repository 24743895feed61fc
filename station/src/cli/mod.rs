//! The operators' client: the REST interface on the command line.
//!
//! - [`client`]: requests; [`http`]: their transport
//! - [`delta`]: has deltas made
//! - [`order`]: orders an upgrade and follows it
//! - [`rollout`]: plans rollouts, starts and stops them
//! - [`show`]: lists and details as text
//! - [`out`]: standard output, which may be closed, and terminals' texts, which may be hostile

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{json, Value};

use crate::store::jobs::Job;
use crate::store::labels::Change;
use crate::store::orders::Order;
use crate::store::packages::Package;
use crate::store::terminals::Terminal;
use crate::web::deltas::Deltas;
use crate::web::jobs::{JobRecord, Jobs};
use crate::web::orders::Orders;
use crate::web::packages::Packages;
use crate::web::terminals::{CancelledAt, Terminals};
use client::Client;

mod client;
mod delta;
mod http;
mod order;
pub mod out;
mod rollout;
mod show;

/// The station's address and the operator's credentials.
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
    /// Certificate authority of the station, if the system does not know it
    #[arg(long, value_name = "FILE", env = "DAU_STATION_CA")]
    ca: Option<PathBuf>,
    /// File with the bearer token
    #[arg(long, value_name = "FILE", env = "DAU_STATION_TOKEN_FILE")]
    token_file: PathBuf,
    /// Print JSON, as the REST interface returns it
    #[arg(long)]
    json: bool,
}

/// The operators' commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a package
    Upload {
        /// The .dau file
        file: PathBuf,
        #[command(flatten)]
        access: Access,
    },
    /// List packages
    Packages {
        #[command(flatten)]
        access: Access,
    },
    /// Remove a package that no job needs any more
    Remove {
        /// Id of the package
        package: i64,
        #[command(flatten)]
        access: Access,
    },
    /// Have a delta made that leads from one package to another; the delta is signed by the station's
    /// command, or written to a file to be signed elsewhere
    Delta {
        /// The package that terminals keep: its id or version
        base: String,
        /// The package that they are to get: its id or version
        target: String,
        /// Where a delta goes that the station cannot sign [default: its name, in this folder]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        access: Access,
    },
    /// List the deltas that were asked for
    Deltas {
        /// Forget this one instead; if it is being made, give it up
        #[arg(long, value_name = "ID")]
        remove: Option<i64>,
        #[command(flatten)]
        access: Access,
    },
    /// List terminals and their versions
    Terminals {
        /// Only terminals that this filter fits, such as 'feeder in (F1, F2) and not tag:hold'
        #[arg(long)]
        filter: Option<String>,
        /// Only terminals of this product
        #[arg(long)]
        product: Option<String>,
        /// Only terminals with this version
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        access: Access,
    },
    /// Set attributes and tags of a terminal
    Set {
        /// Id of the terminal
        terminal: String,
        /// Attributes to set, such as feeder=F12; an empty value removes one
        #[arg(value_name = "NAME=VALUE", value_parser = attribute)]
        attributes: Vec<(String, Option<String>)>,
        /// Tag to add (may be repeated)
        #[arg(long, value_name = "TAG")]
        tag: Vec<String>,
        /// Tag to remove (may be repeated)
        #[arg(long, value_name = "TAG")]
        untag: Vec<String>,
        #[command(flatten)]
        access: Access,
    },
    /// Register a terminal before it links up
    Register {
        /// Id of the terminal
        terminal: String,
        #[command(flatten)]
        access: Access,
    },
    /// Order an upgrade
    Order(order::Args),
    /// Plan, start, stop and show rollouts
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// List orders, newest first
    Orders {
        /// Maximum number of orders, up to 1000
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        access: Access,
    },
    /// Follow a job until it ends; exit status 0 only if it succeeds
    Follow {
        /// Id of the job
        job: i64,
        #[command(flatten)]
        access: Access,
    },
    /// List jobs, newest first
    Jobs {
        /// Only jobs of this terminal
        #[arg(long)]
        terminal: Option<String>,
        /// Only jobs of this order
        #[arg(long)]
        order: Option<i64>,
        /// Only jobs in this state
        #[arg(long)]
        state: Option<String>,
        /// Only jobs with this outcome
        #[arg(long)]
        outcome: Option<String>,
        /// Maximum number of jobs, up to 1000
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        access: Access,
    },
    /// Show a job with its record
    Job {
        /// Id of the job
        job: i64,
        #[command(flatten)]
        access: Access,
    },
    /// Cancel a job, or all jobs of an order
    Cancel {
        /// Id of the job
        #[arg(required_unless_present_any = ["terminal", "order"])]
        job: Option<i64>,
        /// Cancel all jobs of this order that have not ended, and make no more
        #[arg(long, value_name = "ID", conflicts_with_all = ["job", "terminal"])]
        order: Option<i64>,
        /// Ask this terminal to stop its current job, even one that this station did not order
        #[arg(long, value_name = "ID", conflicts_with = "abandon")]
        terminal: Option<String>,
        /// End the job at the station without waiting for the terminal: for terminals that are gone
        #[arg(long)]
        abandon: bool,
        #[command(flatten)]
        access: Access,
    },
}

/// Runs a command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Order(args) => return order::run(args),
        Command::Rollout(command) => rollout::run(command)?,
        Command::Delta {
            base,
            target,
            output,
            access,
        } => {
            let client = Client::new(&access)?;
            let made = delta::run(&client, &base, &target, output.as_deref())?;
            print(&access, &made, delta::shown)?;
        }
        Command::Deltas {
            remove: Some(id),
            access,
        } => Client::new(&access)?.delete(&format!("deltas/{id}"))?,
        Command::Deltas {
            remove: None,
            access,
        } => {
            let all: Deltas = Client::new(&access)?.get("deltas", &[])?;
            print(&access, &all.deltas, |all| show::deltas(all))?;
        }
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
            filter,
            product,
            version,
            access,
        } => {
            let which = [
                ("filter", filter),
                ("product", product),
                ("version", version),
            ];
            let terminals = terminals(&Client::new(&access)?, &which)?;
            print(&access, &terminals, |all| show::terminals(all))?;
        }
        Command::Set {
            terminal,
            attributes,
            tag,
            untag,
            access,
        } => {
            let change = Change {
                attributes: attributes.into_iter().collect(),
                tag,
                untag,
            };
            let path = format!("terminals/{terminal}");
            let terminal: Terminal = Client::new(&access)?.patch(&path, &change)?;
            print(&access, &terminal, |one| {
                show::terminals(std::slice::from_ref(one))
            })?;
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
        Command::Orders { limit, access } => {
            let query = [("limit", Some(limit.to_string()))];
            let orders: Orders = Client::new(&access)?.get("orders", &query)?;
            print(&access, &orders.orders, |all| show::orders(all))?;
        }
        Command::Cancel {
            order: Some(order),
            abandon,
            access,
            ..
        } => {
            let path = format!("orders/{order}/cancel");
            let order: Order =
                Client::new(&access)?.post(&path, &json!({ "abandon": abandon }), None)?;
            print(&access, &order, |order| {
                show::orders(std::slice::from_ref(order))
            })?;
        }
        Command::Cancel {
            job,
            terminal: Some(terminal),
            access,
            ..
        } => {
            let path = format!("terminals/{terminal}/cancel");
            let done: CancelledAt =
                Client::new(&access)?.post(&path, &json!({ "job": job }), None)?;
            print(&access, &done, show::cancelled_at)?;
        }
        Command::Cancel {
            job,
            abandon,
            access,
            ..
        } => {
            let path = format!("jobs/{}/cancel", job.unwrap_or_default());
            let job: Job =
                Client::new(&access)?.post(&path, &json!({ "abandon": abandon }), None)?;
            print(&access, &job, show::cancelled)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints `value` as JSON, or as text by `text`.
fn print<T: serde::Serialize>(
    access: &Access,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    match access.json {
        true => out::json(value),
        false => out::text(&text(value)),
    }
}

/// Uploads a file with a progress bar.
fn upload(client: &Client, file: &std::path::Path) -> Result<Package> {
    let size = std::fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    // Check the token first: a refusal during the upload would look like a broken connection.
    client.get::<Packages>("packages", &[])?;
    let bar = ProgressBar::new(size).with_style(show::bytes_style());
    bar.set_message("upload");
    let package = client.upload(file, &bar);
    bar.finish_and_clear();
    package
}

fn terminals(client: &Client, which: &[(&str, Option<String>)]) -> Result<Vec<Terminal>> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let query = [which, &[("after", after)]].concat();
        let page: Terminals = client.get("terminals", &query)?;
        all.extend(page.terminals);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// Parses an attribute to set; without a value, it is removed.
fn attribute(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("give NAME=VALUE, such as feeder=F12")?;
    let value = Some(value.to_owned()).filter(|value| !value.is_empty());
    Ok((name.to_owned(), value))
}

/// Returns the text of a JSON value, `-` if there is none.
fn text_or_dash(value: &Value) -> &str {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("-")
}
