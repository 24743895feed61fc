//! The operators' client: the REST interface on the command line.
//!
//! - `command`: the commands and their options
//! - [`client`]: requests; [`http`]: their transport
//! - [`crl`]: the list of certificates that the broker refuses
//! - [`delta`]: has deltas made
//! - [`order`]: orders an upgrade and follows it
//! - [`rollout`]: plans rollouts, starts and stops them
//! - [`show`]: lists and details as text
//! - [`table`]: attributes and tags in and out
//! - [`out`]: standard output, which may be closed, and terminals' texts, which may be hostile

use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde_json::{json, Value};

use crate::store::jobs::Job;
use crate::store::labels::Change;
use crate::store::orders::Order;
use crate::store::packages::Package;
use crate::store::terminals::Terminal;
use crate::web::deltas::Deltas;
use crate::web::jobs::{JobRecord, Jobs};
use crate::web::orders::lists::Orders;
use crate::web::packages::Packages;
use crate::web::terminals::{CancelledAt, NewLife, Terminals};
use client::Client;
pub use command::{Access, Command};

mod client;
mod command;
mod crl;
mod delta;
mod http;
mod order;
pub mod out;
mod rollout;
pub mod show;
mod table;

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
        Command::Export { filter, access } => {
            let terminals = terminals(&Client::new(&access)?, &[("filter", filter)])?;
            print(&access, &terminals, |all| table::export(all))?;
        }
        Command::Import {
            file,
            dry_run,
            encoding,
            access,
        } => return table::import(&access, &file, &encoding, dry_run),
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
        Command::Life {
            terminal,
            life,
            reason,
            access,
        } => {
            let path = format!("terminals/{terminal}/life");
            let terminal: Terminal =
                Client::new(&access)?.put_json(&path, &NewLife { life, reason })?;
            print(&access, &terminal, |one| {
                show::terminals(std::slice::from_ref(one))
            })?;
        }
        Command::Crl(args) => crl::run(&args)?,
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

/// Returns the text of a JSON value, `-` if there is none.
fn text_or_dash(value: &Value) -> &str {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("-")
}
