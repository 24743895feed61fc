use std::fs;

use dau_boot_state::{BootState, Kind as Flag, Slot};
use dau_handoff::{JobResult, JobState, Kind, Outcome, MAX_FAILURES};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::run::{self, Ended};

/// The old OS runs, trusted, with its parameters; the job has its result.
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
    let result = job.result().unwrap_or_else(|| panic!("{:?}", job.state));
    assert_eq!((result.outcome, result.word.as_str()), (outcome, word));
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
        job.state = JobState::RollingBack {
            reason: "health-check: port 2404 does not answer".into(),
        }
    });
    device.set_state(&device.state().unwrap().armed(Flag::Rollback));
    assert_eq!(device.run(), Ended::Reboot);
    assert_back(&device, Outcome::RolledBack, "health-check");
    assert_eq!(
        device.job().result().unwrap().message,
        "port 2404 does not answer"
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
        // The first run dies after it began: from then on the bootloader must not try the new kernel again.
        let cut = crate::cut::Cut::after(5);
        let terminal = device.terminal(Some(BootReason::KernelRefused), cut.clone());
        let died = std::panic::catch_unwind(|| run::run(&terminal, None));
        assert!(died.is_err() && cut.happened());
        assert_eq!(device.state().unwrap().kind, Flag::Rollback);
        assert_eq!(device.run_for(Some(reason)), Ended::Reboot);
        assert_back(&device, Outcome::RolledBack, "kernel-refused");
    }
}

#[test]
fn an_installation_that_keeps_failing_after_rootfs_was_touched_is_taken_back() {
    let device = Device::armed(Kind::Full, "new");
    let mut terminal = device.terminal(Some(BootReason::Upgrade), crate::cut::Cut::default());
    // A file where a folder must be: writing works, restoring does not.
    terminal.rootfs_files = dau_system::volume::Volume::Directory(device.path("rootfs.img"));
    for _ in 0..MAX_FAILURES {
        assert_eq!(run::run(&terminal, None), Ended::Failed);
    }
    assert!(device.job().attempts.rootfs_touched);
    assert_eq!(device.rootfs_version(), "1.1.0");
    // As long as not even that works, it is tried again and again, without an end and without a result.
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
    assert_eq!(device.job().state, JobState::Trial);
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
    // Which slot ran before is not known: the one whose kernel is that of installed.dau.
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
        let result = JobResult::new(outcome, "word", "message");
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
