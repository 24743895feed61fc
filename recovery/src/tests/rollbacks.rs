use std::fs;

use dau_boot_state::{BootState, Operation};
use dau_handoff::{JobResult, MAX_FAILURES};
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::run::{self, Ended};

/// Asserts that the old OS runs, trusted, with its parameters, and the job has its result.
fn assert_back(device: &Device, outcome: Outcome, word: &str) {
    let state = device.state().unwrap();
    assert_eq!(
        (state.upgrade, state.trial, state.kernel),
        (false, false, Slot::A)
    );
    assert_eq!(device.kernel_version(Slot::A), "1.0.0");
    assert_eq!(device.rootfs_version(), "1.0.0");
    let job = device.job();
    if job.order.kind != Kind::Kernel {
        assert_eq!(device.settings(), SETTINGS);
    }
    let result = job.result().unwrap_or_else(|| panic!("{}", job.state()));
    assert_eq!(
        (result.outcome, result.reason.word.as_str()),
        (outcome, word)
    );
}

#[test]
fn an_os_that_was_never_confirmed_is_taken_back() {
    for (kind, package) in [
        (Kind::Full, "new"),
        (Kind::Kernel, "new-kernel"),
        (Kind::Rootfs, "new-rootfs"),
    ] {
        let device = Device::trial_ended(kind, package);
        assert_eq!(device.run(), Ended::Reboot, "{kind}");
        assert_back(&device, Outcome::RolledBack, "trial-ended");
    }
}

#[test]
fn a_kernel_job_is_taken_back_without_any_package() {
    let device = Device::trial_ended(Kind::Kernel, "new-kernel");
    fs::remove_dir_all(device.layout().packages()).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::RolledBack, "trial-ended");
}

#[test]
fn the_agent_orders_a_rollback_and_its_reason_is_the_result() {
    let device = Device::trial_ended(Kind::Full, "new");
    device.change_job(|job| {
        let text = "nothing answers on TCP port 2404";
        job.roll_back(Reason::new(Word::HealthPort, text)).unwrap();
    });
    device.set_state(&device.state().unwrap().armed(Operation::Rollback));
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::RolledBack, "health-port");
    assert_eq!(
        device.job().result().unwrap().reason.message,
        "nothing answers on TCP port 2404"
    );
}

#[test]
fn a_new_kernel_that_is_refused_is_taken_back_also_when_power_goes_meanwhile() {
    for reason in [BootReason::KernelRefused, BootReason::Upgrade] {
        let device = Device::trial_ended(Kind::Full, "new");
        let tries_left = BootState {
            tries: 2,
            ..device.state().unwrap()
        };
        device.set_state(&tries_left);
        // The first run dies after it began: from then on the bootloader must not try the new
        // kernel again.
        let failpoint = crate::failpoint::Failpoint::after(5);
        let terminal = device.terminal(Some(BootReason::KernelRefused), failpoint.clone());
        let died = std::panic::catch_unwind(|| run::run(&terminal, None));
        assert!(died.is_err() && failpoint.happened());
        assert_eq!(device.state().unwrap().operation, Operation::Rollback);
        assert_eq!(device.run_for(Some(reason)), Ended::Reboot);
        assert_back(&device, Outcome::RolledBack, "kernel-refused");
    }
}

#[test]
fn an_installation_that_keeps_failing_after_rootfs_was_touched_is_taken_back() {
    let device = Device::armed(Kind::Full, "new");
    let mut terminal = device.terminal(
        Some(BootReason::Upgrade),
        crate::failpoint::Failpoint::default(),
    );
    // A file in place of a folder: writing succeeds, restoring fails.
    terminal.rootfs_files = dau_system::volume::Volume::Directory(device.path("rootfs.img"));
    for _ in 0..MAX_FAILURES {
        assert_eq!(run::run(&terminal, None), Ended::Failed);
    }
    assert!(device.job().attempts.rootfs_touched);
    assert_eq!(device.rootfs_version(), "1.1.0");
    // While not even that works, it is tried again and again, without end or result.
    for _ in 0..4 {
        assert_eq!(run::run(&terminal, None), Ended::Stuck);
        assert!(device.job().result().is_none());
    }
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::Failed, "install-failed");
}

#[test]
fn a_candidate_that_rots_after_rootfs_was_touched_is_taken_back() {
    let device = Device::half_installed("new");
    device.put_package("tampered", &device.layout().candidate());
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::Failed, "md5-mismatch");
}

#[test]
fn without_the_old_package_the_new_os_gets_another_trial() {
    let device = Device::trial_ended(Kind::Full, "new");
    fs::remove_file(device.layout().installed()).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    let state = device.state().unwrap();
    assert!(state.trial && state.tries > 0 && state.kernel == Slot::B);
    assert_eq!(device.rootfs_version(), "1.1.0");
    assert_eq!(device.job().state(), State::Trial);
}

