//! The step of every write, and the valid boot states, derived from the places of writes and the
//! partitions' contents, not from the programs' output.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use dau_boot_state::BootState;
use dau_handoff::Job;
use dau_rig::hostile;

use crate::checkers::Repaired;
use crate::image::Image;
use crate::partition::Partition;
use crate::recorded::Recorded;
use crate::step::Step;
use crate::volumes::{Boot, MntFiles};
use crate::write_log::{Request, Write, SECTOR};

/// The steps and boot states of a recording.
#[derive(Debug)]
pub struct Timeline {
    /// The step of every request.
    pub steps: Vec<Step>,
    /// Valid boot states: the number of requests after which each is valid, and the state.
    pub states: Vec<(usize, BootState)>,
    /// The number of requests after which mnt holds the job.
    pub accepted: usize,
}

/// The root filesystem images of a recording.
struct Images {
    new: Vec<u8>,
    old: Vec<u8>,
}

impl Timeline {
    /// Derives the timeline. `ordered` and `installed`: the job's package and the previous one;
    /// `folder`: for temporary files.
    pub fn of(
        recorded: &Arc<Recorded>,
        ordered: &Path,
        installed: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let mut mnt = Repaired::new(recorded, Partition::Mnt, folder.path())?;
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
                let partition = recorded.partition(write);
                step = next(step, recorded, write, partition, &images);
                if let Some(partition) = partition {
                    touched[partition as usize] = true;
                }
            }
            timeline.steps.push(step);
            image.borrow_mut().show(index + 1, &[]);
            if std::mem::take(&mut touched[Partition::Boot as usize]) {
                // A torn copy is not valid.
                if let Some(found) = Boot::open(&image)?.state()? {
                    if found != state {
                        state = found;
                        timeline.states.push((index + 1, state.clone()));
                        step = step.begin(recorded.notes.scenario, &state, job.as_ref());
                    }
                }
            }
            if *request == Request::Flush && std::mem::take(&mut touched[Partition::Mnt as usize]) {
                let repaired = mnt.of(&image.borrow())?.map_err(anyhow::Error::msg)?;
                let found = MntFiles::open(repaired)?.job_or_result(recorded.notes.job)?;
                if found.as_ref().map(Job::state) != job.as_ref().map(Job::state) {
                    job = found;
                    if job.is_some() {
                        timeline.accepted = timeline.accepted.min(index + 1);
                    }
                    step = step.begin(recorded.notes.scenario, &state, job.as_ref());
                }
            }
        }
        Ok(timeline)
    }

    /// Returns the indices of the requests, all writes, that made another boot state valid.
    pub fn switches(&self) -> impl Iterator<Item = usize> + '_ {
        self.states.iter().skip(1).map(|(from, _)| from - 1)
    }

    /// Returns the boot states that may be valid when the requests before `settled` are on the
    /// medium and those before `at` were made.
    pub fn possible(&self, settled: usize, at: usize) -> &[(usize, BootState)] {
        let first = self.states.partition_point(|(from, _)| *from <= settled);
        let end = self.states.partition_point(|(from, _)| *from <= at);
        &self.states[first.saturating_sub(1)..end.max(first)]
    }
}

/// Returns the step that a write begins, if it shows that the previous one is over.
fn next(
    step: Step,
    recorded: &Recorded,
    write: &Write,
    partition: Option<Partition>,
    images: &Images,
) -> Step {
    if partition != Some(Partition::Rootfs) {
        return step;
    }
    let holds = |image: &[u8]| {
        let start = recorded.extent(Partition::Rootfs).start;
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
