//! `dau-e2e`: end-to-end tests, demo and measurements on emulated terminals.
//!
//! - `runner`: runs the tests on several terminals in parallel
//! - `scenarios`: the tests, in suites; each gets a running [`Site`](dau_rig::site::Site)
//! - `demo`: one upgrade, shown stage by stage; `measure`: memory, sizes and the time out of service
//!
//! # What it guarantees
//!
//! - A test asserts what an operator sees at the station and what is on the disk, never what a program
//!   keeps to itself.
//! - A failure names the folder of the test and shows the end of the terminal's console.
//! - Suites share nothing, so their order and number in parallel do not matter.
//!
//! # By hand
//!
//! `ci/e2e/run --only NAME` builds what is missing; ci/e2e/README.md tells the rest.

mod demo;
mod measure;
mod runner;
mod scenarios;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dau_rig::places::Places;
use dau_rig::station;

/// End-to-end tests, demo and measurements on emulated terminals.
#[derive(Debug, Parser)]
#[command(name = "dau-e2e", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the end-to-end tests.
    Run {
        #[command(flatten)]
        images: Images,
        /// Full package of another product and builder, signed by the same keys, which must be
        /// refused
        #[arg(long, value_name = "FILE")]
        foreign: Option<PathBuf>,
        /// Run only tests whose name contains this, or one of several with commas between them
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        /// Run only the tests of failing media (not run otherwise)
        #[arg(long)]
        media: bool,
        /// List the tests and exit
        #[arg(long)]
        list: bool,
        /// Terminals in parallel; they wait more than they compute
        #[arg(long, value_name = "N", default_value_t = in_parallel())]
        jobs: usize,
    },
    /// Show a whole upgrade, stage by stage.
    Demo {
        #[command(flatten)]
        images: Images,
    },
    /// Measure memory, sizes and the time out of service.
    Measure {
        #[command(flatten)]
        images: Images,
        /// Number of upgrades to take medians of
        #[arg(long, value_name = "N", default_value_t = 1)]
        runs: usize,
        /// File to write the figures to, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// The images under test.
#[derive(Debug, Args)]
struct Images {
    /// Folder with images and packages of both versions [default: build/images]
    #[arg(long = "images", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Development keys that signed the packages [default: build/pki]
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
}

impl Images {
    fn places(self) -> anyhow::Result<Places> {
        Places::new(self.folder, self.pki)
    }
}

/// Returns twice the number of processors, and 8 at most: each terminal takes memory, too.
fn in_parallel() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| (2 * processors.get()).min(8))
}

fn main() -> ExitCode {
    station::trust_the_site_alone();
    let outcome = match Cli::parse().command {
        Command::Run { list: true, .. } => {
            runner::list();
            Ok(())
        }
        Command::Run {
            images,
            foreign,
            only,
            media,
            jobs,
            ..
        } => images.places().and_then(|places| {
            let places = places.with_foreign(foreign);
            runner::run(&places, &runner::Options { only, media, jobs })
        }),
        Command::Demo { images } => demo::run(images.folder.as_deref(), images.pki.as_deref()),
        Command::Measure { images, runs, json } => images
            .places()
            .and_then(|places| measure::run(&places, runs, json.as_deref())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dau-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}
