//! The table of docs/recovery.md by rows, and what must hold in every one of all situations there can be.

use super::*;
use dau_handoff::Order;

fn job(state: JobState, kind: Kind) -> Job {
    let order = Order {
        version: "1.1.0".into(),
        kind,
        url: String::new(),
        token: None,
        md5: None,
        size: None,
        start_at: 0,
        expires_at: None,
        mid: 0,
    };
    Job {
        state,
        ..Job::new(1, order)
    }
}

fn finished(outcome: Outcome) -> JobState {
    JobState::Finished {
        result: JobResult::new(outcome, "word", "message"),
        acknowledged: false,
    }
}

fn rolling_back() -> JobState {
    JobState::RollingBack {
        reason: "health-check: no link".into(),
    }
}

fn refused() -> Verdict {
    Verdict::Refused {
        word: "signer-unknown".into(),
        message: "who is that".into(),
    }
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

fn armed(kind: Flag) -> Option<BootState> {
    Some(BootState::factory().armed(kind))
}

fn on_trial(tries: u8) -> Option<BootState> {
    Some(BootState::factory().committed(Slot::B, tries))
}

/// A plan without what it says to people.
fn brief(plan: &Plan) -> String {
    let slot = |slot: &Option<Slot>| slot.map_or("?".into(), |slot| slot.to_string());
    match plan {
        Plan::Judge(package) => format!("judge {package:?}").to_lowercase(),
        Plan::Install => "install".into(),
        Plan::Rollback(plan) => format!(
            "roll back {} to {}: {} {}",
            if plan.rootfs { "rootfs" } else { "kernel" },
            slot(&plan.kernel),
            plan.result.outcome.word(),
            plan.result.word
        ),
        Plan::Settle { kernel, result } => match result {
            Some(result) => format!("boot {kernel}: {} {}", result.outcome.word(), result.word),
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
    use JobState::{Armed, Downloading, Installing, Trial};
    use Verdict::{Accepted as Good, Unknown};
    let full = |state| found(job(state, Kind::Full));
    let kernel = |state| found(job(state, Kind::Kernel));
    let touched = |state, failures| {
        let mut job = job(state, Kind::Full);
        job.attempts.rootfs_touched = true;
        job.attempts.failures = failures;
        job.attempts.kernel_before = Some('a');
        found(job)
    };
    let failed = |failures| {
        let mut job = job(Installing, Kind::Full);
        job.attempts.failures = failures;
        found(job)
    };
    let begun_back = || {
        let mut job = job(rolling_back(), Kind::Full);
        job.attempts.rollback_started = true;
        job.attempts.rootfs_touched = true;
        found(job)
    };
    let (flag, back) = (|| armed(Flag::Full), || armed(Flag::Rollback));
    let back_from_trial = || on_trial(2).map(|state| state.armed(Flag::Rollback));
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
        // The same after it was touched: the old OS is put back.
        (flag(), Upgrade, touched(Installing, 0), refused(), Unknown, "judge installed"),
        (flag(), Upgrade, touched(Installing, 0), refused(), Good, "roll back rootfs to a: failed signer-unknown"),
        (flag(), Upgrade, touched(Installing, 3), Unknown, Good, "roll back rootfs to a: failed install-failed"),
        (flag(), Upgrade, touched(Installing, 3), Unknown, refused(), "judge candidate"),
        (flag(), Upgrade, touched(Installing, 3), Good, refused(), "install"),
        (flag(), Upgrade, touched(Installing, 0), refused(), refused(), "stuck"),
        (flag(), Upgrade, touched(rolling_back(), 0), Unknown, Good, "roll back rootfs to a: failed health-check"),
        // A flag that no job stands behind.
        (flag(), Upgrade, JobFound::None, Unknown, Unknown, "boot a"),
        (flag(), Upgrade, JobFound::NoMnt, Unknown, Unknown, "boot a"),
        (flag(), Upgrade, full(Downloading), Unknown, Unknown, "boot a"),
        (flag(), Upgrade, full(finished(Outcome::Refused)), Unknown, Unknown, "boot a"),
        // A job that cannot be read: rootfs may be half written.
        (flag(), Upgrade, JobFound::Lost, Unknown, Unknown, "judge installed"),
        (flag(), Upgrade, JobFound::Lost, Unknown, Good, "roll back rootfs to ?: rolled-back rolled-back"),
        (flag(), Upgrade, JobFound::Lost, Unknown, refused(), "trial again"),
        (armed(Flag::Rootfs), Upgrade, JobFound::Lost, Unknown, Good, "roll back rootfs to ?: rolled-back rolled-back"),
        (armed(Flag::Kernel), Upgrade, JobFound::Lost, Unknown, Unknown, "boot a"),
        (on_trial(0), TrialEnded, JobFound::Lost, Unknown, Good, "roll back rootfs to ?: rolled-back rolled-back"),
        (None, NoState, JobFound::Lost, Unknown, Unknown, "rebuild ? on trial"),
        (Some(BootState::factory()), KernelRefused, JobFound::Lost, Unknown, Unknown, "repair a"),
        // The agent orders a rollback.
        (back_from_trial(), Upgrade, touched(rolling_back(), 0), Unknown, Unknown, "judge installed"),
        (back_from_trial(), Upgrade, touched(rolling_back(), 0), Unknown, Good, "roll back rootfs to a: rolled-back health-check"),
        (back_from_trial(), Upgrade, touched(Trial, 0), Unknown, Good, "roll back rootfs to a: rolled-back rolled-back"),
        (back_from_trial(), Upgrade, kernel(rolling_back()), Unknown, Unknown, "roll back kernel to ?: rolled-back health-check"),
        (back_from_trial(), Upgrade, touched(rolling_back(), 0), Unknown, refused(), "boot b: failed rollback-impossible"),
        (back_from_trial(), Upgrade, begun_back(), Unknown, refused(), "judge candidate"),
        (back_from_trial(), Upgrade, begun_back(), Good, refused(), "install"),
        (back_from_trial(), Upgrade, begun_back(), refused(), refused(), "stuck"),
        (back_from_trial(), Upgrade, JobFound::None, Unknown, Good, "roll back rootfs to ?: rolled-back rolled-back"),
        (back_from_trial(), Upgrade, JobFound::NoMnt, Unknown, Unknown, "trial again"),
        // The tries are used up.
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, Unknown, "judge installed"),
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, Good, "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(Installing, 0), Unknown, Good, "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(2), TrialEnded, touched(Trial, 0), Unknown, Good, "roll back rootfs to a: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(Trial, 0), Unknown, refused(), "trial again"),
        (on_trial(0), TrialEnded, kernel(Trial), Unknown, Unknown, "roll back kernel to ?: rolled-back trial-ended"),
        (on_trial(0), TrialEnded, touched(finished(Outcome::Success), 0), Unknown, Unknown, "boot b"),
        (on_trial(0), TrialEnded, touched(finished(Outcome::RolledBack), 0), Unknown, Unknown, "boot a"),
        (on_trial(0), TrialEnded, JobFound::None, Unknown, Unknown, "judge installed"),
        (on_trial(0), TrialEnded, JobFound::None, Unknown, refused(), "trial again"),
        (on_trial(0), TrialEnded, JobFound::NoMnt, Unknown, Unknown, "trial again"),
        // A kernel was refused.
        (Some(BootState::factory()), KernelRefused, JobFound::None, Unknown, Unknown, "repair a"),
        (Some(BootState::factory()), KernelRefused, full(Downloading), Unknown, Unknown, "repair a"),
        (Some(BootState::factory()), KernelRefused, JobFound::NoMnt, Unknown, Unknown, "repair a"),
        (on_trial(2), KernelRefused, touched(Trial, 0), Unknown, Good, "roll back rootfs to a: rolled-back kernel-refused"),
        (on_trial(2), KernelRefused, touched(Trial, 0), Good, refused(), "install"),
        (on_trial(2), KernelRefused, kernel(Trial), Unknown, Unknown, "roll back kernel to ?: rolled-back kernel-refused"),
        (on_trial(2), KernelRefused, touched(finished(Outcome::Success), 0), Unknown, Unknown, "repair b"),
        (on_trial(2), KernelRefused, touched(finished(Outcome::RolledBack), 0), Unknown, Unknown, "boot a"),
        (on_trial(2), KernelRefused, JobFound::None, Unknown, refused(), "repair b"),
        (on_trial(2), KernelRefused, JobFound::NoMnt, Unknown, Unknown, "repair b"),
        // No state is readable.
        (None, NoState, JobFound::None, Unknown, Unknown, "rebuild ?"),
        (None, NoState, JobFound::NoMnt, Unknown, Unknown, "rebuild ?"),
        (None, NoState, full(Downloading), Unknown, Unknown, "rebuild ?"),
        (None, NoState, full(Installing), Unknown, Unknown, "judge candidate"),
        (None, NoState, full(Installing), Good, Unknown, "install"),
        (None, NoState, touched(Trial, 0), Unknown, Unknown, "rebuild b on trial"),
        (None, NoState, touched(rolling_back(), 0), Unknown, Good, "roll back rootfs to a: rolled-back health-check"),
        (None, NoState, touched(finished(Outcome::Success), 0), Unknown, Unknown, "rebuild b"),
        (None, NoState, touched(finished(Outcome::Failed), 0), Unknown, Unknown, "rebuild a"),
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

/// Shows everything that can be found, in every combination.
fn for_all(mut show: impl FnMut(&mut Facts)) {
    let mut states = vec![None];
    let flags = [
        Flag::None,
        Flag::Kernel,
        Flag::Rootfs,
        Flag::Full,
        Flag::Rollback,
    ];
    for kind in flags {
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
                kind,
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
    let states = [
        JobState::Accepted,
        JobState::BackingUp,
        JobState::Armed,
        JobState::Installing,
        JobState::Trial,
        JobState::UpdatingRecovery,
        rolling_back(),
        finished(Outcome::Success),
        finished(Outcome::Failed),
    ];
    for state in states {
        for kind in [Kind::Kernel, Kind::Rootfs, Kind::Full, Kind::Recovery] {
            for (touched, back) in [(false, false), (true, false), (true, true)] {
                for (failures, before) in [(0, None), (0, Some('a')), (MAX_FAILURES, Some('b'))] {
                    let mut job = job(state.clone(), kind);
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
        .is_none_or(|state| state.trial || state.kind == Flag::Rollback);
    let holds = match &plan {
        // Nothing is looked at twice, so that the plan comes to an end; and nothing is looked at without mnt.
        Plan::Judge(package) => {
            let verdict = match package {
                Package::Candidate => &facts.candidate,
                Package::Installed => &facts.installed,
            };
            *verdict == Verdict::Unknown && !matches!(facts.job, JobFound::NoMnt)
        }
        // Nothing is written but what was verified, for a job that still runs.
        Plan::Install => facts.candidate == Verdict::Accepted && job.is_some() && !ended,
        Plan::Rollback(rollback) => {
            // A job that was not armed did not install what is on trial: all is put back.
            let kernel_job = job.is_some_and(|job| job.order.kind == Kind::Kernel && !early(job));
            let verified = facts.installed == Verdict::Accepted && !kernel_job;
            !ended && (verified || !rollback.rootfs) && rollback.rootfs != kernel_job
        }
        Plan::Settle { result, .. } => {
            // One result; and half a root filesystem never boots.
            let one_result = !(ended && result.is_some());
            let boots_whole = whole
                || ended
                || trial
                || job.is_some_and(|job| job.order.kind == Kind::Kernel || early(job));
            let half = job.is_some_and(|job| {
                job.attempts.rollback_started
                    && !ended
                    && job.order.kind != Kind::Kernel
                    && matches!(job.state, JobState::RollingBack { .. })
            });
            let lost = matches!(facts.job, JobFound::Lost)
                && facts
                    .state
                    .as_ref()
                    .is_none_or(|state| state.kind != Flag::Kernel);
            one_result && boots_whole && !half && !lost
        }
        Plan::TrialAgain { .. } => facts.state.as_ref().is_some_and(|state| {
            let lost = matches!(facts.job, JobFound::Lost);
            state.trial || lost || state.kind == Flag::Rollback
        }),
        Plan::RepairKernel { refused } => {
            facts.reason == Some(BootReason::KernelRefused)
                && facts.state.as_ref().map(|state| state.kernel) == Some(*refused)
        }
        Plan::Rebuild { .. } => facts.state.as_ref().is_none_or(|state| !state.upgrade),
        Plan::Nothing => facts.state.as_ref().is_some_and(|state| !state.upgrade),
        Plan::Stuck { .. } => {
            matches!(facts.candidate, Verdict::Refused { .. })
                && matches!(facts.installed, Verdict::Refused { .. })
        }
    };
    assert!(holds, "{facts:#?}\n{plan:#?}");
}

fn early(job: &Job) -> bool {
    use JobState::{Accepted, BackingUp, Downloading, UpdatingRecovery, Verifying};
    matches!(
        job.state,
        Accepted | Downloading | Verifying | BackingUp | UpdatingRecovery
    )
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

#[test]
fn a_reason_may_begin_with_a_word_for_machines() {
    for (reason, word, message) in [
        ("health-check: no link", "health-check", "no link"),
        (
            "md5-mismatch: candidate.dau: MD5 differs",
            "md5-mismatch",
            "candidate.dau: MD5 differs",
        ),
        ("Service x: dead", "rolled-back", "Service x: dead"),
        ("no link", "rolled-back", "no link"),
        ("", "rolled-back", ""),
    ] {
        let result = result_of(Outcome::RolledBack, reason);
        assert_eq!(
            (result.word.as_str(), result.message.as_str()),
            (word, message)
        );
    }
}
