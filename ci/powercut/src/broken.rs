//! Broken programs, made from the recording of a correct one: the same writes in a wrong order or
//! without flushes. The harness must find what each of them loses.

use anyhow::{bail, ensure, Context, Result};

use crate::record::Studio;
use crate::recorded::Recorded;
use crate::recordings::{Member, Recordings};
use crate::step::Step;
use crate::timeline::Timeline;
use crate::write_log::Request;

/// States to check before a fault counts as not detected.
const MAX_STATES: usize = 4000;
/// State numbers to search for states within the broken range.
const NUMBERS: u64 = 4_000_000;

/// A fault of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// RecoveryOS commits before it writes the root filesystem, not after it was read back.
    CommitFirst,
    /// The agent sets the flag without syncing the job, the package and the backup.
    NoSync,
    /// The boot state overwrites its valid copy instead of the other one.
    WrongCopy,
    /// RecoveryOS does not sync the kernel slot and the root filesystem before it commits.
    NoSyncBeforeCommit,
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 4] = [
        Fault::CommitFirst,
        Fault::NoSync,
        Fault::WrongCopy,
        Fault::NoSyncBeforeCommit,
    ];
}

/// The requests that differ in the broken program.
type Place = std::ops::Range<usize>;

/// Applies a fault to the recording and searches for a state with a loss. Returns the loss, and the
/// number of states checked.
pub fn find(studio: &Studio, name: &str, seed: u64, fault: Fault) -> Result<(String, usize)> {
    let recorded = Recorded::open(&studio.recording(name))?;
    let right = Member::open(studio, &recorded.notes)?;
    let (requests, place) = requests(&recorded, &right.timeline, fault)?;
    let broken = Member::of(studio, recorded.changed(|_| requests)?)?;
    let recordings = Recordings::of(studio, vec![broken], seed);
    let judge = recordings.judge(0)?;
    let states = (0..NUMBERS)
        .map(|number| recordings.state(number))
        .filter(|state| place.contains(&state.last));
    let mut checked = 0;
    for state in states.take(MAX_STATES) {
        checked += 1;
        if let Err(error) = judge.judge(&state) {
            let kind = state.kind;
            return Ok((
                format!("{kind:?}, state {}: {error:#}", state.number),
                checked,
            ));
        }
    }
    bail!("{fault:?} was not detected in {checked} states: the check is worth nothing")
}

fn requests(
    recorded: &Recorded,
    timeline: &Timeline,
    fault: Fault,
) -> Result<(Vec<Request>, Place)> {
    let mut requests = recorded.log.requests().to_vec();
    // The request that wrote each boot state.
    let made: Vec<usize> = timeline.switches().collect();
    let armed = timeline.states.iter().position(|(_, state)| state.upgrade);
    let committed = timeline
        .states
        .iter()
        .position(|(_, state)| state.trial && !state.upgrade);
    let armed = made[armed.context("the flag is never set")? - 1];
    let commit = made[committed.context("nothing is committed")? - 1];
    let first = |step| {
        timeline
            .steps
            .iter()
            .position(|found| *found == step)
            .with_context(|| format!("no write in {step:?}"))
    };
    Ok(match fault {
        Fault::CommitFirst => {
            let rootfs = first(Step::Rootfs)?;
            let write = requests.remove(commit);
            requests.insert(rootfs, Request::Flush);
            requests.insert(rootfs, write);
            (requests, rootfs..commit)
        }
        Fault::NoSync => without_flushes(requests, first(Step::Fetch)?, armed),
        Fault::NoSyncBeforeCommit => without_flushes(requests, first(Step::KernelSlot)?, commit),
        Fault::WrongCopy => {
            let before = made[made
                .iter()
                .position(|index| *index == commit)
                .filter(|place| *place > 0)
                .context("the commit is not the first boot state")?
                - 1];
            let (Request::Write(mut write), Request::Write(other)) =
                (requests[commit], requests[before])
            else {
                bail!("a boot state that nobody wrote");
            };
            ensure!(write.sector != other.sector, "both copies at one place");
            write.sector = other.sector;
            requests[commit] = Request::Write(write);
            (requests, commit..commit + 1)
        }
    })
}

/// Removes the flushes from `start` to before `end`, where the boot state is written.
fn without_flushes(requests: Vec<Request>, start: usize, end: usize) -> (Vec<Request>, Place) {
    let mut kept = Vec::new();
    let mut last = end;
    for (index, request) in requests.into_iter().enumerate() {
        if (start..end).contains(&index) && request == Request::Flush {
            last -= 1;
        } else {
            kept.push(request);
        }
    }
    (kept, last..last + 1)
}
