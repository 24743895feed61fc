//! Every state of a job against what may be on disk, and what must hold in all of it.

use dau_boot_state::{BootState, Operation};
use dau_handoff::{Job, JobResult, Order, ParametersRecord};
use dau_model::{Kind, Slot, State, Word};
use dau_system::cmdline::BootReason;

use super::*;

mod recovery_os;

const NOW: u64 = 2_000_000_000;

/// What is on the partition boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Set,
    Trial,
    Steady,
    Unknown,
}
use Boot::*;

impl Boot {
    fn state(self) -> Option<BootState> {
        let factory = BootState::factory();
        match self {
            Set => Some(factory.armed(Operation::Install(Kind::Full))),
            Trial => Some(factory.committed(Slot::B, 3)),
            Steady => Some(factory),
            Unknown => None,
        }
    }
}

fn job(state: State) -> Job {
    let mut job = Job::new(7, Order::sample(Kind::Full));
    job.force(state);
    job.reboots = 1;
    job
}

fn nothing(job: &Job) -> Found<'_> {
    Found {
        job: Some(job),
        known: None,
        now: NOW,
        waits: false,
        part: Part::None,
        candidate: false,
        backup: false,
        boot: None,
        runs_ordered: false,
        recovery: None,
        reason: Some(BootReason::Steady),
    }
}

fn backed_up() -> ParametersRecord {
    ParametersRecord {
        backup_sha256: String::new(),
        digest: String::new(),
        entries: 0,
    }
}

