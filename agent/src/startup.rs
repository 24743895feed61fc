//! What to do about a job that was under way when the terminal went down: a pure function of job and boot state.
//!
//! The job file is always written before the boot state, so the two together tell how far things came.

use dau_boot_state::{BootState, Kind, Slot};
use dau_handoff::{JobState, Outcome, RecoveryRecord};
use dau_system::cmdline::BootReason;

use crate::ending::Ending;

/// Reboots for the sake of one job after which RecoveryOS counts as unreachable.
pub const MAX_REBOOTS: u32 = 3;

/// Checks of one new RecoveryOS: the first one may have been hit by a power cut, which looks the same.
pub const MAX_CHECKS: u32 = 2;

/// What is found at the start.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// State and kind of the current job.
    pub job: Option<(&'a JobState, Kind)>,
    /// The boot state that counts; `None`: no copy is valid, or it was not looked at.
    pub boot: Option<&'a BootState>,
    /// The running OS is the one that was ordered, as far as can be told.
    pub runs_ordered: bool,
    /// The candidate is where RecoveryOS would look for it.
    pub candidate: bool,
    /// Reboots that this job asked for.
    pub reboots: u32,
    /// How far the upgrade of RecoveryOS is.
    pub recovery: Option<&'a RecoveryRecord>,
    /// Why the bootloader started this OS.
    pub reason: Option<BootReason>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// There is no job.
    Idle,
    /// The job goes on where it was.
    Resume,
    /// Set the flag with this kind, and reboot.
    Arm(Kind),
    /// The flag is set: reboot.
    Reboot,
    /// A new OS is to prove itself.
    Trial,
    /// The new OS was confirmed, but what follows a confirmation was not done.
    Confirmed,
    /// The job has its result: hand it in.
    Report,
    /// Ask the bootloader to check the new RecoveryOS, and reboot.
    AskForCheck,
    /// The new RecoveryOS is in charge.
    RecoveryInCharge,
    /// The old RecoveryOS stays in charge; the job ends with this word and text.
    RecoveryKept(&'static str, String),
    /// Clear the flag and end the job.
    Fail(Ending),
}

/// Whether the boot state is needed to go on. Otherwise the boot partition stays unmounted. `lost`: there was a job,
/// and it cannot be read.
pub fn needs_boot_state(job: Option<&JobState>, lost: bool, reason: Option<BootReason>) -> bool {
    let installing = matches!(
        job,
        Some(
            JobState::Armed
                | JobState::Installing
                | JobState::Trial
                | JobState::UpdatingRecovery
                | JobState::RollingBack { .. }
        )
    );
    installing || lost || reason == Some(BootReason::Trial)
}

/// Decides.
pub fn plan(found: Found<'_>) -> Plan {
    let Some(boot) = found.boot else {
        return without_boot_state(found);
    };
    let (flag, trial) = (boot.upgrade, boot.trial);
    let Some((state, kind)) = found.job else {
        return if trial { Plan::Trial } else { Plan::Idle };
    };
    let tired = found.reboots >= MAX_REBOOTS;
    let arm = |kind| {
        if tired {
            unreachable(found.reboots)
        } else {
            Plan::Arm(kind)
        }
    };
    match state {
        JobState::Accepted | JobState::Downloading | JobState::Verifying | JobState::BackingUp => {
            Plan::Resume
        }
        JobState::Finished { .. } => Plan::Report,
        JobState::UpdatingRecovery => updating_recovery(found),
        _ if flag && tired => unreachable(found.reboots),
        _ if flag => Plan::Reboot,
        JobState::RollingBack { .. } if trial => arm(Kind::Rollback),
        JobState::RollingBack { reason } => rolled_back(reason, found),
        _ if trial => Plan::Trial,
        JobState::Trial if found.runs_ordered => Plan::Confirmed,
        JobState::Trial => Plan::Fail(Ending::failed(
            "not-running",
            "the new OS was installed, but another one runs: look at RecoveryOS's log on mnt",
        )),
        // The flag was never set, or RecoveryOS had to write a new boot state before it changed anything.
        JobState::Armed | JobState::Installing if found.candidate => arm(kind),
        JobState::Armed | JobState::Installing => Plan::Fail(Ending::failed(
            "package-lost",
            "the verified package is gone from mnt: order the upgrade again",
        )),
    }
}

/// No copy is valid, or the partition cannot be read: the bootloader then leads to RecoveryOS, which goes on with the
/// job and writes a new state.
fn without_boot_state(found: Found<'_>) -> Plan {
    match found.job {
        None => Plan::Idle,
        Some((JobState::Finished { .. }, _)) => Plan::Report,
        // It runs, so RecoveryOS is done with it; the confirmation writes a new state.
        Some((JobState::Trial, _)) => Plan::Trial,
        Some((JobState::UpdatingRecovery, _)) => updating_recovery(found),
        Some((JobState::Armed | JobState::Installing | JobState::RollingBack { .. }, _)) => {
            match found.reboots >= MAX_REBOOTS {
                true => unreachable(found.reboots),
                false => Plan::Reboot,
            }
        }
        Some(_) => Plan::Resume,
    }
}

/// The flag is clear and nothing is on trial: either RecoveryOS put the old OS back and could not say so, or the flag
/// for that was never set.
fn rolled_back(reason: &str, found: Found<'_>) -> Plan {
    if found.runs_ordered && found.reboots < MAX_REBOOTS {
        return Plan::Arm(Kind::Rollback);
    }
    Plan::Fail(Ending {
        outcome: Outcome::RolledBack,
        word: "rolled-back".to_owned(),
        message: reason.to_owned(),
    })
}

/// The job notes what it asks the bootloader for, with the sequence that the boot state then has, before it does.
fn updating_recovery(found: Found<'_>) -> Plan {
    let Some((record, check_seq)) = found
        .recovery
        .and_then(|record| Some((record, record.check_seq?)))
    else {
        return Plan::Resume;
    };
    let tired = found.reboots >= MAX_REBOOTS;
    let wait_for_another_boot = || {
        match tired {
        true => Plan::RecoveryKept(
            "check-not-run",
            "the bootloader does not start the new RecoveryOS: look at the console log and at boot.scr"
                .to_owned(),
        ),
        false => Plan::Reboot,
    }
    };
    let Some(boot) = found.boot else {
        return wait_for_another_boot();
    };
    if Slot::from_letter(record.slot_before) != Some(boot.recovery) {
        return Plan::RecoveryInCharge;
    }
    if boot.upgrade || boot.check {
        return wait_for_another_boot();
    }
    if boot.seq.wrapping_add(1) == check_seq {
        return Plan::AskForCheck;
    }
    if found.reason == Some(BootReason::CheckRefused) {
        return Plan::RecoveryKept(
            "recovery-refused",
            "the bootloader refused the new RecoveryOS: its image does not hold its hashes or does not fit this machine"
                .to_owned(),
        );
    }
    if record.checks < MAX_CHECKS {
        return Plan::AskForCheck;
    }
    Plan::RecoveryKept(
        "recovery-not-proven",
        format!(
            "the new RecoveryOS was started {} times and did not prove itself: see the console and /mnt/dau/log",
            record.checks
        ),
    )
}

fn unreachable(reboots: u32) -> Plan {
    Plan::Fail(Ending::failed(
        "recovery-unreachable",
        format!(
            "after {reboots} reboots RecoveryOS still does not do its work: \
             look at the console log, and at recovery-a.itb and recovery-b.itb on the partition boot"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_boot_state::Slot;
    use dau_handoff::JobResult;

    const SET: &str = "flag set";
    const TRIAL: &str = "on trial";
    const STEADY: &str = "steady";
    const NONE: &str = "no valid copy";

    fn boot(name: &str) -> Option<BootState> {
        let factory = BootState::factory();
        match name {
            SET => Some(factory.armed(Kind::Full)),
            TRIAL => Some(factory.committed(Slot::B, 3)),
            STEADY => Some(factory),
            _ => None,
        }
    }

    fn decide(state: Option<&JobState>, boot_name: &str, change: impl Fn(&mut Found<'_>)) -> Plan {
        let boot = boot(boot_name);
        let mut found = Found {
            job: state.map(|state| (state, Kind::Full)),
            boot: boot.as_ref(),
            runs_ordered: false,
            candidate: true,
            reboots: 1,
            recovery: None,
            reason: Some(BootReason::Steady),
        };
        change(&mut found);
        plan(found)
    }

    fn failed(plan: &Plan) -> &str {
        match plan {
            Plan::Fail(ending) => &ending.word,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_state_of_job_and_boot_has_its_continuation() {
        use JobState::{Accepted, Armed, BackingUp, Downloading, Installing, Trial, Verifying};
        let back = JobState::RollingBack {
            reason: "no link".into(),
        };
        let over = JobState::Finished {
            result: JobResult::new(Outcome::Failed, "x", "y"),
            acknowledged: false,
        };
        let arm = Plan::Arm(Kind::Full);
        let return_ = Plan::Arm(Kind::Rollback);
        let table = [
            (None, STEADY, Plan::Idle),
            (None, NONE, Plan::Idle),
            (None, TRIAL, Plan::Trial),
            (Some(&Accepted), STEADY, Plan::Resume),
            (Some(&Downloading), STEADY, Plan::Resume),
            (Some(&Verifying), STEADY, Plan::Resume),
            (Some(&BackingUp), STEADY, Plan::Resume),
            (Some(&Armed), STEADY, arm.clone()),
            (Some(&Downloading), NONE, Plan::Resume),
            (Some(&Armed), NONE, Plan::Reboot),
            (Some(&Armed), SET, Plan::Reboot),
            (Some(&Armed), TRIAL, Plan::Trial),
            (Some(&Installing), STEADY, arm.clone()),
            (Some(&Installing), SET, Plan::Reboot),
            (Some(&Installing), TRIAL, Plan::Trial),
            (Some(&Trial), TRIAL, Plan::Trial),
            (Some(&Trial), SET, Plan::Reboot),
            (Some(&Trial), NONE, Plan::Trial),
            (Some(&back), NONE, Plan::Reboot),
            (Some(&over), NONE, Plan::Report),
            (Some(&back), SET, Plan::Reboot),
            (Some(&back), TRIAL, return_.clone()),
            (Some(&over), STEADY, Plan::Report),
            (Some(&over), TRIAL, Plan::Report),
        ];
        for (state, boot, expected) in table {
            assert_eq!(decide(state, boot, |_| {}), expected, "{state:?}, {boot}");
        }
        assert_eq!(failed(&decide(Some(&back), STEADY, |_| {})), "rolled-back");
        assert_eq!(failed(&decide(Some(&Trial), STEADY, |_| {})), "not-running");
        let confirmed = decide(Some(&Trial), STEADY, |found| found.runs_ordered = true);
        assert_eq!(confirmed, Plan::Confirmed);
        let returning = decide(Some(&back), STEADY, |found| found.runs_ordered = true);
        assert_eq!(returning, return_);
        let lost = decide(Some(&Armed), STEADY, |found| found.candidate = false);
        assert_eq!(failed(&lost), "package-lost");
    }

    #[test]
    fn reboots_for_a_recovery_os_that_does_not_come_have_an_end() {
        let back = JobState::RollingBack {
            reason: String::new(),
        };
        for (state, boot) in [
            (&JobState::Armed, SET),
            (&JobState::Armed, STEADY),
            (&JobState::Installing, STEADY),
            (&JobState::Armed, NONE),
            (&back, NONE),
            (&back, SET),
            (&back, TRIAL),
        ] {
            let plan = decide(Some(state), boot, |found| found.reboots = MAX_REBOOTS);
            assert_eq!(failed(&plan), "recovery-unreachable", "{state:?}, {boot}");
        }
    }

    #[test]
    fn the_upgrade_of_recovery_os_goes_on_wherever_power_went() {
        let steady = BootState::factory();
        let asked = BootState {
            seq: steady.seq + 1,
            ..steady.checking()
        };
        let taken = BootState {
            seq: steady.seq + 2,
            ..steady.clone()
        };
        let committed = BootState {
            seq: steady.seq + 3,
            ..taken.in_charge(Slot::B)
        };
        let record = |check_seq, checks| RecoveryRecord {
            slot_before: 'a',
            version_before: None,
            version_after: None,
            check_seq,
            checks,
        };
        let noted = |checks| Some(record(Some(steady.seq + 1), checks));
        let (normal, refused) = (BootReason::Steady, BootReason::CheckRefused);
        let table = [
            // The slot is written, or half written.
            (None, Some(&steady), normal, 1, "resume"),
            (Some(record(None, 0)), Some(&steady), normal, 1, "resume"),
            // Noted in the job, but not asked for.
            (noted(1), Some(&steady), normal, 1, "ask"),
            // Asked for, and the bootloader has not looked.
            (noted(1), Some(&asked), normal, 1, "reboot"),
            (noted(1), Some(&asked), normal, 3, "check-not-run"),
            // It has, and RecoveryOS did not commit.
            (noted(1), Some(&taken), normal, 1, "ask"),
            (noted(2), Some(&taken), normal, 2, "recovery-not-proven"),
            (noted(1), Some(&taken), refused, 1, "recovery-refused"),
            // It did.
            (noted(1), Some(&committed), normal, 1, "in charge"),
            (noted(2), Some(&committed), normal, 3, "in charge"),
            (noted(1), None, normal, 1, "reboot"),
            (noted(1), None, normal, 3, "check-not-run"),
        ];
        for (record, boot, reason, reboots, expected) in table {
            for kind in [Kind::None, Kind::Full] {
                let plan = plan(Found {
                    job: Some((&JobState::UpdatingRecovery, kind)),
                    boot,
                    runs_ordered: true,
                    candidate: true,
                    reboots,
                    recovery: record.as_ref(),
                    reason: Some(reason),
                });
                let brief = match plan {
                    Plan::Resume => "resume",
                    Plan::AskForCheck => "ask",
                    Plan::Reboot => "reboot",
                    Plan::RecoveryInCharge => "in charge",
                    Plan::RecoveryKept(word, _) => word,
                    other => panic!("{other:?}"),
                };
                assert_eq!(brief, expected, "{record:?} {boot:?} {reason:?} {reboots}");
            }
        }
    }

    #[test]
    fn boot_is_left_alone_unless_it_is_needed() {
        let steady = Some(BootReason::Steady);
        assert!(!needs_boot_state(None, false, steady));
        assert!(!needs_boot_state(Some(&JobState::Downloading), false, None));
        assert!(needs_boot_state(Some(&JobState::Armed), false, steady));
        assert!(needs_boot_state(None, true, steady));
        assert!(needs_boot_state(None, false, Some(BootReason::Trial)));
    }
}
