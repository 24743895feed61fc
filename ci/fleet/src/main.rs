//! `dau-fleet`: a simulated fleet of terminals, against a real broker and a real station.
//!
//! - [`terminal`], [`job`], [`repeat`]: what the agent does at the protocol, as a pure state machine;
//!   [`character`]: what is drawn for each terminal; [`rogue`]: those that do not behave
//! - [`wire`], [`crowd`], [`fetch`]: MQTT connections, the terminals on them, downloads
//! - [`site`], [`postgresql`]: broker, stations and database
//! - [`fleet`], [`run`]: all of them, from the first connection to the last result, with kill -9 in
//!   between
//! - [`rollout`]: a rollout that stops by itself, and a stop of the whole station
//! - [`rest`], [`probe`], [`check`], [`report`]: the station's answers, how long they take, and how
//!   its record compares with what the terminals know

mod character;
mod check;
mod crowd;
mod fetch;
mod fleet;
mod job;
mod options;
mod postgresql;
mod probe;
mod repeat;
mod report;
mod rest;
mod rogue;
mod rollout;
mod run;
mod site;
mod terminal;
mod wire;

use anyhow::{ensure, Result};
use clap::Parser;

use options::Options;

fn main() -> Result<()> {
    let options = Options::parse();
    dau_rig::station::trust_the_site_alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // On this thread: broker and station end with the thread that started them.
    let Some(report) = runtime.block_on(run::run(&options))? else {
        return Ok(());
    };
    print!("{}", report.table());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    let complaints = report.complaints();
    ensure!(complaints.is_empty(), "{}", complaints.join(", "));
    Ok(())
}
