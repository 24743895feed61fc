//! `dau-station migrate`: moves a stopped station from SQLite to PostgreSQL.

use std::path::PathBuf;

use anyhow::{ensure, Context, Result};

use crate::cli::out;
use crate::config::{Config, Database};
use crate::serve;
use crate::store::archive::{self, sign::Key};
use crate::store::migrate::migrate;

/// From where to where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the station, which must be stopped
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/dau-station/station.toml"
    )]
    config: PathBuf,
    /// The empty database, as in database.url: postgresql://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    to: String,
    /// Certificate authority of its server, as in database.ca
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Moves the data, or what is left of them after an interruption.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::load(&args.config)?;
    ensure!(
        config.database.is_none(),
        "{} has a [database] already: remove it to move what is in data_dir",
        args.config.display()
    );
    let target = Database {
        url: args.to.clone(),
        ca: args.ca.clone(),
    };
    target
        .server()
        .map_err(|reason| anyhow::anyhow!(reason.replacen("database.url", "--to", 1)))?;
    let _lock = serve::lock(&config).context("stop the station first")?;
    let key = config.record.key.as_deref().map(Key::load).transpose()?;
    let keys = key.iter().map(Key::public).collect::<Result<Vec<_>>>()?;
    let source = config.data_dir.join("station.db");
    let folder = archive::folder(&config);
    let tables = migrate(&source, &target, &folder, &keys, &mut |line| {
        out::note(line)
    })?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let ca = args.ca.as_ref();
    let ca = ca.map_or(String::new(), |ca| format!("ca = \"{}\"\n", ca.display()));
    out::text(&format!(
        "{rows} rows of {} tables are moved and verified, and so is the record. Add this to {}, and start \
         the station; {} stays as it is:\n\n[database]\nurl = \"{}\"\n{ca}",
        tables.len(),
        args.config.display(),
        source.display(),
        args.to
    ))
}
