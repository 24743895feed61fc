//! The table of docs/recovery.md by rows, and the rules that hold in all possible situations.

use super::*;
use dau_handoff::Order;
use dau_model::Word;

/// A job's progress: a state, or an outcome.
#[derive(Clone, Copy)]
enum At {
    State(State),
    Over(Outcome),
}

impl From<State> for At {
    fn from(state: State) -> Self {
        At::State(state)
    }
}

impl From<Outcome> for At {
    fn from(outcome: Outcome) -> Self {
        At::Over(outcome)
    }
}

fn job(at: impl Into<At>, kind: Kind) -> Job {
    let mut job = Job::new(1, Order::sample(kind));
    match at.into() {
        At::State(state) => job.force(state),
        At::Over(outcome) => {
            let reason = Reason::new(outcome.into(), "message");
            job.finish(JobResult::new(outcome, reason));
        }
    }
    job
}

fn full(at: impl Into<At>) -> JobFound {
    found(job(at, Kind::Full))
}

fn kernel(at: impl Into<At>) -> JobFound {
    found(job(at, Kind::Kernel))
}

/// Returns a job that changed the root filesystem and failed this often.
fn touched(at: impl Into<At>, failures: u32) -> JobFound {
    let mut job = job(at, Kind::Full);
    job.attempts.rootfs_touched = true;
    job.attempts.failures = failures;
    job.attempts.kernel_before = Some(Slot::A);
    found(job)
}

fn refused() -> Verdict {
    Verdict::Refused(Reason::new(Word::SignerUnknown, "who is that"))
}

fn facts(state: Option<BootState>, reason: BootReason, job: JobFound) -> Facts {
    Facts {
        state,
        reason: Some(reason),
        job,
        candidate: Verdict::Unknown,
        installed: Verdict::Unknown,
    }
}

fn found(job: Job) -> JobFound {
    JobFound::Job(Box::new(job))
}

fn armed(kind: Operation) -> Option<BootState> {
    Some(BootState::factory().armed(kind))
}

fn on_trial(tries: u8) -> Option<BootState> {
    Some(BootState::factory().committed(Slot::B, tries))
}

/// Returns a plan without its texts for people.
fn brief(plan: &Plan) -> String {
    let slot = |slot: &Option<Slot>| slot.map_or("?".into(), |slot| slot.to_string());
    match plan {
        Plan::Judge(package) => format!("judge {package:?}").to_lowercase(),
        Plan::Install => "install".into(),
        Plan::Rollback(plan) => format!(
            "roll back {} to {}: {} {}",
            if plan.rootfs { "rootfs" } else { "kernel" },
            slot(&plan.kernel),
            plan.result.outcome,
            plan.result.reason.word
        ),
        Plan::Settle { kernel, result } => match result {
            Some(result) => format!("boot {kernel}: {} {}", result.outcome, result.reason.word),
            None => format!("boot {kernel}"),
        },
        Plan::RepairKernel { refused } => format!("repair {refused}"),
        Plan::Rebuild { kernel, trial } => {
            format!(
                "rebuild {}{}",
                slot(kernel),
                if *trial { " on trial" } else { "" }
            )
        }
        Plan::TrialAgain { .. } => "trial again".into(),
        Plan::Nothing => "nothing".into(),
        Plan::Stuck { .. } => "stuck".into(),
    }
}

/// State, reason, job, candidate, installed, and the plan in brief.
type Row = (
    Option<BootState>,
    BootReason,
    JobFound,
    Verdict,
    Verdict,
    &'static str,
);

