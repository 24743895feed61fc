//! `dau-powercut`: cuts the power of a reference terminal at every write of an upgrade, and checks
//! its disk.

mod options;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, Result};
use clap::{Parser, Subcommand};
use dau_powercut::broken::{self, Fault};
use dau_powercut::choice::{cheap_numbers, full_numbers};
use dau_powercut::recordings::Recordings;
use dau_powercut::results::Results;
use dau_powercut::run::Run;
use dau_powercut::{full_check, relay, report};

use options::Options;

/// Cuts the power of a reference terminal at every write of an upgrade, and checks its disk.
#[derive(Debug, Parser)]
#[command(name = "dau-powercut", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make missing recordings, check states, write the table.
    Run {
        #[command(flatten)]
        options: Options,
        /// Number of states to check on the disk alone
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        cheap: u64,
        /// Number of states to boot and run to the end
        #[arg(long, value_name = "N", default_value_t = 300)]
        full: u64,
        /// States checked in parallel [default: the number of processors]
        #[arg(long, value_name = "N")]
        jobs: Option<usize>,
        /// Document to put the table into
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Check one state again, cheaply and in full, and keep its disk.
    State {
        #[command(flatten)]
        options: Options,
        /// Its number, as a run printed it
        number: u64,
        /// Check its disk only, without booting
        #[arg(long)]
        cheap_only: bool,
    },
    /// Check that programs which write in a wrong order are detected.
    Broken {
        #[command(flatten)]
        options: Options,
    },
    /// Make all recordings anew.
    Record {
        #[command(flatten)]
        options: Options,
    },
    /// Connect standard input and output to a port (started by QEMU).
    #[command(hide = true)]
    Relay { port: u16 },
}

fn main() -> ExitCode {
    dau_rig::station::trust_the_site_alone();
    let outcome = match Cli::parse().command {
        Command::Run {
            options,
            cheap,
            full,
            jobs,
            report,
        } => run(&options, cheap, full, jobs, report.as_deref()),
        Command::State {
            options,
            number,
            cheap_only,
        } => state(&options, number, cheap_only),
        Command::Broken { options } => find_broken(&options),
        Command::Record { options } => record(&options),
        Command::Relay { port } => relay::run(port),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dau-powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    options: &Options,
    cheap: u64,
    full: u64,
    jobs: Option<usize>,
    document: Option<&Path>,
) -> Result<()> {
    let studio = options.studio()?;
    let notes = options.recordings(&studio)?;
    let recordings = Recordings::open(&studio, &notes, options.seed)?;
    let word = format!("{}-{}", recordings.digest(), options.seed);
    println!(
        "seed {}, {} writes in {} recordings, results in {}",
        options.seed,
        recordings.writes(),
        notes.len(),
        studio
            .folder
            .join(format!("results-{word}.jsonl"))
            .display()
    );
    let results = Results::open(&studio.folder.join(format!("results-{word}.jsonl")))?;
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    let run = Run {
        studio: &studio,
        recordings: &recordings,
        results: &results,
        failed: studio.folder.join(format!("states-{word}")),
        jobs: jobs.unwrap_or(processors),
    };
    let mut lost = run.cheap(&cheap_numbers(&recordings, cheap, options.seed))?;
    lost += run.full(&full_numbers(&recordings, full, options.seed))?;
    let table = report::table(&results.all()?, options.seed, &notes[0].versions);
    match document {
        Some(document) => report::write(document, &table)?,
        None => println!("{table}"),
    }
    match lost {
        0 => Ok(()),
        lost => bail!("{lost} states were lost"),
    }
}

fn state(options: &Options, number: u64, cheap_only: bool) -> Result<()> {
    let studio = options.studio()?;
    let notes = options.recordings(&studio)?;
    let recordings = Recordings::open(&studio, &notes, options.seed)?;
    let state = recordings.state(number);
    println!(
        "{}: {:?} in {:?}, request {} the last, {} and before on the medium, {} others",
        notes[state.recording].name,
        state.kind,
        recordings.step(&state),
        state.last,
        state.settled,
        state.reached.len()
    );
    let judge = recordings.judge(state.recording)?;
    let cheap = judge.judge(&state);
    let folder = studio.folder.join("state");
    std::fs::create_dir_all(&folder)?;
    let of = &notes[state.recording];
    let base = studio.recording(&of.name).base();
    let disk = judge.image().save(&folder.join("disk.img"), &base)?;
    println!("its disk is {}", disk.path().display());
    match &cheap {
        Ok(lead) => println!("cheap: leads to {lead}"),
        Err(error) => println!("cheap: LOST: {error:#}"),
    }
    if !cheap_only {
        match full_check::check(&studio, of, judge.acknowledged()?, &folder) {
            Ok(ended) => println!("full: {ended}"),
            Err(error) => bail!("full: LOST: {error:#}"),
        }
    }
    cheap.map(drop)
}

fn find_broken(options: &Options) -> Result<()> {
    let studio = options.studio()?;
    let notes = options.recordings(&studio)?;
    for fault in Fault::ALL {
        let (found, checked) = broken::find(&studio, &notes[0].name, options.seed, fault)?;
        println!("{fault:?}: detected by the {checked}. state: {found}");
    }
    Ok(())
}

fn record(options: &Options) -> Result<()> {
    let studio = options.studio()?;
    for scenario in &options.scenarios {
        println!("recording {}", scenario.name());
        let notes = studio.record(*scenario)?;
        if options.again && scenario == &options.scenarios[0] {
            options.record_recovery(&studio, &notes)?;
        }
    }
    Ok(())
}
