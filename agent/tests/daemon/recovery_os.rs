//! RecoveryOS is upgraded too.

use crate::support::packages::{recovery_os, Wish};
use crate::support::station::order;
use crate::support::World;
use dau_handoff::{RecoveryRecord, WorkRecord, Written};
use dau_model::{Slot, State};
use dau_protocol::{code, message_type};
use serde_json::json;

fn recovery() -> Wish {
    Wish {
        kernel: false,
        rootfs: false,
        recovery: true,
        ..Wish::default()
    }
}

/// Orders a RecoveryOS and waits until its check is asked for.
fn ordered(world: &mut World, id: i64) {
    let url = world
        .files
        .offer("recovery.dau", world.maker.make(&recovery()));
    world.terminal.start();
    let hello = world.station.expect_type(message_type::LINK_UP);
    assert_eq!(hello.param["dau"]["recoveryVersion"], json!("1.0.0"));
    assert_eq!(hello.param["dau"]["recoverySlot"], json!("a"));
    let answer = world.station.order(order(id, 16, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{answer:?}");
    world.station.progress(id, "updating-recovery");
    world.terminal.reboots();
}

fn slot(world: &World, slot: Slot) -> Vec<u8> {
    std::fs::read(world.terminal.recovery_slot(slot)).unwrap()
}

#[test]
fn a_new_recovery_os_takes_charge_and_the_result_says_so() {
    let mut world = World::new();
    ordered(&mut world, 7);
    assert_eq!(slot(&world, Slot::A), recovery_os("1.0.0"));
    assert_eq!(slot(&world, Slot::B), recovery_os("1.1.0"));
    let boot = world.terminal.boot();
    assert!(boot.check && !boot.upgrade && boot.recovery == Slot::A);
    assert!(!world.terminal.layout.backup(7).exists());

    world.terminal.checks_recovery(true);
    world.terminal.start();
    let report = world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!((report.code, details.word.as_str()), (code::OK, "success"));
    assert!(report.msg.contains("1.1.0"), "{}", report.msg);
    let versions = (
        details.recovery_before.as_str(),
        details.recovery_after.as_str(),
    );
    assert_eq!(versions, ("1.0.0", "1.1.0"));
    assert_eq!(details.version_after, "1.0.0");
    assert!(!world.terminal.layout.installed().exists());
    assert!(!world.terminal.layout.candidate().exists());
}

#[test]
fn one_that_does_not_prove_itself_is_tried_again_once_and_then_replaced_by_the_old_one() {
    let mut world = World::new();
    ordered(&mut world, 8);
    world.terminal.checks_recovery(false);
    // The first time it may have been the power.
    world.terminal.start();
    world.terminal.reboots();
    world.terminal.checks_recovery(false);
    world.terminal.start();
    let report = world.station.result(8);
    let details = report.details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("failed", "recovery-not-proven")
    );
    assert_eq!(details.recovery_after, "1.0.0");
    assert_eq!(world.terminal.boot().recovery, Slot::A);
    for each in [Slot::A, Slot::B] {
        assert!(slot(&world, each).starts_with(&recovery_os("1.0.0")));
    }
}

#[test]
fn the_slot_is_written_again_after_a_power_cut_in_it() {
    let mut world = World::new();
    ordered(&mut world, 9);
    // As if power had gone in the middle of the slot, before the check was asked for.
    let boot = world.terminal.boot();
    world.terminal.set_boot(&boot.in_charge(Slot::A));
    world.terminal.change_job(|job| {
        assert_eq!(job.state(), State::UpdatingRecovery);
        if let Some(record) = &mut job.recovery {
            record.written = Written::No;
            (record.check_seq, record.checks) = (None, 0);
        }
    });
    std::fs::write(world.terminal.recovery_slot(Slot::B), "half").unwrap();
    world.terminal.start();
    world.terminal.reboots();
    assert_eq!(slot(&world, Slot::B), recovery_os("1.1.0"));
    assert!(world.terminal.boot().check);
}

#[test]
fn the_old_one_is_put_back_where_writing_the_new_one_was_given_up() {
    let mut world = World::new();
    ordered(&mut world, 13);
    // As if the agent had ended for the third time while it wrote the slot.
    let boot = world.terminal.boot();
    world.terminal.set_boot(&boot.in_charge(Slot::A));
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    world.terminal.change_job(|job| {
        job.recovery = Some(RecoveryRecord::new(Slot::A, None));
        job.work = Some(WorkRecord {
            boot: boot_id.trim().to_owned(),
            ends: 2,
            ..WorkRecord::default()
        });
    });
    std::fs::write(world.terminal.recovery_slot(Slot::B), "half").unwrap();
    world.terminal.start();
    let details = world.station.result(13).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("failed", "attempts")
    );
    assert!(slot(&world, Slot::B).starts_with(&recovery_os("1.0.0")));
}

#[test]
fn what_is_in_charge_already_is_not_written_again() {
    let mut world = World::new();
    std::fs::write(world.terminal.recovery_slot(Slot::A), recovery_os("1.1.0")).unwrap();
    let url = world
        .files
        .offer("recovery.dau", world.maker.make(&recovery()));
    world.terminal.start();
    world.station.expect_type(message_type::LINK_UP);
    world.station.order(order(10, 16, "1.1.0", &url));
    let report = world.station.result(10);
    assert_eq!(report.code, code::OK, "{}", report.msg);
    assert_eq!(slot(&world, Slot::B), recovery_os("1.0.0"));
    assert_eq!(world.terminal.boot().seq, 1);
}

#[test]
fn a_full_package_brings_a_recovery_os_after_the_new_os_was_confirmed() {
    let mut world = World::new();
    let wish = Wish {
        recovery: true,
        ..Wish::default()
    };
    let url = world.files.offer("full.dau", world.maker.make(&wish));
    world.terminal.start();
    world.station.expect_type(message_type::LINK_UP);
    world.station.order(order(11, 3, "1.1.0", &url));
    world.terminal.reboots();
    world.terminal.recovery_installs("1.1.0");
    world.terminal.start();
    world.station.progress(11, "updating-recovery");
    world.terminal.reboots();
    // The OS is confirmed by then, whatever comes of RecoveryOS.
    let boot = world.terminal.boot();
    assert!(!boot.trial && boot.check && boot.kernel == Slot::B);
    world.terminal.checks_recovery(false);
    world.terminal.start();
    world.terminal.reboots();
    world.terminal.checks_recovery(true);
    world.terminal.start();
    let report = world.station.result(11);
    let details = report.details.unwrap();
    assert_eq!((report.code, details.word.as_str()), (code::OK, "success"));
    assert_eq!(details.recovery_after, "1.1.0");
    assert_eq!(details.version_after, "1.1.0");
    assert_eq!(details.parameters_before, details.parameters_after);
}

#[test]
fn a_package_that_demands_a_later_recovery_os_is_refused_before_it_is_fetched() {
    let mut world = World::new();
    let wish = Wish {
        minimum_recovery: Some("1.0.1"),
        ..Wish::default()
    };
    let url = world.files.offer("full.dau", world.maker.make(&wish));
    world.terminal.start();
    world.station.expect_type(message_type::LINK_UP);
    world.station.order(order(12, 3, "1.1.0", &url));
    let report = world.station.result(12);
    let details = report.details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("refused", "recovery-too-old")
    );
    assert!(report.msg.contains("1.0.1") && report.msg.contains("1.0.0"));
}
