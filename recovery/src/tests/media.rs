//! Bad media and bad input other than power cuts. A partition that cannot be mounted at all is up
//! to the kernel and cannot be emulated here; the plan's tests cover it.

use std::fs;
use std::path::Path;

use dau_boot_state::BootState;
use dau_model::{Kind, Outcome, Slot, State};
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::run::Ended;

/// Makes mnt behave as if it could not be written: a folder is missing, and the file in its place
/// cannot be moved.
fn read_only_mnt(device: &Device) {
    let logs = device.layout().logs();
    fs::create_dir_all(logs.with_extension("damaged").join("full")).unwrap();
    fs::remove_dir_all(&logs).unwrap();
    fs::write(logs, "no folder").unwrap();
}

/// Makes a file unreadable: a folder cannot be read as a file.
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
    for state in [State::Installing, State::RollingBack] {
        let device = Device::armed(Kind::Full, "new");
        device.change_job(|job| {
            job.force(state);
            job.attempts.rootfs_touched = true;
            job.attempts.rollback_started = true;
        });
        read_only_mnt(&device);
        let boot = device.state();
        assert_eq!(device.run(), Ended::Stuck);
        assert_eq!(device.state(), boot);
        // Nor when the job does not tell its progress.
        lose(&device.layout().job());
        assert_eq!(device.run(), Ended::Stuck);
        assert_eq!(device.state(), boot);
    }
}

#[test]
fn what_stands_in_mnts_folders_stops_nothing() {
    let device = Device::armed(Kind::Full, "new");
    let layout = device.layout();
    fs::remove_dir_all(layout.logs()).unwrap();
    fs::write(layout.logs(), "no folder").unwrap();
    let temporary = layout.job().with_file_name(".job.json.tmp");
    fs::create_dir_all(temporary.join("full")).unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert_eq!(device.rootfs_version(), "1.1.0");
    assert!(layout.logs().is_dir());
}

/// Makes something other than a regular file.
type Make = fn(&Path);

const NO_FILES: [Make; 5] = [
    |path| fs::create_dir(path).unwrap(),
    |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    |path| std::os::unix::fs::symlink(path, path).unwrap(),
    |path| fs::File::create(path).unwrap().set_len(1 << 30).unwrap(),
    |path| fs::write(path, "{\"a\":".repeat(100_000)).unwrap(),
];

#[test]
fn whatever_stands_in_the_place_of_a_file_on_mnt_an_os_starts() {
    for make in NO_FILES {
        let files: [fn(&Device) -> std::path::PathBuf; 6] = [
            |device| device.layout().job(),
            |device| device.layout().candidate(),
            |device| device.layout().backup(JOB),
            |device| device.layout().backup_digest(JOB),
            |device| device.layout().os_log(),
            |device| device.layout().history(),
        ];
        for (number, file) in files.into_iter().enumerate() {
            let device = Device::armed(Kind::Full, "new");
            let path = file(&device);
            let _ = fs::remove_file(&path);
            make(&path);
            let mut ended = device.run();
            for _ in 0..2 * dau_handoff::MAX_FAILURES {
                if ended == Ended::Reboot {
                    break;
                }
                ended = device.run();
            }
            assert_eq!(ended, Ended::Reboot, "{number}");
            let version = device.rootfs_version();
            assert!(["1.0.0", "1.1.0"].contains(&version.as_str()), "{number}");
        }
    }
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
    // An invalid one does not help; a valid one is accepted.
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
