//! Cuts the power before every durable step of a run, and starts the terminal again until
//! RecoveryOS is done.

use std::panic::{catch_unwind, AssertUnwindSafe};

use dau_boot_state::{decide, Boot};
use dau_model::{Kind, Outcome, Slot, State};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::failpoint::Failpoint;
use crate::run::{self, Ended};

/// Runs with a cut at step `n`, then with another one `again` steps later, then to the end. Returns
/// false if the first run had no step `n`.
fn cut_and_go_on(device: &Device, n: i64, again: i64) -> bool {
    let mut cuts = [Some(n), Some(again), None].into_iter();
    let mut happened = false;
    loop {
        let reason = match decide(device.state().as_ref()) {
            Boot::RecoveryOs { reason, .. } => reason,
            Boot::NormalOs { .. } | Boot::Check { .. } => return happened,
        };
        let failpoint = match cuts.next().flatten() {
            Some(steps) => Failpoint::after(steps),
            None => Failpoint::default(),
        };
        let terminal = device.terminal(Some(reason), failpoint.clone());
        match catch_unwind(AssertUnwindSafe(|| run::run(&terminal, None))) {
            Ok(ended) => assert_eq!(ended, Ended::Reboot),
            Err(_) => {
                assert!(failpoint.happened(), "it died of something else");
                happened = true;
            }
        }
    }
}

fn steps(device: impl Fn() -> Device, check: impl Fn(&Device, i64)) {
    for n in 0.. {
        let device = device();
        let happened = cut_and_go_on(&device, n, n % 7);
        check(&device, n);
        if !happened {
            assert!(n > 4, "there were only {n} steps");
            return;
        }
    }
}

#[test]
fn an_installation_ends_in_the_new_os_wherever_power_goes() {
    for (kind, package) in [
        (Kind::Full, "new"),
        (Kind::Kernel, "new-kernel"),
        (Kind::Rootfs, "new-rootfs"),
    ] {
        steps(
            || Device::armed(kind, package),
            |device, n| {
                let (state, job) = (device.state().unwrap(), device.job());
                assert!(
                    state.trial && state.tries == dau_boot_state::DEFAULT_TRIES,
                    "{kind} {n}"
                );
                assert_eq!(job.state(), State::Trial, "{kind} {n}");
                assert_eq!(job.attempts.failures, 0, "a power cut is no failure");
                assert_eq!(device.kernel_version(Slot::A), "1.0.0", "{kind} {n}");
                if kind != Kind::Rootfs {
                    assert_eq!(device.kernel_version(Slot::B), "1.1.0", "{kind} {n}");
                }
                if kind != Kind::Kernel {
                    assert_eq!(device.rootfs_version(), "1.1.0", "{kind} {n}");
                    assert_eq!(device.settings(), SETTINGS, "{kind} {n}");
                }
            },
        );
    }
}

#[test]
fn a_rollback_ends_in_the_old_os_with_one_result_wherever_power_goes() {
    for (kind, package) in [
        (Kind::Full, "new"),
        (Kind::Kernel, "new-kernel"),
        (Kind::Rootfs, "new-rootfs"),
    ] {
        let ended = || Device::trial_ended(kind, package);
        steps(ended, |device, n| {
            let (state, job) = (device.state().unwrap(), device.job());
            assert_eq!(
                (state.trial, state.upgrade, state.kernel),
                (false, false, Slot::A),
                "{kind} {n}"
            );
            assert_eq!(device.kernel_version(Slot::A), "1.0.0", "{kind} {n}");
            assert_eq!(device.rootfs_version(), "1.0.0", "{kind} {n}");
            let outcome = job.result().map(|result| result.outcome);
            assert_eq!(outcome, Some(Outcome::RolledBack), "{kind} {n}");
        });
    }
}

#[test]
fn a_refusal_leaves_the_old_os_wherever_power_goes() {
    for n in 0..8 {
        let device = Device::armed(Kind::Full, "stranger");
        let before = device.bytes();
        cut_and_go_on(&device, n, 1);
        assert!(device.bytes() == before, "{n}");
        let job = device.job();
        assert_eq!(
            job.result().map(|result| result.reason.word.as_str()),
            Some("signer-unknown"),
            "{n}"
        );
    }
}

#[test]
fn a_kernel_repair_can_be_cut_anywhere() {
    for n in 0..8 {
        let device = Device::steady();
        std::fs::write(device.kernel(Slot::A), "rotten").unwrap();
        std::fs::write(device.kernel(Slot::B), "rotten too").unwrap();
        let refused = Some(BootReason::KernelRefused);
        let terminal = device.terminal(refused, Failpoint::after(n));
        let _ = catch_unwind(AssertUnwindSafe(|| run::run(&terminal, None)));
        if device.state().unwrap().kernel == Slot::A {
            assert_eq!(device.run_for(refused), Ended::Reboot);
        }
        assert_eq!(device.state().unwrap().kernel, Slot::B, "{n}");
        assert_eq!(device.kernel_version(Slot::B), "1.0.0", "{n}");
    }
}
