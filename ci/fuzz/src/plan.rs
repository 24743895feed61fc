//! RecoveryOS's plan for any combination of boot state, boot reason and job.
//!
//! Input: two bytes of boot state, a byte for the boot reason, a byte for the answers of
//! verification and mnt, then job.json.

use dau_boot_state::{BootState, Operation};
use dau_handoff::Job;
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};
use dau_recovery::plan::{plan, Facts, JobFound, Package, Plan, Verdict};
use dau_system::cmdline::BootReason;

const REASONS: [BootReason; 9] = [
    BootReason::Steady,
    BootReason::Trial,
    BootReason::Upgrade,
    BootReason::TrialEnded,
    BootReason::NoState,
    BootReason::KernelRefused,
    BootReason::RecoveryRefused,
    BootReason::Check,
    BootReason::CheckRefused,
];
const FLAGS: [Operation; 5] = [
    Operation::None,
    Operation::Install(Kind::Kernel),
    Operation::Install(Kind::Rootfs),
    Operation::Install(Kind::Full),
    Operation::Rollback,
];

pub fn check(data: &[u8]) {
    let Some(([first, second, reason, verdicts], job)) = data.split_first_chunk() else {
        return;
    };
    let job = serde_json::from_slice::<Job>(job).ok().map(Box::new);
    let facts = Facts {
        state: state(*first, *second),
        reason: REASONS.get(usize::from(*reason)).copied(),
        job: match job {
            _ if verdicts & 4 != 0 => JobFound::NoMnt,
            None if verdicts & 8 != 0 => JobFound::Lost,
            None => JobFound::None,
            Some(job) => JobFound::Job(job),
        },
        candidate: Verdict::Unknown,
        installed: Verdict::Unknown,
    };
    let mut last = facts.clone();
    let mut looks = 0;
    loop {
        let plan = plan(&last);
        let Plan::Judge(package) = plan else {
            promises(&last, &plan);
            break;
        };
        looks += 1;
        assert!(
            looks <= 2,
            "{package:?} is looked at again and again: {last:?}"
        );
        assert!(
            !matches!(last.job, JobFound::NoMnt),
            "a package is looked for on an mnt that is not there: {last:?}"
        );
        let (verdict, accepted) = match package {
            Package::Candidate => {
                assert!(
                    matches!(last.job, JobFound::Job(_)),
                    "whose candidate? {last:?}"
                );
                (&mut last.candidate, verdicts & 1 != 0)
            }
            Package::Installed => (&mut last.installed, verdicts & 2 != 0),
        };
        assert_eq!(*verdict, Verdict::Unknown);
        *verdict = match accepted {
            true => Verdict::Accepted,
            false => Verdict::Refused(Reason::new(Word::Md5Mismatch, "it is torn")),
        };
    }
    recoverys_own_upgrade(&facts);
}

fn state(first: u8, second: u8) -> Option<BootState> {
    let bit = |number: u8| first >> number & 1 == 1;
    let slot = |b| if b { Slot::B } else { Slot::A };
    (!bit(7)).then(|| BootState {
        seq: 7,
        upgrade: bit(0),
        operation: FLAGS[usize::from(second) % FLAGS.len()],
        kernel: slot(bit(1)),
        recovery: slot(bit(2)),
        trial: bit(3),
        tries: second / 25 % 10,
        check: bit(4),
    })
}

/// Checks the promises that every plan must keep.
fn promises(facts: &Facts, plan: &Plan) {
    let job = match &facts.job {
        JobFound::Job(job) => Some(job),
        JobFound::None | JobFound::NoMnt | JobFound::Lost => None,
    };
    match plan {
        Plan::Install => {
            assert_eq!(facts.candidate, Verdict::Accepted, "{facts:?}");
            assert!(job.is_some_and(|job| job.order.kind != Kind::Recovery));
        }
        Plan::Rollback(back) => {
            if back.rootfs {
                assert_eq!(facts.installed, Verdict::Accepted, "{facts:?}");
            }
            let outcome = back.result.outcome;
            assert!(matches!(outcome, Outcome::RolledBack | Outcome::Failed));
            assert!(!back.result.reason.message.is_empty());
        }
        Plan::Settle { result, .. } => {
            let ended = job.is_some_and(|job| job.result().is_some());
            assert!(!(ended && result.is_some()), "a second result: {facts:?}");
        }
        Plan::Stuck { why } | Plan::TrialAgain { why } => assert!(!why.is_empty()),
        _ => {}
    }
    // A half-written root filesystem is never booted while the boot state still leads to
    // RecoveryOS.
    let leads_here = facts.state.as_ref().is_none_or(|state| state.upgrade);
    let flag = facts.state.as_ref().map(|state| state.operation);
    let lost = matches!(facts.job, JobFound::Lost)
        && flag.is_some_and(|kind| kind != Operation::Install(Kind::Kernel));
    if lost && leads_here {
        let careful = matches!(plan, Plan::Rollback(_) | Plan::TrialAgain { .. });
        assert!(
            careful,
            "half an OS might boot for good: {plan:?} of {facts:?}"
        );
    }
    let half = job.is_some_and(|job| {
        let writes = job.order.kind.has_rootfs();
        let installing = job.state() == State::Installing && job.attempts.rootfs_touched;
        let returning = job.state() == State::RollingBack && job.attempts.rollback_started;
        writes && (installing || returning)
    });
    if leads_here && half {
        let whole_again = match plan {
            Plan::Install | Plan::Stuck { .. } => true,
            Plan::Rollback(back) => back.rootfs,
            _ => false,
        };
        assert!(whole_again, "half an OS would boot: {plan:?} of {facts:?}");
    }
    assert!(!plan.to_string().is_empty());
}

/// Checks that an upgrade of RecoveryOS alone, the agent's task, changes nothing in the plan.
fn recoverys_own_upgrade(facts: &Facts) {
    let JobFound::Job(job) = &facts.job else {
        return;
    };
    if job.order.kind == Kind::Recovery {
        let without = Facts {
            job: JobFound::None,
            ..facts.clone()
        };
        assert_eq!(plan(facts), plan(&without));
    }
}
