//! A set of recordings with all that is needed to look at their states.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use dau_e2e::places::{NEW, OLD};

use crate::judge::Judge;
use crate::known::Known;
use crate::record::{Notes, Scenario, Studio};
use crate::recorded::Recorded;
use crate::states::{Catalogue, State, Told};
use crate::timeline::{Step, Timeline};

/// A recording of the set.
#[derive(Debug)]
pub struct Member {
    /// What was recorded.
    pub recorded: Arc<Recorded>,
    /// What it shows.
    pub timeline: Arc<Timeline>,
    known: Arc<Known>,
}

/// The set.
#[derive(Debug)]
pub struct Set {
    /// The recordings, in the order of their states' numbers.
    pub members: Vec<Member>,
    catalogue: Catalogue,
    keyring: PathBuf,
    /// Folder for files that come and go.
    scratch: PathBuf,
}

impl Set {
    /// Opens recordings.
    pub fn open(studio: &Studio, notes: &[Notes], seed: u64) -> Result<Self> {
        let members = std::thread::scope(|scope| {
            let threads: Vec<_> = notes
                .iter()
                .map(|notes| scope.spawn(|| Member::open(studio, notes)))
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(member) => member,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(Self::of(studio, members, seed))
    }

    /// A set of one recording in which something was changed.
    pub fn of(studio: &Studio, members: Vec<Member>, seed: u64) -> Self {
        let catalogue = Catalogue::new(&told(&members), seed);
        Set {
            members,
            catalogue,
            keyring: studio.places.pki().join("keyring"),
            scratch: scratch(),
        }
    }

    /// A word for this set of recordings: numbers of states hold for it only.
    pub fn word(&self) -> String {
        let mut hasher = DefaultHasher::new();
        for member in &self.members {
            member.recorded.notes.name.hash(&mut hasher);
            member.recorded.log.bytes().len().hash(&mut hasher);
            member.timeline.steps.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }

    /// States that have one write as their last: the first numbers.
    pub fn writes(&self) -> u64 {
        self.catalogue.writes()
    }

    /// Describes a state.
    pub fn state(&self, number: u64) -> State {
        self.catalogue.state(&told(&self.members), number)
    }

    /// The step of a state.
    pub fn step(&self, state: &State) -> Step {
        self.members[state.recording].timeline.steps[state.last]
    }

    /// See [`Catalogue::edges`].
    pub fn edges(&self) -> Vec<(u64, usize, Step)> {
        self.catalogue.edges(&told(&self.members))
    }

    /// A judge of the states of one recording.
    pub fn judge(&self, recording: usize) -> Result<Judge> {
        let member = &self.members[recording];
        Judge::new(
            member.recorded.clone(),
            member.timeline.clone(),
            member.known.clone(),
            &self.keyring,
            &self.scratch,
        )
    }
}

/// Where crash states are written to, all the time: memory, where it serves as a disk.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

fn told(members: &[Member]) -> Vec<Told<'_>> {
    members
        .iter()
        .map(|member| (&*member.recorded, &*member.timeline))
        .collect()
}

impl Member {
    /// Opens a recording and goes through it.
    pub fn open(studio: &Studio, notes: &Notes) -> Result<Self> {
        Self::of(studio, Recorded::open(&studio.recording(&notes.name))?)
    }

    /// Goes through a recording.
    pub fn of(studio: &Studio, recorded: Recorded) -> Result<Self> {
        let recorded = Arc::new(recorded);
        let package = match recorded.notes.scenario {
            Scenario::Return => studio.sick_package(),
            other => studio.places.package(NEW, other.kind()),
        };
        let installed = studio.places.package(OLD, "full");
        let timeline = Timeline::of(&recorded, &package, &installed, &scratch())?;
        Ok(Member {
            recorded,
            timeline: Arc::new(timeline),
            known: Arc::default(),
        })
    }
}
