//! The operators' commands and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{crl, order, rollout};
use crate::store::terminals::life::Life;

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
    pub(super) station: String,
    /// Certificate authority of the station, if the system does not know it
    #[arg(long, value_name = "FILE", env = "DAU_STATION_CA")]
    pub(super) ca: Option<PathBuf>,
    /// File with the bearer token
    #[arg(long, value_name = "FILE", env = "DAU_STATION_TOKEN_FILE")]
    pub(super) token_file: PathBuf,
    /// Print JSON, as the REST interface returns it
    #[arg(long)]
    pub(super) json: bool,
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
    /// Print attributes and tags as a table of comma-separated values, for `import`
    Export {
        /// Only terminals that this filter fits
        #[arg(long)]
        filter: Option<String>,
        #[command(flatten)]
        access: Access,
    },
    /// Import attributes and tags of many terminals from a table of comma-separated values with the
    /// columns `id`, names of attributes, and `tags`: all of it or nothing
    Import {
        /// The table
        file: PathBuf,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
        /// How it is encoded
        #[arg(long, default_value = "utf-8", value_parser = ["utf-8", "gb18030"])]
        encoding: String,
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
    /// Block or decommission a terminal, or admit it again: `linked`
    Life {
        /// Id of the terminal
        terminal: String,
        /// What it is from now on
        life: Life,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        access: Access,
    },
    /// Make the list of certificates that the broker refuses: those of terminals that are blocked or
    /// decommissioned; run it where the key of the authority is
    Crl(crl::Args),
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

/// Parses an attribute to set; without a value, it is removed.
fn attribute(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("give NAME=VALUE, such as feeder=F12")?;
    let value = Some(value.to_owned()).filter(|value| !value.is_empty());
    Ok((name.to_owned(), value))
}
