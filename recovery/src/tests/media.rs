//! Bad media and bad input that are no power cuts. A partition that cannot be mounted at all is the kernel's affair and
//! cannot be had here; what RecoveryOS plans then stands in the plan's tests.

use std::fs;
use std::path::Path;

use dau_boot_state::{BootState, Slot};
use dau_handoff::{JobState, Kind, Outcome};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::run::Ended;

/// As on a medium that takes no writes: nothing can be made in mnt's folder.
fn read_only_mnt(device: &Device) {
    let logs = device.layout().logs();
    fs::remove_dir_all(&logs).unwrap();
    fs::write(logs, "no folder").unwrap();
}

/// As on a place of the medium that does not give it back: a folder cannot be read as a file.
fn lose(file: &Path) {
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
}

#[test]
fn with_a_read_only_mnt_the_untouched_old_os_boots() {
    let device = Device::armed(Kind::Full, "new");
    read_only_mnt(&device);
    let before = device.bytes();
    assert_eq!(device.run(), Ended::Reboot);
    assert!(device.bytes() == before);
    let state = device.state().unwrap();
    assert_eq!((state.upgrade, state.kernel), (false, Slot::A));
}

#[test]
fn with_a_read_only_mnt_half_an_os_never_boots() {
    for state in [
        JobState::Installing,
        JobState::RollingBack {
            reason: "no link".into(),
        },
    ] {
        let device = Device::armed(Kind::Full, "new");
        device.change_job(|job| {
            job.state = state;
            job.attempts.rootfs_touched = true;
            job.attempts.rollback_started = true;
        });
        read_only_mnt(&device);
        let boot = device.state();
        assert_eq!(device.run(), Ended::Stuck);
        assert_eq!(device.state(), boot);
        // Nor when the job does not tell how far it came.
        lose(&device.layout().job());
        assert_eq!(device.run(), Ended::Stuck);
        assert_eq!(device.state(), boot);
    }
}

#[test]
fn a_full_mnt_stops_the_installation_before_anything_is_written() {
    let device = Device::armed(Kind::Full, "new");
    // The new job file cannot be made; the old one stays.
    let temporary = device.layout().job().with_file_name(".job.json.tmp");
    fs::create_dir_all(temporary.join("full")).unwrap();
    let before = device.bytes();
    let job = device.job();
    assert_eq!(device.run(), Ended::Stuck);
    assert!(device.bytes() == before);
    assert!(device.state().unwrap().upgrade);
    assert_eq!(device.job(), job);
    // There is room again.
    fs::remove_dir_all(temporary).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.1.0");
}

#[test]
fn with_both_packages_lost_it_waits_for_a_technicians_package() {
    let device = Device::half_installed("tampered");
    device.put_package("stranger", &device.layout().installed());
    let boot = device.state();
    for _ in 0..3 {
        assert_eq!(device.run(), Ended::Stuck);
        assert_eq!(device.state(), boot);
        let error = device.job().attempts.last_error.unwrap();
        assert!(error.contains("the old OS cannot be put back"), "{error}");
        assert!(error.contains("Nor can the new one"), "{error}");
    }
    // One that does not verify is no help; one that does is taken.
    device.put_package("other-product", &device.layout().installed());
    assert_eq!(device.run(), Ended::Stuck);
    device.put_package("old", &device.layout().installed());
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.0.0");
    assert_eq!(device.settings(), SETTINGS);
    assert_eq!(device.job().result().unwrap().outcome, Outcome::Failed);
}

#[test]
fn with_half_a_job_file_half_an_os_never_boots() {
    let device = Device::half_installed("new");
    device.spoil_rootfs();
    let path = device.layout().job();
    let job = fs::read(&path).unwrap();
    fs::write(&path, &job[..job.len() / 2]).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.0.0");
    assert_eq!(device.settings(), SETTINGS);
    let state = device.state().unwrap();
    assert!(!state.upgrade && !state.trial);
}

#[test]
fn with_a_job_that_the_medium_does_not_give_back_the_old_os_is_put_back() {
    let device = Device::armed(Kind::Full, "new");
    lose(&device.layout().job());
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.0.0");
    let state = device.state().unwrap();
    assert!(!state.upgrade && !state.trial);
}

#[test]
fn with_a_copy_of_the_boot_state_that_cannot_be_read_the_upgrade_goes_on() {
    let device = Device::armed(Kind::Full, "new");
    lose(&device.older_copy());
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.1.0");
    assert!(device.state().unwrap().trial);
}

#[test]
fn the_result_of_a_return_quotes_the_new_os() {
    let device = Device::trial_ended(Kind::Full, "new");
    fs::write(device.layout().os_log(), "relay 3 is stuck\n").unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!(result.outcome, Outcome::RolledBack);
    assert_eq!(result.log.as_deref(), Some("relay 3 is stuck"));
    let kept = fs::read_to_string(device.layout().trial_log(JOB)).unwrap();
    assert_eq!(kept, "relay 3 is stuck\n");
}

#[test]
fn the_result_of_a_return_does_not_quote_the_old_os() {
    let device = Device::armed(Kind::Full, "new");
    let layout = device.layout();
    fs::write(layout.os_log(), "rebooting\n").unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    // The new OS dies before it logs anything.
    device.set_state(&BootState {
        tries: 0,
        ..device.state().unwrap()
    });
    assert_eq!(device.run_for(Some(BootReason::TrialEnded)), Ended::Reboot);
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!((result.outcome, &result.log), (Outcome::RolledBack, &None));
    let before = fs::read_to_string(layout.os_log_before()).unwrap();
    assert_eq!(before, "rebooting\n");
}
