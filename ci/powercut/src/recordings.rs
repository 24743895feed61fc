//! Several recordings, whose crash states are numbered together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use dau_rig::places::{NEW, OLD};

use crate::cache::Cache;
use crate::crash::State;
use crate::judge::Judge;
use crate::notes::Notes;
use crate::record::Studio;
use crate::recorded::Recorded;
use crate::scenario::Scenario;
use crate::states::{Catalogue, Source};
use crate::step::Step;
use crate::timeline::Timeline;

/// A recording and its timeline.
#[derive(Debug)]
pub struct Member {
    pub recorded: Arc<Recorded>,
    pub timeline: Arc<Timeline>,
    cache: Arc<Cache>,
}

/// Several recordings, with all that is needed to check their states.
#[derive(Debug)]
pub struct Recordings {
    /// The recordings, in the order of their states' numbers.
    pub members: Vec<Member>,
    catalogue: Catalogue,
    keyring: PathBuf,
    /// Folder for temporary files.
    scratch: PathBuf,
}

impl Recordings {
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

    /// Combines opened recordings.
    pub fn of(studio: &Studio, members: Vec<Member>, seed: u64) -> Self {
        let catalogue = Catalogue::new(&sources(&members), seed);
        Recordings {
            members,
            catalogue,
            keyring: studio.places.pki().join("keyring"),
            scratch: scratch(),
        }
    }

    /// Returns a digest of these recordings; state numbers hold for them only.
    pub fn digest(&self) -> String {
        let mut hasher = DefaultHasher::new();
        for member in &self.members {
            member.recorded.notes.name.hash(&mut hasher);
            member.recorded.log.bytes().len().hash(&mut hasher);
            member.timeline.steps.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }

    /// Returns the number of writes; they have one state each, with the first numbers.
    pub fn writes(&self) -> u64 {
        self.catalogue.writes()
    }

    /// Describes a state.
    pub fn state(&self, number: u64) -> State {
        self.catalogue.state(&sources(&self.members), number)
    }

    /// Returns the step of a state.
    pub fn step(&self, state: &State) -> Step {
        self.members[state.recording].timeline.steps[state.last]
    }

    /// Returns the states at the edges of steps, see [`Catalogue::edges`].
    pub fn edges(&self) -> Vec<(u64, usize, Step)> {
        self.catalogue.edges(&sources(&self.members))
    }

    /// Returns a judge for the states of one recording.
    pub fn judge(&self, recording: usize) -> Result<Judge> {
        let member = &self.members[recording];
        Judge::new(
            member.recorded.clone(),
            member.timeline.clone(),
            member.cache.clone(),
            &self.keyring,
            &self.scratch,
        )
    }
}

/// Returns a folder for temporary files: in memory if possible.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

fn sources(members: &[Member]) -> Vec<Source<'_>> {
    members
        .iter()
        .map(|member| (&*member.recorded, &*member.timeline))
        .collect()
}

impl Member {
    /// Opens a recording and derives its timeline.
    pub fn open(studio: &Studio, notes: &Notes) -> Result<Self> {
        Self::of(studio, Recorded::open(&studio.recording(&notes.name))?)
    }

    /// Derives a recording's timeline.
    pub fn of(studio: &Studio, recorded: Recorded) -> Result<Self> {
        let recorded = Arc::new(recorded);
        let package = match recorded.notes.scenario {
            Scenario::Return => studio.sick_package(),
            Scenario::Delta => studio.delta_target(),
            other => studio.places.package(NEW, other.kind()),
        };
        let installed = studio.places.package(OLD, "full");
        let timeline = Timeline::of(&recorded, &package, &installed, &scratch())?;
        Ok(Member {
            recorded,
            timeline: Arc::new(timeline),
            cache: Arc::default(),
        })
    }
}
