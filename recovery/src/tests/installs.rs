use std::fs;

use dau_boot_state::{Operation, DEFAULT_TRIES};
use dau_model::{Kind, Slot, State};

use super::fixture::*;
use crate::run::Ended;

#[test]
fn each_kind_writes_what_it_says_and_commits() {
    let cases = [
        (Kind::Full, "new", Slot::B, "1.1.0", "1.1.0"),
        (Kind::Kernel, "new-kernel", Slot::B, "1.1.0", "1.0.0"),
        (Kind::Rootfs, "new-rootfs", Slot::A, "1.0.0", "1.1.0"),
        // A full package serves orders for a part of it.
        (Kind::Kernel, "new", Slot::B, "1.1.0", "1.0.0"),
        (Kind::Rootfs, "new", Slot::A, "1.0.0", "1.1.0"),
    ];
    for (kind, package, slot, kernel, rootfs) in cases {
        let device = Device::armed(kind, package);
        assert_eq!(device.run(), Ended::Reboot, "{kind} {package}");
        let state = device.state().unwrap();
        assert_eq!((state.upgrade, state.operation), (false, Operation::None));
        assert_eq!((state.trial, state.tries), (true, DEFAULT_TRIES));
        assert_eq!(state.kernel, slot);
        assert_eq!(device.kernel_version(slot), kernel);
        assert_eq!(
            device.kernel_version(Slot::A),
            "1.0.0",
            "the slot that ran before"
        );
        assert_eq!(device.rootfs_version(), rootfs);
        let restored = if kind == Kind::Kernel {
            DEFAULTS
        } else {
            SETTINGS
        };
        assert_eq!(device.settings(), restored);
        let job = device.job();
        assert_eq!(job.state(), State::Trial);
        assert_eq!(job.attempts.rootfs_touched, kind != Kind::Kernel);
        assert_eq!((job.attempts.starts, job.attempts.failures), (1, 0));
        let stages: Vec<_> = job.stages.iter().map(|stage| stage.name.as_str()).collect();
        let expected: &[&str] = match kind {
            Kind::Full => &["recovery-verify", "write-kernel", "write-rootfs", "restore"],
            Kind::Kernel => &["recovery-verify", "write-kernel"],
            Kind::Rootfs => &["recovery-verify", "write-rootfs", "restore"],
            Kind::Recovery => &[],
        };
        assert_eq!(stages, expected);
    }
}

#[test]
fn the_file_system_is_grown_to_its_partition() {
    let device = Device::armed(Kind::Rootfs, "new-rootfs");
    device.run();
    let superblock = fs::read(device.path("rootfs.img")).unwrap();
    let blocks = u32::from_le_bytes(superblock[1028..1032].try_into().unwrap());
    assert_eq!(u64::from(blocks) * 4096, superblock.len() as u64);
}

#[test]
fn a_kernel_larger_than_the_one_in_its_slot_fits_and_a_longer_slot_keeps_its_length() {
    for length in [0, 1000, 2_000_000] {
        let device = Device::armed(Kind::Kernel, "new-kernel");
        fs::write(device.kernel(Slot::B), vec![0xee; length]).unwrap();
        assert_eq!(device.run(), Ended::Reboot);
        assert_eq!(device.kernel_version(Slot::B), "1.1.0");
        let size = fs::metadata(made().kernel("1.1.0")).unwrap().len();
        let found = fs::metadata(device.kernel(Slot::B)).unwrap().len();
        assert_eq!(found, size.max(length as u64));
    }
}

#[test]
fn nothing_pending_changes_nothing() {
    let device = Device::steady();
    let (before, state) = (device.bytes(), device.state());
    assert_eq!(device.run_for(None), Ended::Reboot);
    assert!(device.bytes() == before);
    assert_eq!(device.state(), state);
}
