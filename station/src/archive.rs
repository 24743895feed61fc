//! `dau-station archive`: the archives of the record, on the station's machine, whether the station
//! runs or not.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use dau_protocol::timestamp;

use crate::cli::out;
use crate::cli::show;
use crate::clock;
use crate::config::Config;
use crate::store::archive::sign::{Key, PublicKey};
use crate::store::archive::verify::{verify, Report};
use crate::store::archive::{self, Archive, Limits};
use crate::store::events;
use crate::store::Store;

/// Where the station is.
#[derive(Debug, Args)]
pub struct Place {
    /// Configuration file of the station
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/dau-station/station.toml"
    )]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Move events from the database into archives: those of months that have ended
    Seal {
        /// All events before this time instead, such as 2026-11-26T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        before: Option<i64>,
        #[command(flatten)]
        place: Place,
    },
    /// List the archives
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Check every event, hash, archive and signature; exit status 0 only if all are right
    Verify {
        /// Public key of archives that an earlier key signed
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Show the whole record of a job, out of archives and database
    Show {
        /// Id of the job
        job: i64,
        #[command(flatten)]
        place: Place,
    },
}

fn time(text: &str) -> Result<i64, String> {
    timestamp::parse(&json!(text)).ok_or_else(|| "give a time such as 2026-11-26T12:00:00Z".into())
}

/// Does it.
pub fn run(command: &Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(carry_out(command))
}

async fn carry_out(command: &Command) -> Result<ExitCode> {
    let (Command::Seal { place, .. }
    | Command::List { place }
    | Command::Verify { place, .. }
    | Command::Show { place, .. }) = command;
    let config = Config::load(&place.config)?;
    let store = Store::of(&config).await?;
    let key = config.record.key.as_deref().map(Key::load).transpose()?;
    let folder = archive::folder(&config);
    match command {
        Command::Seal { before, .. } => {
            let before = before.unwrap_or_else(|| archive::month(clock::now()));
            let limits = Limits::before(before);
            let sealed = archive::seal(&store, folder, limits, key.as_ref()).await?;
            print(place, &json!({ "sealed": sealed }), || {
                format!("{sealed} archives were written\n")
            })?;
        }
        Command::List { .. } => {
            let archives = store.read(archive::all).await?;
            print(place, &json!(archives), || {
                archives.iter().map(line).collect()
            })?;
        }
        Command::Verify { key: keys, .. } => {
            let mut public = Vec::new();
            for path in keys {
                public.push(PublicKey::load(path)?);
            }
            if let Some(key) = &key {
                public.push(key.public()?);
            }
            let report = verify(&store, folder, public).await?;
            print(place, &json!(report), || found(&report))?;
            if !report.problems.is_empty() {
                return Ok(ExitCode::from(1));
            }
        }
        Command::Show { job, .. } => {
            let events = events::whole(&store, folder, *job).await?;
            anyhow::ensure!(!events.is_empty(), "the record has no job {job}");
            print(place, &json!(events), || show::events(&events))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(place: &Place, value: &serde_json::Value, text: impl FnOnce() -> String) -> Result<()> {
    match place.json {
        true => out::json(value),
        false => out::text(&text()),
    }
}

fn line(archive: &Archive) -> String {
    format!(
        "{}  events {} to {}  {} to {}  {} bytes  {}\n",
        archive.file_name(),
        archive.first,
        archive.last,
        clock::text(archive.first_at),
        clock::text(archive.last_at),
        archive.bytes,
        archive.sha256
    )
}

fn found(report: &Report) -> String {
    let mut text: String = report.problems.iter().fold(String::new(), |text, problem| {
        text + &format!("PROBLEM {}\n", out::escaped(problem))
    });
    let verdict = match report.problems.is_empty() {
        true => "the record is whole",
        false => "the record is NOT whole",
    };
    text += &format!(
        "{verdict}: {} archives, {} events in the database; the last is {}, its hash {}\n",
        report.archives,
        report.events,
        report.last.unwrap_or(0),
        report.last_hash.as_deref().unwrap_or("none")
    );
    text
}