/// A step in a word or two.
fn brief(step: &Step) -> String {
    match step {
        Step::Enter(state) => format!("enter {state}"),
        Step::Run(work) => format!("run {work:?}"),
        Step::Arm(operation) => format!("arm {operation}"),
        Step::KeepRecovery(reason) => format!("keep: {}", reason.word),
        Step::GiveUp(failure) => format!("give up: {}", failure.reason.word),
        Step::Finish(result) => format!("{}: {}", result.outcome, result.reason.word),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_was_fetched_and_verified_leads_to_the_flag() {
    use Part::{Begun, Delta, None as Gone, Whole};
    use State::{BackingUp, Downloading, Verifying};
    // State, part, candidate, manifest noted, backup noted.
    let table = [
        (Downloading, Gone, false, false, false, "run Download"),
        (Downloading, Begun, false, false, false, "run Download"),
        (Downloading, Whole, false, false, false, "enter verifying"),
        (Verifying, Whole, false, false, false, "run Verify"),
        // Verified, but no candidate yet, or power went before it was removed.
        (Downloading, Delta, false, false, false, "enter verifying"),
        (Verifying, Delta, false, false, false, "run Rebuild"),
        (Verifying, Delta, true, false, false, "run Rebuild"),
        // Damaged, and thrown away.
        (Verifying, Begun, false, false, false, "enter downloading"),
        (Verifying, Gone, false, false, false, "enter downloading"),
        // Power went between the renaming and the job file.
        (Verifying, Gone, true, false, false, "run Verify"),
        (Verifying, Gone, true, true, false, "enter backing-up"),
        (Verifying, Whole, true, true, false, "run Verify"),
        (BackingUp, Gone, true, true, false, "run Backup"),
        (BackingUp, Gone, true, true, true, "enter armed"),
        (BackingUp, Gone, false, true, true, "enter verifying"),
        (BackingUp, Gone, true, false, false, "enter verifying"),
    ];
    for (state, part, candidate, manifest, backup, expected) in table {
        let mut job = job(state);
        job.manifest_sha256 = manifest.then(String::new);
        job.parameters = backup.then(backed_up);
        let step = plan(Found {
            part,
            candidate,
            ..nothing(&job)
        });
        assert_eq!(brief(&step), expected, "{state} {part:?} {candidate}");
    }
    let mut recovery = job(Verifying);
    recovery.order.kind = Kind::Recovery;
    recovery.manifest_sha256 = Some(String::new());
    let step = plan(Found {
        candidate: true,
        ..nothing(&recovery)
    });
    assert_eq!(step, Step::Enter(State::UpdatingRecovery));
}

#[test]
fn a_job_starts_in_its_time_or_ends() {
    let step = |start_at, expires_at, waits| {
        let mut job = job(State::Accepted);
        (job.order.start_at, job.order.expires_at) = (start_at, expires_at);
        brief(&plan(Found {
            waits,
            ..nothing(&job)
        }))
    };
    assert_eq!(step(NOW, None, false), "enter downloading");
    assert_eq!(step(NOW + 60, None, true), "Rest");
    assert_eq!(step(NOW, Some(NOW - 1), false), "cancelled: expired");
    assert_eq!(step(u64::MAX, None, true), "failed: policy");
}

#[test]
fn what_the_boot_state_says_decides_from_the_flag_on() {
    use State::{Armed, Finished, Installing, RollingBack};
    let unreachable = "give up: recovery-unreachable";
    // State, boot state, what follows, and what does where three reboots brought nothing.
    let table = [
        (Armed, Steady, "arm full", unreachable),
        (Armed, Set, "Reboot", unreachable),
        (Armed, Trial, "enter trial", "enter trial"),
        (Armed, Unknown, "Reboot", unreachable),
        (Installing, Steady, "arm full", unreachable),
        (Installing, Set, "Reboot", unreachable),
        (Installing, Trial, "enter trial", "enter trial"),
        (Installing, Unknown, "Reboot", unreachable),
        (State::Trial, Set, "Reboot", unreachable),
        (State::Trial, Trial, "run Health", "run Health"),
        (
            State::Trial,
            Steady,
            "give up: not-running",
            "give up: not-running",
        ),
        (State::Trial, Unknown, "run Health", "run Health"),
        (RollingBack, Set, "Reboot", unreachable),
        (RollingBack, Trial, "arm rollback", unreachable),
        (
            RollingBack,
            Steady,
            "give up: health-port",
            "give up: health-port",
        ),
        (RollingBack, Unknown, "Reboot", unreachable),
        (Finished, Trial, "MoveToOutbox", "MoveToOutbox"),
        (Finished, Steady, "MoveToOutbox", "MoveToOutbox"),
        (Finished, Unknown, "MoveToOutbox", "MoveToOutbox"),
    ];
    for (state, boot, first, last) in table {
        for (reboots, expected) in [(1, first), (3, last)] {
            let mut job = job(state);
            job.reboots = reboots;
            let step = plan(Found {
                boot: boot.state().as_ref(),
                candidate: true,
                ..nothing(&job)
            });
            assert_eq!(brief(&step), expected, "{state} {boot:?} {reboots}");
        }
    }
}

#[test]
fn what_runs_and_what_is_there_decides_where_no_flag_does() {
    let steady = Steady.state();
    let step = |state, reboots, change: fn(&mut Found<'_>)| {
        let mut job = job(state);
        job.reboots = reboots;
        let mut found = Found {
            boot: steady.as_ref(),
            ..nothing(&job)
        };
        change(&mut found);
        brief(&plan(found))
    };
    let runs: fn(&mut Found<'_>) = |found| found.runs_ordered = true;
    assert_eq!(step(State::Trial, 1, runs), "Confirmed");
    assert_eq!(step(State::RollingBack, 1, runs), "arm rollback");
    assert_eq!(step(State::RollingBack, 3, runs), "give up: health-port");
    assert_eq!(step(State::Armed, 1, |_| {}), "give up: package-lost");
    // No outage for a job whose flag was never set.
    let lost: fn(&mut Found<'_>) = |found| found.boot = None;
    assert_eq!(step(State::Armed, 0, lost), "failed: boot");
    assert_eq!(step(State::Armed, 1, lost), "Reboot");
}

#[test]
fn an_os_on_trial_without_a_job_proves_itself() {
    let job = job(State::Armed);
    for (boot, expected) in [(Trial, "run Health"), (Steady, "Rest"), (Unknown, "Rest")] {
        let step = plan(Found {
            job: None,
            boot: boot.state().as_ref(),
            ..nothing(&job)
        });
        assert_eq!(brief(&step), expected, "{boot:?}");
    }
}

#[test]
fn a_job_has_one_result() {
    let result = JobResult::success("done");
    for state in State::ALL.iter().filter(|state| state.is_reportable()) {
        let job = job(*state);
        let step = plan(Found {
            known: Some(&result),
            ..nothing(&job)
        });
        let expected = match state {
            State::Finished => Step::MoveToOutbox,
            _ => Step::Finish(result.clone()),
        };
        assert_eq!(step, expected, "{state}");
    }
}

#[test]
fn a_result_says_how_the_parameters_are_where_that_can_be_told() {
    let mut job = job(State::Finished);
    job.parameters = Some(backed_up());
    let step = |job: &Job, backup| {
        brief(&plan(Found {
            backup,
            ..nothing(job)
        }))
    };
    assert_eq!(step(&job, true), "run Digest");
    assert_eq!(step(&job, false), "MoveToOutbox");
    // Told, or known not to be told: once is enough.
    job.result_mut().unwrap().parameters_after = Some(String::new());
    assert_eq!(step(&job, true), "MoveToOutbox");
}

#[test]
fn a_confirmed_full_upgrade_brings_its_recovery_os() {
    let mut job = job(State::Trial);
    assert_eq!(brief(&confirmed(&job, true)), "enter updating-recovery");
    assert_eq!(brief(&confirmed(&job, false)), "success: success");
    job.order.kind = Kind::Rootfs;
    assert_eq!(brief(&confirmed(&job, true)), "success: success");
}

#[test]
fn a_task_that_fails_ends_the_job_but_for_that_of_recovery_os() {
    let failure = Failure::failed(Word::Boot, "no");
    for state in [State::Verifying, State::Trial] {
        let step = failed(Some(&job(state)), failure.clone());
        assert_eq!(brief(&step), "failed: boot", "{state}");
    }
    let step = failed(Some(&job(State::UpdatingRecovery)), failure);
    assert_eq!(brief(&step), "keep: boot");
}

/// Every combination of what there can be: no step is one that a job in this state may not take,
/// and states alone never lead round in a circle.
#[test]
fn everywhere_something_follows_that_may_and_that_ends() {
    let states = State::ALL.iter().filter(|state| state.is_reportable());
    for (state, bits) in states.flat_map(|state| (0..1 << 7).map(move |bits| (*state, bits))) {
        let bit = |index: u32| bits >> index & 1 == 1;
        for part in [Part::None, Part::Begun, Part::Whole, Part::Delta] {
            for boot in [Set, Trial, Steady, Unknown] {
                let mut job = job(state);
                job.manifest_sha256 = bit(0).then(String::new);
                job.parameters = bit(1).then(backed_up);
                job.reboots = if bit(2) { 3 } else { 0 };
                job.order.kind = if bit(3) { Kind::Recovery } else { Kind::Full };
                let boot = boot.state();
                let mut turns = 0..5;
                loop {
                    let step = plan(Found {
                        part,
                        candidate: bit(4),
                        backup: bit(5),
                        runs_ordered: bit(6),
                        boot: boot.as_ref(),
                        ..nothing(&job)
                    });
                    let Step::Enter(next) = step else { break };
                    enter(&mut job, next).unwrap();
                    assert!(turns.next().is_some(), "{job:?} {part:?} {boot:?}");
                }
            }
        }
    }
}

#[test]
fn boot_is_left_alone_unless_it_is_needed() {
    let steady = Some(BootReason::Steady);
    assert!(!needs_boot_state(None, false, steady));
    assert!(!needs_boot_state(Some(State::Downloading), false, None));
    assert!(needs_boot_state(Some(State::Armed), false, steady));
    assert!(needs_boot_state(None, true, steady));
    assert!(needs_boot_state(None, false, Some(BootReason::Trial)));
}
