//! What the terminal was doing at every write, and which boot states counted: found in where writes land and in what the
//! partitions say, not in what programs print.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use dau_boot_state::BootState;
use dau_e2e::hostile;
use dau_handoff::{Job, JobState};
use serde::{Deserialize, Serialize};

use crate::checkers::Mended;
use crate::image::Image;
use crate::recorded::{Area, Recorded};
use crate::volumes::{Boot, Left};
use crate::write_log::{Request, Write, SECTOR};

/// A step of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The order has not come yet.
    Idle,
    /// From the order to the parameters' backup.
    Fetch,
    /// The job is armed, the flag is being set.
    Arm,
    /// The flag is set, RecoveryOS verifies.
    Verify,
    /// The unused kernel slot is written.
    KernelSlot,
    /// The root filesystem is written.
    Rootfs,
    /// The root filesystem grows and gets its parameters.
    Restore,
    /// Everything is there, the boot state is being switched.
    Commit,
    /// The new OS runs unconfirmed.
    Trial,
    /// RecoveryOS is upgraded.
    Recovery,
    /// The old root filesystem is put back.
    ReturnRootfs,
    /// The parameters are put back into it, the boot state follows.
    ReturnRestore,
    /// The job is over, its result is on the way.
    Report,
    /// The station has taken the result.
    Done,
}

/// What was found at every request.
#[derive(Debug)]
pub struct Timeline {
    /// For every request, the step during which it was made.
    pub steps: Vec<Step>,
    /// Boot states that counted: from which request on (its index plus one; 0 at first), and the state.
    pub states: Vec<(usize, BootState)>,
    /// From this many requests on, mnt holds the job.
    pub accepted: usize,
}

/// The root filesystems that RecoveryOS writes in a recording.
struct Images {
    new: Vec<u8>,
    old: Vec<u8>,
}

impl Timeline {
    /// Goes through a recording. `ordered` and `installed`: the package of the job and the one before; `folder`: for files.
    pub fn of(
        recorded: &Arc<Recorded>,
        ordered: &Path,
        installed: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let mut mnt = Mended::new(recorded, Area::Mnt, folder.path())?;
        let images = Images {
            // A kernel package has none.
            new: hostile::rootfs_image(ordered).unwrap_or_default(),
            old: hostile::rootfs_image(installed)?,
        };
        let image = Rc::new(RefCell::new(Image::new(recorded.clone())));
        let mut state = Boot::open(&image)?.state()?.context("no boot state")?;
        let mut job: Option<Job> = None;
        let mut timeline = Timeline {
            steps: Vec::new(),
            states: vec![(0, state.clone())],
            accepted: usize::MAX,
        };
        let mut step = Step::Idle;
        let mut touched = [false; 3];
        for (index, request) in recorded.log.requests().iter().enumerate() {
            if let Request::Write(write) = request {
                let area = recorded.area(write);
                step = next(step, recorded, write, area, &images);
                if let Some(area) = area {
                    touched[area as usize] = true;
                }
            }
            timeline.steps.push(step);
            image.borrow_mut().show(index + 1, &[]);
            if std::mem::take(&mut touched[Area::Boot as usize]) {
                // Torn copies do not count.
                if let Some(found) = Boot::open(&image)?.state()? {
                    if found != state {
                        state = found;
                        timeline.states.push((index + 1, state.clone()));
                        step = begin(step, &state, job.as_ref());
                    }
                }
            }
            if *request == Request::Flush && std::mem::take(&mut touched[Area::Mnt as usize]) {
                let mended = mnt.of(&image.borrow())?.map_err(anyhow::Error::msg)?;
                let found = Left::open(mended)?.job_or_result(recorded.notes.job)?;
                if found.as_ref().map(|job| &job.state) != job.as_ref().map(|job| &job.state) {
                    job = found;
                    if job.is_some() {
                        timeline.accepted = timeline.accepted.min(index + 1);
                    }
                    step = begin(step, &state, job.as_ref());
                }
            }
        }
        Ok(timeline)
    }

    /// The requests, all of them writes, by which another boot state came to count.
    pub fn switches(&self) -> impl Iterator<Item = usize> + '_ {
        self.states.iter().skip(1).map(|(from, _)| from - 1)
    }

    /// The boot states that may count when requests before `settled` are on the medium, and those before `at` were made.
    pub fn possible(&self, settled: usize, at: usize) -> &[(usize, BootState)] {
        let first = self.states.partition_point(|(from, _)| *from <= settled);
        let end = self.states.partition_point(|(from, _)| *from <= at);
        &self.states[first.saturating_sub(1)..end.max(first)]
    }
}

/// The step that begins with this job and boot state.
fn begin(step: Step, state: &BootState, job: Option<&Job>) -> Step {
    let Some(job) = job else { return step };
    match &job.state {
        JobState::Accepted | JobState::Downloading | JobState::Verifying | JobState::BackingUp => {
            Step::Fetch
        }
        JobState::Armed if state.upgrade => Step::Verify,
        JobState::Armed => Step::Arm,
        JobState::Installing if matches!(step, Step::Rootfs | Step::Restore) => step,
        JobState::Installing => Step::KernelSlot,
        JobState::Trial if state.upgrade => Step::Commit,
        JobState::Trial => Step::Trial,
        JobState::UpdatingRecovery => Step::Recovery,
        JobState::RollingBack { .. } if step == Step::ReturnRestore => step,
        JobState::RollingBack { .. } => Step::ReturnRootfs,
        JobState::Finished {
            acknowledged: true, ..
        } => Step::Done,
        JobState::Finished { .. } if state.upgrade => step,
        JobState::Finished { .. } => Step::Report,
    }
}

/// The step of a write, where it shows that the one before is over.
fn next(
    step: Step,
    recorded: &Recorded,
    write: &Write,
    area: Option<Area>,
    images: &Images,
) -> Step {
    if area != Some(Area::Rootfs) {
        return step;
    }
    let holds = |image: &[u8]| {
        let start = recorded.extent(Area::Rootfs).start;
        let at = usize::try_from(write.sector * SECTOR as u64 - start).unwrap_or(usize::MAX);
        let data = recorded.log.data(write);
        at.checked_add(data.len())
            .and_then(|end| image.get(at..end))
            == Some(data)
    };
    match step {
        Step::KernelSlot | Step::Rootfs if holds(&images.new) => Step::Rootfs,
        Step::KernelSlot | Step::Rootfs => Step::Restore,
        Step::ReturnRootfs if !holds(&images.old) => Step::ReturnRestore,
        _ => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_since_the_last_flush_may_count() {
        let state = |seq| BootState {
            seq,
            ..BootState::factory()
        };
        let timeline = Timeline {
            steps: Vec::new(),
            states: vec![(0, state(1)), (5, state(2)), (9, state(3))],
            accepted: 0,
        };
        for (settled, at, expected) in [
            (0, 3, vec![1]),
            (3, 5, vec![1, 2]),
            (5, 6, vec![2]),
            (3, 9, vec![1, 2, 3]),
            (6, 9, vec![2, 3]),
            (12, 20, vec![3]),
        ] {
            let found: Vec<u32> = timeline
                .possible(settled, at)
                .iter()
                .map(|(_, state)| state.seq)
                .collect();
            assert_eq!(found, expected, "{settled} {at}");
        }
    }
}
