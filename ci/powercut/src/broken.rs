//! Programs that write in the wrong order, made from a recording of the right one: the same writes, ordered or flushed as
//! a broken program would. The harness must find what each of them loses.

use anyhow::{bail, ensure, Context, Result};

use crate::record::Studio;
use crate::recorded::Recorded;
use crate::set::{Member, Set};
use crate::timeline::{Step, Timeline};
use crate::write_log::Request;

/// States that are looked at before a broken program counts as not found out.
const PATIENCE: usize = 400;
/// Numbers of states that are gone through for those that lie where it is broken.
const NUMBERS: u64 = 400_000;

/// What is wrong with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// RecoveryOS commits before it writes the root filesystem, not after it was read back.
    CommitFirst,
    /// The agent sets the flag without having synced the job, the package and the backup.
    NoSync,
    /// The boot state is written over the copy that counts, not over the other one.
    WrongCopy,
    /// RecoveryOS does not sync the kernel slot and the root filesystem before it commits.
    NoSyncBeforeCommit,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [
        Fault::CommitFirst,
        Fault::NoSync,
        Fault::WrongCopy,
        Fault::NoSyncBeforeCommit,
    ];
}

/// Where a broken program differs: requests from the first to before the last one.
type Place = std::ops::Range<usize>;

/// Makes the program of the recording broken, and looks for a state that it loses; what was lost, and the states it took.
pub fn find(studio: &Studio, name: &str, seed: u64, fault: Fault) -> Result<(String, usize)> {
    let recorded = Recorded::open(&studio.recording(name))?;
    let right = Member::open(studio, &recorded.notes)?;
    let (requests, place) = requests(&recorded, &right.timeline, fault)?;
    let broken = Member::of(studio, recorded.changed(|_| requests)?)?;
    let set = Set::of(studio, vec![broken], seed);
    let judge = set.judge(0)?;
    let states = (0..NUMBERS)
        .map(|number| set.state(number))
        .filter(|state| place.contains(&state.last));
    let mut looked = 0;
    for state in states.take(PATIENCE) {
        looked += 1;
        if let Err(error) = judge.judge(&state) {
            let kind = state.kind;
            return Ok((
                format!("{kind:?}, state {}: {error:#}", state.number),
                looked,
            ));
        }
    }
    bail!("{fault:?} was not found out in {looked} states: the check is worth nothing")
}

fn requests(
    recorded: &Recorded,
    timeline: &Timeline,
    fault: Fault,
) -> Result<(Vec<Request>, Place)> {
    let mut requests = recorded.log.requests().to_vec();
    // The request that brought each boot state about.
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

/// Nothing is flushed from `start` to before `end`, where the boot state is written.
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
