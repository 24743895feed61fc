//! `dau-e2e`: end-to-end tests, demo and measurements on terminals that really boot.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dau_e2e::places::Places;
use dau_e2e::{demo, measure, runner, station};

/// End-to-end tests, demo and measurements on terminals that really boot.
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
        /// A full package that another builder made for its own product, signed by the same keys: to be refused.
        #[arg(long, value_name = "FILE")]
        foreign: Option<PathBuf>,
        /// Only the tests whose name contains this.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// The tests of media that fail, which are not run otherwise.
        #[arg(long)]
        media: bool,
        /// Name the tests and do nothing.
        #[arg(long)]
        list: bool,
        /// Terminals side by side.
        #[arg(long, value_name = "N", default_value_t = 2)]
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
        /// Upgrades to take medians of.
        #[arg(long, value_name = "N", default_value_t = 1)]
        runs: usize,
        /// Write the figures as JSON to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// Whose images.
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
