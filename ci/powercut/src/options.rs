//! Options common to all commands.

use std::path::PathBuf;

use anyhow::{ensure, Result};
use clap::Args;
use dau_powercut::notes::Notes;
use dau_powercut::record::Studio;
use dau_powercut::recordings::Recordings;
use dau_powercut::scenario::Scenario;
use dau_powercut::step::Step;
use dau_rig::places::Places;

/// The images under test, and the folder for recordings.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder with images and packages of both versions [default: build/images]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Development keys that signed the packages [default: build/pki]
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Folder for recordings and results
    #[arg(long, value_name = "DIR", default_value = "build/powercut")]
    folder: PathBuf,
    /// Scenario of the terminal (may be repeated)
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "full,kernel,return,recovery,delta"
    )]
    pub scenarios: Vec<Scenario>,
    /// Also record the recovery from a cut in the first scenario, and cut it again
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub again: bool,
    /// Seed for the choice of states
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seed: u64,
}

impl Options {
    pub fn studio(&self) -> Result<Studio> {
        let places = Places::new(self.images.clone(), self.pki.clone())?;
        Studio::new(places, &self.folder)
    }

    /// Makes missing recordings and returns the notes of all.
    pub fn recordings(&self, studio: &Studio) -> Result<Vec<Notes>> {
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

    /// Records the recovery from a cut while the root filesystem is written, or the kernel slot if
    /// there is no root filesystem.
    pub fn record_recovery(&self, studio: &Studio, of: &Notes) -> Result<Notes> {
        let recordings = Recordings::open(studio, std::slice::from_ref(of), self.seed)?;
        let states = (0..recordings.writes()).map(|number| recordings.state(number));
        let mut states: Vec<_> = states
            .map(|state| (recordings.step(&state), state))
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
        let judge = recordings.judge(state.recording)?;
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