#[test]
fn when_neither_package_is_any_good_recovery_waits_for_a_technician() {
    let device = Device::half_installed("new");
    device.put_package("tampered", &device.layout().candidate());
    device.put_package("tampered", &device.layout().installed());
    for _ in 0..2 {
        assert_eq!(device.run(), Ended::Stuck);
        assert!(
            device.state().unwrap().upgrade,
            "nothing half written may boot"
        );
    }
    assert!(device
        .job()
        .attempts
        .last_error
        .unwrap()
        .contains("cannot be put back"));
    device.put_package("old", &device.layout().installed());
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::Failed, "md5-mismatch");
}

#[test]
fn a_lost_job_does_not_keep_an_unconfirmed_os() {
    let device = Device::trial_ended(Kind::Full, "new");
    fs::write(device.layout().job(), "").unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    let state = device.state().unwrap();
    assert!(!state.trial);
    // The previous slot is unknown: the one with installed.dau's kernel is used.
    assert_eq!(device.kernel_version(state.kernel), "1.0.0");
    assert_eq!(device.rootfs_version(), "1.0.0");
    assert_eq!(device.settings(), SETTINGS);
}

#[test]
fn an_ended_job_keeps_its_result_and_the_boot_state_follows_it() {
    let cases = [
        (Outcome::Success, Slot::B),
        (Outcome::RolledBack, Slot::A),
        (Outcome::Failed, Slot::A),
    ];
    for (outcome, kernel) in cases {
        let device = Device::trial_ended(Kind::Full, "new");
        let result = JobResult::new(outcome, Reason::new(outcome.into(), "message"));
        device.change_job(|job| job.finish(result.clone()));
        let before = device.bytes();
        assert_eq!(device.run(), Ended::Reboot);
        assert!(device.bytes() == before);
        let state = device.state().unwrap();
        assert_eq!(
            (state.trial, state.upgrade, state.kernel),
            (false, false, kernel)
        );
        assert_eq!(device.job().result(), Some(&result));
    }
}

/// Blocks the place of a parameter's file.
fn block_settings(device: &Device) {
    fs::remove_file(device.path("rootfs/etc/relay.conf")).unwrap();
    fs::create_dir_all(device.path("rootfs/etc/relay.conf/full")).unwrap();
}

#[test]
fn the_old_os_starts_without_a_parameter_that_cannot_be_put_back_and_says_so() {
    let device = Device::trial_ended(Kind::Full, "new");
    block_settings(&device);
    assert_eq!(device.run(), Ended::Reboot);
    let state = device.state().unwrap();
    assert!(!state.upgrade && !state.trial);
    assert_eq!(device.rootfs_version(), "1.0.0");
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!(
        (result.outcome, result.reason.word.as_str()),
        (Outcome::RolledBack, "parameters-incomplete")
    );
    for part in ["/etc/relay.conf (was a file, is a folder)", "trial-ended"] {
        assert!(
            result.reason.message.contains(part),
            "{}",
            result.reason.message
        );
    }
}

#[test]
fn without_a_required_parameter_the_old_os_does_not_start() {
    let device = Device::armed_with(Kind::Full, "new", "required /etc/relay.conf\n");
    assert_eq!(device.run(), Ended::Reboot);
    device.set_state(&BootState {
        tries: 0,
        ..device.state().unwrap()
    });
    block_settings(&device);
    for _ in 0..=MAX_FAILURES {
        assert_ne!(device.run(), Ended::Reboot);
    }
    assert_eq!(device.run(), Ended::Stuck);
    // A technician removes the obstacle.
    fs::remove_dir_all(device.path("rootfs/etc/relay.conf")).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::RolledBack, "trial-ended");
}

#[test]
fn a_new_os_installed_for_want_of_the_old_one_is_kept_when_it_asks_to_go_back() {
    let device = Device::trial_ended(Kind::Full, "new");
    device.put_package("stranger", &device.layout().installed());
    device.change_job(|job| {
        job.roll_back(Reason::new(Word::HealthLink, "no link"))
            .unwrap();
        job.attempts.rollback_started = true;
    });
    device.set_state(&device.state().unwrap().armed(Operation::Rollback));
    block_settings(&device);
    // Installed once more, without the missing parameters; its agent notices, and requests a
    // rollback.
    assert_eq!(device.run(), Ended::Reboot);
    assert!(device.state().unwrap().trial);
    assert_eq!(device.job().state(), State::Trial);
    device.change_job(|job| {
        let text = "not as backed up: /etc/relay.conf";
        job.roll_back(Reason::new(Word::HealthParameters, text))
            .unwrap();
    });
    device.set_state(&device.state().unwrap().armed(Operation::Rollback));
    assert_eq!(device.run(), Ended::Reboot);
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!(result.reason.word, Word::RollbackImpossible);
    let state = device.state().unwrap();
    assert!(!state.upgrade && !state.trial);
}
