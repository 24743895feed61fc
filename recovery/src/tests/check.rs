use std::fs;
use std::path::Path;

use dau_boot_state::{BootState, Operation};
use dau_model::{Kind, Slot};
use dau_package::Head;
use dau_system::cmdline::BootReason;

use super::fixture::*;
use crate::failpoint::Failpoint;
use crate::run::{self, Ended};
use crate::terminal::Terminal;

/// Returns a terminal as started by U-Boot in slot b: the flag is consumed, slot a is in charge.
fn checking() -> (Device, Terminal) {
    let device = Device::steady();
    for slot in [Slot::A, Slot::B] {
        fs::write(device.recovery(slot), fit("1.1.0")).unwrap();
    }
    let mut terminal = device.terminal(Some(BootReason::Check), Failpoint::default());
    terminal.recovery = Some(Slot::B);
    (device, terminal)
}

#[test]
fn a_whole_recovery_os_takes_charge_and_changes_nothing_else() {
    let (device, terminal) = checking();
    let (before, state) = (device.bytes(), device.state().unwrap());
    assert_eq!(run::run(&terminal, None), Ended::Reboot);
    assert!(device.bytes() == before);
    let after = device.state().unwrap();
    let expected = BootState {
        seq: state.seq + 1,
        ..state.in_charge(Slot::B)
    };
    assert_eq!(after, expected);
}

/// Changes what stands behind the head of a package.
fn change_body(path: &Path, change: fn(&mut Vec<u8>, usize)) {
    let mut package = fs::read(path).unwrap();
    let head = Head::parse(&package).unwrap().unwrap();
    change(&mut package, usize::try_from(head.body_offset).unwrap());
    fs::write(path, package).unwrap()
}

fn tomorrow(package: &mut [u8], body: usize) {
    let header = &mut package[body..][..512];
    assert_eq!(header[..11], *b"system.tar\0");
    // Moved on by one, so that the header's checksum stays right.
    header[..2].copy_from_slice(b"tx");
}

#[test]
fn a_damaged_package_keeps_no_new_recovery_os_out() {
    type Damage = fn(&mut Vec<u8>, usize);
    let damages: [(&str, Damage); 3] = [
        ("header", |package, body| package[body..][..512].fill(0xFF)),
        ("cut", |package, body| package.truncate(body + 5000)),
        ("without a body", |package, body| package.truncate(body)),
    ];
    for (name, damage) in damages {
        let (device, terminal) = checking();
        let installed = device.layout().installed();
        fs::copy(&installed, device.layout().installed_kernel()).unwrap();
        change_body(&installed, damage);
        change_body(&device.layout().installed_kernel(), damage);
        assert_eq!(run::run(&terminal, None), Ended::Reboot, "{name}");
        assert_eq!(device.state().unwrap().recovery, Slot::B, "{name}");
    }
}

#[test]
fn one_that_could_not_do_its_work_leaves_the_old_one_in_charge() {
    type Fault = fn(&Device, &mut Terminal);
    let faults: [(&str, Fault); 12] = [
        ("no keyring", |device, terminal| {
            terminal.keyring = device.path("no-keyring")
        }),
        ("another keyring", |device, _| {
            device.put_package("stranger", &device.layout().installed())
        }),
        ("another product", |device, _| {
            device.put_package("other-product", &device.layout().installed())
        }),
        ("a form of tomorrow", |device, _| {
            change_body(&device.layout().installed(), |package, body| {
                tomorrow(package, body)
            })
        }),
        ("a kernel's package for another keyring", |device, _| {
            device.put_package("stranger", &device.layout().installed_kernel())
        }),
        ("a kernel's package in a form of tomorrow", |device, _| {
            let path = device.layout().installed_kernel();
            fs::copy(device.layout().installed(), &path).unwrap();
            change_body(&path, |package, body| tomorrow(package, body))
        }),
        ("no version", |_, terminal| terminal.release.version.clear()),
        ("no rootfs", |device, _| {
            fs::remove_file(device.path("rootfs.img")).unwrap()
        }),
        ("a torn slot", |device, _| {
            fs::write(device.recovery(Slot::B), &fit("1.1.0")[..5000]).unwrap()
        }),
        ("no slot is named", |_, terminal| terminal.recovery = None),
        ("no boot state", |device, _| device.lose_state()),
        ("an upgrade is pending", |device, _| {
            device.set_state(&BootState::factory().armed(Operation::Install(Kind::Full)))
        }),
    ];
    for (name, fault) in faults {
        let (device, mut terminal) = checking();
        fault(&device, &mut terminal);
        let state = device.state();
        assert_eq!(run::run(&terminal, None), Ended::Failed, "{name}");
        assert_eq!(device.state(), state, "{name}");
    }
}

#[test]
fn a_crash_in_check_mode_is_the_end_of_it() {
    let (device, terminal) = checking();
    assert_eq!(run::run(&terminal, Some("SIGSEGV")), Ended::Failed);
    assert_eq!(device.state().unwrap().recovery, Slot::A);
}

#[test]
fn power_may_go_at_either_side_of_the_one_write() {
    for (point, in_charge) in [(0, Slot::A), (1, Slot::B)] {
        let (device, mut terminal) = checking();
        terminal.failpoint = Failpoint::after(point);
        let run = std::panic::AssertUnwindSafe(|| run::run(&terminal, None));
        assert!(std::panic::catch_unwind(run).is_err());
        let state = device.state().unwrap();
        assert_eq!(state.recovery, in_charge);
        assert!(!state.check);
    }
}

#[test]
fn the_job_that_replaces_recovery_os_is_left_to_the_agent() {
    // RecoveryOS is started for another reason meanwhile: the kernel is damaged.
    for kind in [Kind::Recovery, Kind::Full] {
        let device = Device::armed(Kind::Full, "new");
        device.change_job(|job| {
            job.order.kind = kind;
            job.force(dau_model::State::UpdatingRecovery);
        });
        device.set_state(&BootState::factory());
        fs::write(device.kernel(Slot::A), "rotten").unwrap();
        let job = device.job();
        assert_eq!(
            device.run_for(Some(BootReason::KernelRefused)),
            Ended::Reboot
        );
        assert_eq!(device.kernel_version(Slot::B), "1.0.0");
        assert_eq!(device.job(), job);
    }
}
