use std::fs;

use dau_handoff::JobResult;
use dau_model::{Kind, Outcome, Reason, Slot, State};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::run::Ended;

#[test]
fn a_refused_kernel_is_replaced_by_the_confirmed_one_in_the_other_slot() {
    for other_slot in [vec![], b"some older kernel".to_vec(), fit("0.9.0")] {
        let device = Device::steady();
        fs::write(device.kernel(Slot::A), "rotten").unwrap();
        fs::write(device.kernel(Slot::B), other_slot).unwrap();
        assert_eq!(
            device.run_for(Some(BootReason::KernelRefused)),
            Ended::Reboot
        );
        let state = device.state().unwrap();
        assert_eq!(
            (state.kernel, state.trial, state.upgrade),
            (Slot::B, false, false)
        );
        assert_eq!(device.kernel_version(Slot::B), "1.0.0");
    }
}

#[test]
fn the_kernel_that_was_confirmed_last_is_the_one_put_back() {
    let device = Device::steady();
    device.put_package("new-kernel", &device.layout().installed_kernel());
    fs::write(device.kernel(Slot::A), "rotten").unwrap();
    fs::write(device.kernel(Slot::B), "rotten too").unwrap();
    assert_eq!(
        device.run_for(Some(BootReason::KernelRefused)),
        Ended::Reboot
    );
    assert_eq!(device.kernel_version(Slot::B), "1.1.0");
}

#[test]
fn without_a_package_any_whole_kernel_is_better_than_none() {
    let device = Device::steady();
    fs::remove_file(device.layout().installed()).unwrap();
    assert_eq!(
        device.run_for(Some(BootReason::KernelRefused)),
        Ended::Reboot
    );
    assert_eq!(device.state().unwrap().kernel, Slot::B);
    fs::write(device.kernel(Slot::A), "rotten").unwrap();
    assert_eq!(
        device.run_for(Some(BootReason::KernelRefused)),
        Ended::Stuck
    );
}

#[test]
fn a_lost_boot_state_is_rebuilt_from_what_the_job_says() {
    let trial = |device: &Device| device.state().unwrap().trial;
    // Outcome of the job if it has ended; the kernel that boots; whether on trial.
    let cases = [
        (None, Slot::B, true),
        (Some(Outcome::Success), Slot::B, false),
        (Some(Outcome::RolledBack), Slot::A, false),
    ];
    for (ended, kernel, on_trial) in cases {
        let device = Device::trial_ended(Kind::Full, "new");
        device.change_job(|job| {
            job.force(State::Trial);
            if let Some(outcome) = ended {
                job.finish(JobResult::new(outcome, Reason::new(outcome.into(), "")));
            }
        });
        let job = device.job();
        device.lose_state();
        let before = device.bytes();
        assert_eq!(device.run(), Ended::Reboot);
        assert!(device.bytes() == before, "{ended:?}");
        assert_eq!(
            (device.state().unwrap().kernel, trial(&device)),
            (kernel, on_trial)
        );
        assert_eq!(device.job(), job);
    }
}

#[test]
fn a_boot_state_lost_in_mid_installation_ends_in_the_new_os() {
    for state in [State::Armed, State::Installing] {
        let device = Device::armed(Kind::Full, "new");
        device.change_job(|job| job.force(state));
        device.lose_state();
        assert_eq!(device.run(), Ended::Reboot);
        assert_eq!(device.rootfs_version(), "1.1.0");
        let state = device.state().unwrap();
        assert!(state.trial);
        assert_eq!(device.kernel_version(state.kernel), "1.1.0");
        assert_eq!(device.kernel_version(state.kernel.other()), "1.0.0");
    }
}

#[test]
fn a_lost_boot_state_without_a_job_boots_the_confirmed_kernel() {
    let device = Device::steady();
    fs::copy(made().kernel("1.1.0"), device.kernel(Slot::A)).unwrap();
    device.lose_state();
    assert_eq!(device.run(), Ended::Reboot);
    let state = device.state().unwrap();
    assert_eq!(
        (state.kernel, state.trial, state.upgrade),
        (Slot::B, false, false)
    );
    assert_eq!(state.recovery, Slot::A);
}