#[test]
fn the_table() {
    use BootReason::{KernelRefused, NoState, Steady, TrialEnded, Upgrade};
    use State::{Armed, Downloading, Installing, Trial};
    use Verdict::{Accepted as Good, Unknown};
    let failed = |failures| {
        let mut job = job(Installing, Kind::Full);
        job.attempts.failures = failures;
        found(job)
    };
    let begun_back = || {
        let mut job = job(State::RollingBack, Kind::Full);
        job.attempts.rollback_started = true;
        job.attempts.rootfs_touched = true;
        found(job)
    };
    let (flag, back) = (
        || armed(Operation::Install(Kind::Full)),
        || armed(Operation::Rollback),
    );
    let back_from_trial = || on_trial(2).map(|state| state.armed(Operation::Rollback));
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        // The flag is set: install.
        (flag(), Upgrade, full(Armed), Unknown, Unknown, "judge candidate"),
        (flag(), Upgrade, full(Armed), Good, Unknown, "install"),
        (flag(), Upgrade, full(Installing), Good, Unknown, "install"),
        (flag(), Upgrade, full(Trial), Good, Unknown, "install"),
        (flag(), NoState, full(Armed), Good, Unknown, "install"),
        // Refused or failed before rootfs was touched: the old OS boots.
        (flag(), Upgrade, full(Armed), refused(), Unknown, "boot a: refused signer-unknown"),
        (flag(), Upgrade, failed(2), Unknown, Unknown, "judge candidate"),
        (flag(), Upgrade, failed(3), Unknown, Unknown, "boot a: failed install-failed"),
        (flag(), Upgrade, kernel(Armed), Good, Unknown, "boot a: refused kind-mismatch"),
        (back(), Upgrade, full(Armed), Unknown, Unknown, "boot a: failed nothing-to-roll-back"),
        // The same after it was touched: the old OS is reinstalled.
        (flag(), Upgrade, touched(Installing, 0), refused(), Unknown, "judge installed"),
        (flag(), Upgrade, touched(Installing, 0), refused(), Good,
         "roll back rootfs to a: failed signer-unknown"),
        (flag(), Upgrade, touched(Installing, 3), Unknown, Good,
         "roll back rootfs to a: failed install-failed"),
        (flag(), Upgrade, touched(Installing, 3), Unknown, refused(), "judge candidate"),
        (flag(), Upgrade, touched(Installing, 3), Good, refused(), "install"),
        (flag(), Upgrade, touched(Installing, 0), refused(), refused(), "stuck"),
        (flag(), Upgrade, touched(State::RollingBack, 0), Unknown, Good,
         "roll back rootfs to a: failed health-port"),
        // A flag without a job.
        (flag(), Upgrade, JobFound::None, Unknown, Unknown, "boot a"),
        (flag(), Upgrade, JobFound::NoMnt, Unknown, Unknown, "boot a"),
        (flag(), Upgrade, full(Downloading), Unknown, Unknown, "boot a"),
        (flag(), Upgrade, full(Outcome::Refused), Unknown, Unknown, "boot a"),
        // A job that cannot be read: rootfs may be half written.
        (flag(), Upgrade, JobFound::Lost, Unknown, Unknown, "judge installed"),
        (flag(), Upgrade, JobFound::Lost, Unknown, Good,
         "roll back rootfs to ?: rolled-back rolled-back"),
        (flag(), Upgrade, JobFound::Lost, Unknown, refused(), "trial again"),
        (armed(Operation::Install(Kind::Rootfs)), Upgrade, JobFound::Lost, Unknown, Good,
         "roll back rootfs to ?: rolled-back rolled-back"),
        (armed(Operation::Install(Kind::Kernel)), Upgrade, JobFound::Lost, Unknown, Unknown,
         "boot a"),
        (on_trial(0), TrialEnded, JobFound::Lost, Unknown, Good,
         "roll back rootfs to ?: rolled-back rolled-back"),
        (None, NoState, JobFound::Lost, Unknown, Unknown, "rebuild ? on trial"),
        (Some(BootState::factory()), KernelRefused, JobFound::Lost, Unknown, Unknown, "repair a"),
        // The agent orders a rollback.
        (back_from_trial(), Upgrade, touched(State::RollingBack, 0), Unknown, Unknown,
         "judge installed"),
        (back_from_trial(), Upgrade, touched(State::RollingBack, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back health-port"),
        (back_from_trial(), Upgrade, touched(Trial, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back rolled-back"),
        (back_from_trial(), Upgrade, kernel(State::RollingBack), Unknown, Unknown,
         "roll back kernel to ?: rolled-back health-port"),
        (back_from_trial(), Upgrade, touched(State::RollingBack, 0), Unknown, refused(),
         "boot b: failed rollback-impossible"),
        (back_from_trial(), Upgrade, begun_back(), Unknown, refused(), "judge candidate"),
        (back_from_trial(), Upgrade, begun_back(), Good, refused(), "install"),
        (back_from_trial(), Upgrade, begun_back(), refused(), refused(), "stuck"),
        (back_from_trial(), Upgrade, JobFound::None, Unknown, Good,
         "roll back rootfs to ?: rolled-back rolled-back"),
        (back_from_trial(), Upgrade, JobFound::NoMnt, Unknown, Unknown, "trial again"),
        // The tries are used up.
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, Unknown, "judge installed"),
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(Installing, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(2), TrialEnded, touched(Trial, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, refused(), "trial again"),
        (on_trial(0), TrialEnded, kernel(Trial), Unknown, Unknown,
         "roll back kernel to ?: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(Outcome::Success, 0), Unknown, Unknown, "boot b"),
        (on_trial(0), TrialEnded, touched(Outcome::RolledBack, 0), Unknown, Unknown, "boot a"),
        (on_trial(0), TrialEnded, JobFound::None, Unknown, Unknown, "judge installed"),
        (on_trial(0), TrialEnded, JobFound::None, Unknown, refused(), "trial again"),
        (on_trial(0), TrialEnded, JobFound::NoMnt, Unknown, Unknown, "trial again"),
        // A kernel was refused.
        (Some(BootState::factory()), KernelRefused, JobFound::None, Unknown, Unknown, "repair a"),
        (Some(BootState::factory()), KernelRefused, full(Downloading), Unknown, Unknown,
         "repair a"),
        (Some(BootState::factory()), KernelRefused, JobFound::NoMnt, Unknown, Unknown, "repair a"),
        (on_trial(2), KernelRefused, touched(Trial, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back kernel-refused"),
        (on_trial(2), KernelRefused, touched(Trial, 0), Good, refused(), "install"),
        (on_trial(2), KernelRefused, kernel(Trial), Unknown, Unknown,
         "roll back kernel to ?: rolled-back kernel-refused"),
        (on_trial(2), KernelRefused, touched(Outcome::Success, 0), Unknown, Unknown, "repair b"),
        (on_trial(2), KernelRefused, touched(Outcome::RolledBack, 0), Unknown, Unknown, "boot a"),
        (on_trial(2), KernelRefused, JobFound::None, Unknown, refused(), "repair b"),
        (on_trial(2), KernelRefused, JobFound::NoMnt, Unknown, Unknown, "repair b"),
        // No state is readable.
        (None, NoState, JobFound::None, Unknown, Unknown, "rebuild ?"),
        (None, NoState, JobFound::NoMnt, Unknown, Unknown, "rebuild ?"),
        (None, NoState, full(Downloading), Unknown, Unknown, "rebuild ?"),
        (None, NoState, full(Installing), Unknown, Unknown, "judge candidate"),
        (None, NoState, full(Installing), Good, Unknown, "install"),
        (None, NoState, touched(Trial, 0), Unknown, Unknown, "rebuild b on trial"),
        (None, NoState, touched(State::RollingBack, 0), Unknown, Good,
         "roll back rootfs to a: rolled-back health-port"),
        (None, NoState, touched(Outcome::Success, 0), Unknown, Unknown, "rebuild b"),
        (None, NoState, touched(Outcome::Failed, 0), Unknown, Unknown, "rebuild a"),
        (on_trial(2), NoState, touched(Trial, 0), Unknown, Unknown, "rebuild b on trial"),
        (Some(BootState::factory()), Upgrade, JobFound::None, Unknown, Unknown, "rebuild a"),
        // Started by hand.
        (Some(BootState::factory()), Steady, JobFound::None, Unknown, Unknown, "nothing"),
        (on_trial(1), BootReason::Trial, touched(Trial, 0), Unknown, Unknown, "nothing"),
    ];
    for (number, (state, reason, job, candidate, installed, expected)) in
        rows.into_iter().enumerate()
    {
        let facts = Facts {
            candidate,
            installed,
            ..facts(state, reason, job)
        };
        assert_eq!(brief(&plan(&facts)), expected, "row {number}: {facts:#?}");
    }
}

/// Calls `show` with every combination of facts.
fn for_all(mut show: impl FnMut(&mut Facts)) {
    let mut states = vec![None];
    let flags = [
        Operation::None,
        Operation::Install(Kind::Kernel),
        Operation::Install(Kind::Rootfs),
        Operation::Install(Kind::Full),
        Operation::Rollback,
    ];
    for operation in flags {
        for (upgrade, trial, tries) in [
            (true, false, 0),
            (true, true, 0),
            (true, true, 2),
            (false, false, 0),
            (false, true, 0),
            (false, true, 2),
        ] {
            states.push(Some(BootState {
                upgrade,
                operation,
                kernel: Slot::B,
                trial,
                tries,
                ..BootState::factory()
            }));
        }
    }
    let reasons = [
        None,
        Some(BootReason::Upgrade),
        Some(BootReason::TrialEnded),
        Some(BootReason::NoState),
        Some(BootReason::KernelRefused),
    ];
    for job in all_jobs() {
        let mut facts = facts(None, BootReason::Steady, job);
        for state in &states {
            facts.state.clone_from(state);
            for reason in reasons {
                facts.reason = reason;
                show(&mut facts);
            }
        }
    }
}

fn all_jobs() -> Vec<JobFound> {
    let mut jobs = vec![JobFound::NoMnt, JobFound::None, JobFound::Lost];
    let states: [At; 9] = [
        State::Accepted.into(),
        State::BackingUp.into(),
        State::Armed.into(),
        State::Installing.into(),
        State::Trial.into(),
        State::UpdatingRecovery.into(),
        State::RollingBack.into(),
        Outcome::Success.into(),
        Outcome::Failed.into(),
    ];
    for state in states {
        for kind in [Kind::Kernel, Kind::Rootfs, Kind::Full, Kind::Recovery] {
            for (touched, back) in [(false, false), (true, false), (true, true)] {
                for (failures, before) in
                    [(0, None), (0, Some(Slot::A)), (MAX_FAILURES, Some(Slot::B))]
                {
                    let mut job = job(state, kind);
                    job.attempts.rootfs_touched = touched;
                    job.attempts.rollback_started = back;
                    job.attempts.failures = failures;
                    job.attempts.kernel_before = before;
                    jobs.push(found(job));
                }
            }
        }
    }
    jobs
}

#[test]
fn what_holds_in_every_situation() {
    let verdicts = [Verdict::Unknown, Verdict::Accepted, refused()];
    let mut seen = 0;
    for_all(|facts| {
        for candidate in &verdicts {
            for installed in &verdicts {
                facts.candidate.clone_from(candidate);
                facts.installed.clone_from(installed);
                holds(facts);
                seen += 1;
            }
        }
    });
    assert!(seen > 200_000, "only {seen} situations");
}

fn holds(facts: &Facts) {
    let plan = plan(facts);
    // RecoveryOS does nothing for a job that replaces it.
    let job = match &facts.job {
        JobFound::Job(job) => Some(job).filter(|job| job.order.kind != Kind::Recovery),
        _ => None,
    };
    let ended = job.is_some_and(|job| job.result().is_some());
    let whole = job.is_none_or(|job| !job.attempts.rootfs_touched);
    let trial = facts
        .state
        .as_ref()
        .is_none_or(|state| state.trial || state.operation == Operation::Rollback);
    let holds = match &plan {
        // Nothing is verified twice, so that the plan ends; and nothing without mnt.
        Plan::Judge(package) => {
            let verdict = match package {
                Package::Candidate => &facts.candidate,
                Package::Installed => &facts.installed,
            };
            *verdict == Verdict::Unknown && !matches!(facts.job, JobFound::NoMnt)
        }
        // Only verified packages are written, for a job that still runs.
        Plan::Install => facts.candidate == Verdict::Accepted && job.is_some() && !ended,
        Plan::Rollback(rollback) => {
            // An unarmed job did not install the OS on trial: everything is reinstalled.
            let kernel_job = job.is_some_and(|job| job.order.kind == Kind::Kernel && !early(job));
            let verified = facts.installed == Verdict::Accepted && !kernel_job;
            !ended && (verified || !rollback.rootfs) && rollback.rootfs != kernel_job
        }
        Plan::Settle { result, .. } => {
            // One result; and a half-written root filesystem never boots.
            let one_result = !(ended && result.is_some());
            let boots_whole = whole
                || ended
                || trial
                || job.is_some_and(|job| job.order.kind == Kind::Kernel || early(job));
            let half = job.is_some_and(|job| {
                job.attempts.rollback_started
                    && !ended
                    && job.order.kind != Kind::Kernel
                    && job.state() == State::RollingBack
            });
            let lost = matches!(facts.job, JobFound::Lost)
                && facts
                    .state
                    .as_ref()
                    .is_none_or(|state| state.operation != Operation::Install(Kind::Kernel));
            one_result && boots_whole && !half && !lost
        }
        Plan::TrialAgain { .. } => facts.state.as_ref().is_some_and(|state| {
            let lost = matches!(facts.job, JobFound::Lost);
            state.trial || lost || state.operation == Operation::Rollback
        }),
        Plan::RepairKernel { refused } => {
            facts.reason == Some(BootReason::KernelRefused)
                && facts.state.as_ref().map(|state| state.kernel) == Some(*refused)
        }
        Plan::Rebuild { .. } => facts.state.as_ref().is_none_or(|state| !state.upgrade),
        Plan::Nothing => facts.state.as_ref().is_some_and(|state| !state.upgrade),
        Plan::Stuck { .. } => {
            matches!(facts.candidate, Verdict::Refused(_))
                && matches!(facts.installed, Verdict::Refused(_))
        }
    };
    assert!(holds, "{facts:#?}\n{plan:#?}");
}

fn early(job: &Job) -> bool {
    job.state().is_preparing() || job.state() == State::UpdatingRecovery
}

#[test]
fn every_situation_comes_to_an_action_after_at_most_two_looks() {
    for_all(|facts| {
        for (candidate, installed) in [
            (Verdict::Accepted, Verdict::Accepted),
            (refused(), Verdict::Accepted),
            (Verdict::Accepted, refused()),
            (refused(), refused()),
        ] {
            (facts.candidate, facts.installed) = (Verdict::Unknown, Verdict::Unknown);
            let mut looks = 0;
            while let Plan::Judge(package) = plan(facts) {
                looks += 1;
                match package {
                    Package::Candidate => facts.candidate = candidate.clone(),
                    Package::Installed => facts.installed = installed.clone(),
                }
            }
            assert!(looks <= 2, "{facts:#?}");
        }
    });
}
