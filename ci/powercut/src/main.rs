//! `dau-powercut`: cuts the power of a reference terminal at every write of an upgrade, and looks at what is left.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use clap::{Args, Parser, Subcommand};
use dau_e2e::places::Places;
use dau_powercut::broken::{self, Fault};
use dau_powercut::record::{Notes, Scenario, Studio};
use dau_powercut::results::Results;
use dau_powercut::run::{cheap_numbers, full_numbers, Run};
use dau_powercut::set::Set;
use dau_powercut::timeline::Step;
use dau_powercut::{full, relay, report};

/// Cuts the power of a reference terminal at every write of an upgrade, and looks at what is left.
#[derive(Debug, Parser)]
#[command(name = "dau-powercut", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record what is not recorded yet, check states, write the table.
    Run {
        #[command(flatten)]
        place: Place,
        /// States whose disk is looked at.
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        cheap: u64,
        /// States that run to the end.
        #[arg(long, value_name = "N", default_value_t = 300)]
        full: u64,
        /// States side by side [default: the processors there are]
        #[arg(long, value_name = "N")]
        jobs: Option<usize>,
        /// Put the table into this document.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Check one state again, cheaply and in full, and keep its disk.
    State {
        #[command(flatten)]
        place: Place,
        /// Its number, as a run printed it.
        number: u64,
        /// Look at its disk only.
        #[arg(long)]
        cheap_only: bool,
    },
    /// See that programs which write in a wrong order are found out.
    Broken {
        #[command(flatten)]
        place: Place,
    },
    /// Record anew, whatever there is.
    Record {
        #[command(flatten)]
        place: Place,
    },
    /// Pass standard input and output on to a port: QEMU starts this.
    #[command(hide = true)]
    Relay { port: u16 },
}

/// What is tested, and where.
#[derive(Debug, Args)]
struct Place {
    /// Folder with images and packages of both versions [default: build/images]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Development keys that signed the packages [default: build/pki]
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Folder of recordings and results.
    #[arg(long, value_name = "DIR", default_value = "build/powercut")]
    folder: PathBuf,
    /// What the terminal goes through.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "full,kernel,return,recovery"
    )]
    scenarios: Vec<Scenario>,
    /// Also record the recovery from a cut in the first scenario, to cut it again.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    again: bool,
    /// Chooses the states.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seed: u64,
}

impl Place {
    fn studio(&self) -> Result<Studio> {
        let places = Places::new(self.images.clone(), self.pki.clone())?;
        Studio::new(places, &self.folder)
    }

    /// Records what is missing; all recordings.
    fn recordings(&self, studio: &Studio) -> Result<Vec<Notes>> {
        ensure!(!self.scenarios.is_empty(), "no scenario is named");
        let mut notes = Vec::new();
        for scenario in &self.scenarios {
            let found = match studio.fresh(scenario.name())? {
                Some(found) => found,
                None => {
                    println!("recording {}", scenario.name());
                    studio.record(*scenario)?
                }
            };
            notes.push(found);
        }
        if self.again {
            let again = format!("{}-again", notes[0].name);
            let found = match studio.fresh(&again)? {
                Some(found) => found,
                None => self.record_recovery(studio, &notes[0])?,
            };
            notes.push(found);
        }
        Ok(notes)
    }

    /// Records the recovery from a cut in the middle of the root filesystem, or of the kernel slot where that is all.
    fn record_recovery(&self, studio: &Studio, of: &Notes) -> Result<Notes> {
        let set = Set::open(studio, std::slice::from_ref(of), self.seed)?;
        let states = (0..set.writes()).map(|number| set.state(number));
        let mut states: Vec<_> = states
            .map(|state| (set.step(&state), state))
            .filter(|(step, _)| matches!(step, Step::KernelSlot | Step::Rootfs))
            .collect();
        if states.iter().any(|(step, _)| *step == Step::Rootfs) {
            states.retain(|(step, _)| *step == Step::Rootfs);
        }
        ensure!(!states.is_empty(), "nothing was written in {}", of.name);
        let (step, state) = states.swap_remove(states.len() / 2);
        println!(
            "recording the recovery of {} from state {} ({step:?})",
            of.name, state.number
        );
        let judge = set.judge(state.recording)?;
        judge.show(&state);
        let path = studio.folder.join("cut.img");
        let disk = judge
            .image()
            .save(&path, &studio.recording(&of.name).base())?;
        let began = format!("state {}, seed {}", state.number, self.seed);
        let notes = studio.record_recovery(of, &began, &disk)?;
        std::fs::remove_file(path)?;
        Ok(notes)
    }
}

fn main() -> ExitCode {
    dau_e2e::station::trust_the_site_alone();
    let outcome = match Cli::parse().command {
        Command::Run {
            place,
            cheap,
            full,
            jobs,
            report,
        } => run(&place, cheap, full, jobs, report.as_deref()),
        Command::State {
            place,
            number,
            cheap_only,
        } => state(&place, number, cheap_only),
        Command::Broken { place } => find_broken(&place),
        Command::Record { place } => record(&place),
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
    place: &Place,
    cheap: u64,
    full: u64,
    jobs: Option<usize>,
    document: Option<&Path>,
) -> Result<()> {
    let studio = place.studio()?;
    let notes = place.recordings(&studio)?;
    let set = Set::open(&studio, &notes, place.seed)?;
    let word = format!("{}-{}", set.word(), place.seed);
    println!(
        "seed {}, {} writes in {} recordings, results in {}",
        place.seed,
        set.writes(),
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
        set: &set,
        results: &results,
        failed: studio.folder.join(format!("states-{word}")),
        jobs: jobs.unwrap_or(processors),
    };
    let mut lost = run.cheap(&cheap_numbers(&set, cheap, place.seed))?;
    lost += run.full(&full_numbers(&set, full, place.seed))?;
    let table = report::table(&results.all()?, place.seed, &notes[0].versions);
    match document {
        Some(document) => report::write(document, &table)?,
        None => println!("{table}"),
    }
    match lost {
        0 => Ok(()),
        lost => bail!("{lost} states were lost"),
    }
}

fn state(place: &Place, number: u64, cheap_only: bool) -> Result<()> {
    let studio = place.studio()?;
    let notes = place.recordings(&studio)?;
    let set = Set::open(&studio, &notes, place.seed)?;
    let state = set.state(number);
    println!(
        "{}: {:?} in {:?}, request {} the last, {} and before on the medium, {} others",
        notes[state.recording].name,
        state.kind,
        set.step(&state),
        state.last,
        state.settled,
        state.reached.len()
    );
    let judge = set.judge(state.recording)?;
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
        match full::check(&studio, of, judge.acknowledged()?, &folder) {
            Ok(ended) => println!("full: {ended}"),
            Err(error) => bail!("full: LOST: {error:#}"),
        }
    }
    cheap.map(drop)
}

fn find_broken(place: &Place) -> Result<()> {
    let studio = place.studio()?;
    let notes = place.recordings(&studio)?;
    for fault in Fault::ALL {
        let (found, looked) = broken::find(&studio, &notes[0].name, place.seed, fault)?;
        println!("{fault:?}: found out by the {looked}. state: {found}");
    }
    Ok(())
}

fn record(place: &Place) -> Result<()> {
    let studio = place.studio()?;
    for scenario in &place.scenarios {
        println!("recording {}", scenario.name());
        let notes = studio.record(*scenario)?;
        if place.again && scenario == &place.scenarios[0] {
            place.record_recovery(&studio, &notes)?;
        }
    }
    Ok(())
}
