use std::fs;

use dau_boot_state::{BootState, Operation};
use dau_handoff::MAX_FAILURES;
use dau_model::{Kind, Outcome, Slot};

use super::fixture::*;
use crate::run::Ended;

/// Asserts a refusal before any change: the old OS boots, and the result says why.
fn assert_refused(device: &Device, name: &str, outcome: Outcome, word: &str) {
    let before = device.bytes();
    assert_eq!(device.run(), Ended::Reboot, "{name}");
    assert!(device.bytes() == before, "{name}: something was changed");
    let state = device.state().unwrap();
    assert_eq!(
        (state.upgrade, state.trial, state.kernel),
        (false, false, Slot::A),
        "{name}"
    );
    let job = device.job();
    let result = job
        .result()
        .unwrap_or_else(|| panic!("{name}: {}", job.state()));
    assert_eq!(
        (result.outcome, result.reason.word.as_str()),
        (outcome, word),
        "{name}"
    );
    assert!(!result.reason.message.is_empty());
}

#[test]
fn a_package_that_is_not_the_right_one_is_refused() {
    let cases = [
        ("tampered", Kind::Full, "sha256-mismatch"),
        ("stranger", Kind::Full, "signer-unknown"),
        ("other-product", Kind::Full, "wrong-product"),
        ("older-index", Kind::Full, "older-rollback-index"),
        ("new-kernel", Kind::Full, "wrong-kind"),
        ("new-rootfs", Kind::Kernel, "wrong-kind"),
        ("large", Kind::Rootfs, "rootfs-size"),
        ("demanding", Kind::Full, "recovery-too-old"),
    ];
    for (package, kind, word) in cases {
        let device = Device::armed(kind, package);
        // MD5 is checked before SHA-256 and finds the same.
        let word = if word == "sha256-mismatch" {
            "md5-mismatch"
        } else {
            word
        };
        assert_refused(&device, package, Outcome::Refused, word);
    }
}

#[test]
fn a_package_exchanged_on_mnt_after_arming_is_refused_though_its_signature_holds() {
    let device = Device::armed(Kind::Full, "new");
    device.put_package("new-again", &device.layout().candidate());
    assert_refused(&device, "exchanged", Outcome::Refused, "package-exchanged");
}

#[test]
fn a_package_or_backup_that_is_gone_or_damaged_is_refused() {
    let device = Device::armed(Kind::Full, "new");
    fs::remove_file(device.layout().candidate()).unwrap();
    assert_refused(&device, "no package", Outcome::Refused, "no-package");

    let device = Device::armed(Kind::Full, "new");
    fs::remove_file(device.layout().backup(JOB)).unwrap();
    assert_refused(&device, "no backup", Outcome::Refused, "no-backup");

    let device = Device::armed(Kind::Rootfs, "new");
    let mut backup = fs::read(device.layout().backup(JOB)).unwrap();
    backup[700] ^= 1;
    fs::write(device.layout().backup(JOB), backup).unwrap();
    assert_refused(
        &device,
        "damaged backup",
        Outcome::Refused,
        "backup-damaged",
    );

    let device = Device::armed(Kind::Rootfs, "new");
    device.change_job(|job| job.parameters = None);
    assert_refused(&device, "job without backup", Outcome::Refused, "no-backup");
}

#[test]
fn a_kernel_job_needs_no_backup() {
    let device = Device::armed(Kind::Kernel, "new-kernel");
    fs::remove_file(device.layout().backup(JOB)).unwrap();
    device.run();
    assert_eq!(device.kernel_version(Slot::B), "1.1.0");
}

#[test]
fn a_flag_that_says_something_else_than_the_job_is_refused() {
    for (flag, outcome, word) in [
        (
            Operation::Install(Kind::Kernel),
            Outcome::Refused,
            "kind-mismatch",
        ),
        (Operation::None, Outcome::Refused, "kind-mismatch"),
        (Operation::Rollback, Outcome::Failed, "nothing-to-roll-back"),
    ] {
        let device = Device::armed(Kind::Full, "new");
        device.set_state(&BootState::factory().armed(flag));
        assert_refused(&device, word, outcome, word);
    }
}

#[test]
fn a_flag_without_a_job_is_cleared() {
    let device = Device::armed(Kind::Full, "new");
    fs::remove_file(device.layout().job()).unwrap();
    let before = device.bytes();
    assert_eq!(device.run(), Ended::Reboot);
    assert!(device.bytes() == before);
    let state = device.state().unwrap();
    assert_eq!((state.upgrade, state.kernel), (false, Slot::A));
}

#[test]
fn the_rollback_index_of_what_is_installed_counts() {
    // The running kernel is newer than the root filesystem.
    let device = Device::armed(Kind::Full, "new");
    device.put_package("new-again", &device.layout().installed_kernel());
    assert_refused(
        &device,
        "older than the kernel",
        Outcome::Refused,
        "older-rollback-index",
    );
    // A package that was never signed for this terminal does not count.
    let device = Device::armed(Kind::Full, "new");
    device.put_package("stranger", &device.layout().installed_kernel());
    device.run();
    assert_eq!(device.rootfs_version(), "1.1.0");
}

#[test]
fn after_three_failures_the_untouched_old_os_boots_again() {
    let device = Device::armed(Kind::Full, "new");
    let mut terminal = device.terminal(None, crate::failpoint::Failpoint::default());
    terminal.keyring = device.path("no-keyring");
    let before = device.bytes();
    for failures in 1..=MAX_FAILURES {
        assert_eq!(crate::run::run(&terminal, None), Ended::Failed);
        assert_eq!(device.job().attempts.failures, failures);
        assert!(device.state().unwrap().upgrade);
    }
    assert_eq!(crate::run::run(&terminal, None), Ended::Reboot);
    assert!(device.bytes() == before);
    assert_eq!(device.state().unwrap().kernel, Slot::A);
    assert!(!device.state().unwrap().upgrade);
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!(
        (result.outcome, result.reason.word.as_str()),
        (Outcome::Failed, "install-failed")
    );
    assert!(
        result.reason.message.contains("no-keyring"),
        "{}",
        result.reason.message
    );
}

#[test]
fn a_crash_counts_as_a_failure() {
    let device = Device::armed(Kind::Full, "new");
    device.change_job(|job| job.attempts.failures = MAX_FAILURES - 1);
    let terminal = device.terminal(None, crate::failpoint::Failpoint::default());
    assert_eq!(
        crate::run::run(&terminal, Some("ended by SIGSEGV")),
        Ended::Reboot
    );
    let job = device.job();
    let result = job.result().unwrap();
    assert_eq!(result.outcome, Outcome::Failed);
    assert!(
        result.reason.message.contains("SIGSEGV"),
        "{}",
        result.reason.message
    );
}

/// Signed and complete, but the image differs from the manifest: noticed before the first byte
/// changes.
#[test]
fn an_image_that_is_not_what_the_manifest_says_changes_nothing() {
    let device = Device::armed(Kind::Rootfs, "lying-image");
    assert_refused(&device, "lying-image", Outcome::Refused, "image-mismatch");
    assert!(!device.job().attempts.rootfs_touched);
}
