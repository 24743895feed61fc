//! Options of `dau-fleet`.

use std::path::PathBuf;

use clap::Parser;

use crate::character::{Faults, Millis};
use crate::fetch::Download;

/// Simulates a fleet of terminals against a real broker and a real station, and compares what the
/// terminals know with the station's record. Fails if a job, a result or a state was lost, or a result doubled.
#[derive(Debug, Clone, Parser, serde::Serialize)]
pub struct Options {
    /// Number of terminals
    #[arg(short = 'n', long, default_value_t = 1000)]
    pub terminals: usize,
    /// Terminals that share a connection; 1: each has its own, with its own certificate
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub each: usize,
    /// A rollout, in which two in a hundred fail, instead of an order for all; and then a stop of the whole
    /// station
    #[arg(long)]
    pub rollout: bool,
    /// Nothing goes wrong: for the figures
    #[arg(long)]
    pub no_faults: bool,
    #[command(flatten)]
    pub rates: Faults,
    /// Terminals beside them that flood, send what is no message, or report others' jobs
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rogues: usize,
    /// Seed of all that is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Least time of a job, ms
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub floor: Millis,
    /// How much of a package each terminal fetches
    #[arg(long, value_enum, default_value_t = Download::Head)]
    pub download: Download,
    /// Size of the package, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    pub package: usize,
    /// Terminals that connect in a second at the start
    #[arg(long, value_name = "N", default_value_t = 2000.0)]
    pub rate: f64,
    /// Seconds for which the station is away while the terminals link up
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub pause: u64,
    /// Pause before a result or EVENT_LINKUP is repeated, ms: the agent's is 30 s
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub repeat: Millis,
    /// Time between two heartbeats, ms
    #[arg(long, value_name = "MS", default_value_t = 300_000)]
    pub heartbeat: Millis,
    /// Seconds until an unanswered order is sent again
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub resend: u64,
    /// Seconds within which all of it must end
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub limit: u64,
    /// The database is PostgreSQL, a server of its own, not SQLite
    #[arg(long)]
    pub postgresql: bool,
    /// Stations on that database; above 1, the last one is killed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub stations: usize,
    /// Folder for the files of broker and station; emptied first [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// File for the figures
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// Returns what goes wrong.
    pub fn faults(&self) -> Faults {
        match self.no_faults {
            true => Faults::none(),
            false => self.rates.clone(),
        }
    }
}
