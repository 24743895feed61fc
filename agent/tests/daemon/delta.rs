//! Upgrades by deltas: the package is made of the one that the terminal keeps.

use std::fs;
use std::path::Path;

use crate::support::packages::{recovery_os, recovery_os_without_deltas, Wish};
use crate::support::station::{md5_of, order};
use crate::support::{wait_for, World};
use dau_boot_state::BootState;
use dau_handoff::{JobResult, Layout};
use dau_model::{Outcome, Slot, State};
use dau_package::delta::{Delta, Rebuild};
use dau_package::{verify_kept, Form, Keyring, Verified};
use dau_protocol::{code, message_type};
use nix::sys::signal::Signal;
use serde_json::json;

const OLD: Wish = Wish {
    product: crate::support::terminal::PRODUCT,
    version: "1.0.0",
    rollback_index: 5,
    kernel: true,
    rootfs: true,
    recovery: false,
    minimum_recovery: None,
};
const NEW: Wish = Wish {
    version: "1.1.0",
    ..OLD
};

/// A terminal that keeps the old package, and the delta to the new one.
struct Upgrade {
    world: World,
    old: Vec<u8>,
    new: Vec<u8>,
    delta: Vec<u8>,
    url: String,
}

fn upgrade() -> Upgrade {
    let world = World::new();
    let old = world.maker.make(&OLD);
    fs::write(world.terminal.layout.installed(), &old).unwrap();
    world.maker.change();
    let new = world.maker.make(&NEW);
    let delta = world.maker.delta(&old, &new);
    assert!(delta.len() < new.len() / 10, "{}", delta.len());
    let url = world.files.offer("full.delta.dau", delta.clone());
    Upgrade {
        world,
        old,
        new,
        delta,
        url,
    }
}

/// Checks a package that the terminal keeps as RecoveryOS and agent do.
fn kept(world: &World, path: &Path) -> Verified {
    let keyring = Keyring::load(&world.maker.keyring()).unwrap();
    let file = fs::File::open(path).unwrap();
    verify_kept(&file, &keyring, &mut |_, _| Ok(())).unwrap()
}

/// SHA-256 of the manifest of a package.
fn digest(package: &[u8]) -> String {
    let head = dau_package::Head::parse(package).unwrap().unwrap();
    head.manifest_sha256()
}

#[test]
fn a_delta_becomes_the_package_and_the_base_of_the_next_ten_times_with_the_way_back_from_each() {
    let mut world = World::new();
    let mut old = world.maker.make(&OLD);
    fs::write(world.terminal.layout.installed(), &old).unwrap();
    let versions: Vec<&'static str> = vec![
        "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0", "1.9.0", "2.0.0",
    ];
    world.start();
    let mut before = "1.0.0";
    for (round, version) in (1..).zip(versions) {
        world.maker.change();
        let wish = Wish { version, ..OLD };
        let new = world.maker.make(&wish);
        let delta = world.maker.delta(&old, &new);
        let md5 = md5_of(&delta);
        let url = world.files.offer(&format!("{version}.dau"), delta);
        // Taken back the first time, confirmed the second.
        for (id, healthy) in [(round * 10, false), (round * 10 + 1, true)] {
            let mut param = order(id, 3, version, &url);
            param["file"]["md5"] = json!(md5);
            let answer = world.station.order(param);
            assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
            world.terminal.reboots();
            let job = world.terminal.job().unwrap();
            assert_eq!(job.manifest_sha256, Some(digest(&new)));
            let names: Vec<_> = job.stages.iter().map(|stage| stage.name.as_str()).collect();
            assert_eq!(names, ["download", "rebuild", "backup"]);
            let candidate = kept(&world, &world.terminal.layout.candidate());
            assert_eq!(candidate.form, Form::Rebuilt);
            world.terminal.recovery_installs(version);
            if !healthy {
                world.terminal.set_version("0.0.1");
            }
            world.terminal.start();
            if !healthy {
                world.terminal.reboots();
                let reason = world.terminal.job().unwrap().rollback_reason().cloned();
                // RecoveryOS puts back what is kept.
                let installed = kept(&world, &world.terminal.layout.installed());
                assert_eq!(installed.manifest_sha256, digest(&old));
                world.terminal.change_job(|job| {
                    job.finish(JobResult::new(Outcome::RolledBack, reason.unwrap()));
                });
                world.terminal.set_version(before);
                let steady = world.terminal.boot().steady(Slot::A);
                world.terminal.set_boot(&steady);
                world.terminal.start();
            }
            if healthy {
                // The station chooses the next job's file when the result comes.
                world.station.expect("what is kept now", |_, message| {
                    message.message_type == message_type::HEARTBEAT
                        && message.param["dau"]["packages"] == json!([digest(&new)])
                });
            }
            let outcome = world.station.result(id).details.unwrap().outcome;
            assert_eq!(outcome, if healthy { "success" } else { "rolled-back" });
            world.station.acknowledge(id);
        }
        let installed = kept(&world, &world.terminal.layout.installed());
        assert_eq!(installed.manifest_sha256, digest(&new), "{version}");
        (old, before) = (new, version);
    }
    world.station.ask_for_link_up();
    world.station.expect("the packages", |_, message| {
        message.message_type == message_type::LINK_UP
            && message.param["dau"]["packages"] == json!([digest(&old)])
    });
}

/// The job's files as power may leave them, wherever it goes.
#[test]
fn every_state_of_a_rebuild_leads_to_the_flag() {
    let mut upgrade = upgrade();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    upgrade.world.terminal.reboots();
    let world = &mut upgrade.world;
    let layout = world.terminal.layout.clone();
    let rebuilt = fs::read(layout.candidate()).unwrap();
    assert!(rebuilt == rebuilt_by_hand(world, &upgrade.old, &upgrade.delta));
    let (part, note) = (layout.part(7), Layout::part_note(&layout.part(7)));
    let noted = |delta: bool| {
        let total = upgrade.delta.len();
        json!({"etag": "\"first\"", "total": total, "whole": true, "delta": delta}).to_string()
    };
    let cuts = [
        0,
        1,
        600,
        20_000,
        300_000,
        400_000,
        1_000_000,
        2_222_222,
        rebuilt.len() - 1,
    ];
    let mut states: Vec<(&str, Option<Vec<u8>>, bool)> = cuts
        .iter()
        .map(|cut| ("rebuilt", Some(rebuilt[..*cut].to_vec()), true))
        .collect();
    let mut torn = rebuilt[..1_500_000].to_vec();
    torn[1_400_000..].fill(0);
    states.extend([
        ("fetched", None, false),
        ("verified", None, true),
        ("torn", Some(torn), true),
        ("made", Some(rebuilt.clone()), true),
        ("renamed", None, true),
        ("part gone", None, true),
        ("note gone", None, true),
    ]);
    for (name, made, delta) in states {
        let from = made.as_ref().map(Vec::len);
        let renamed = ["renamed", "part gone", "note gone"].contains(&name);
        if !renamed {
            fs::remove_file(layout.candidate()).unwrap();
        }
        fs::write(&part, &upgrade.delta).unwrap();
        fs::write(&note, noted(delta)).unwrap();
        if let Some(made) = made {
            fs::write(layout.rebuilt(7), made).unwrap();
        }
        if ["part gone", "note gone"].contains(&name) {
            fs::remove_file(&part).unwrap();
        }
        if name == "note gone" {
            fs::remove_file(&note).unwrap();
        }
        world.terminal.change_job(|job| {
            job.force(State::Verifying);
            job.reboots = 0;
            job.manifest_sha256 = None;
        });
        world.terminal.set_boot(&BootState::factory());
        world.terminal.start();
        world.terminal.reboots();
        assert!(
            fs::read(layout.candidate()).unwrap() == rebuilt,
            "{name} {from:?}"
        );
        let job = world.terminal.job().unwrap();
        assert_eq!(
            job.manifest_sha256,
            Some(digest(&upgrade.new)),
            "{name} {from:?}"
        );
        let left = layout.unfinished().unwrap();
        assert!(left.is_empty(), "{name} {from:?}: {left:?}");
    }
    // Nothing was fetched for all that.
    assert_eq!(upgrade.world.files.requests().len(), 1);
}

fn rebuilt_by_hand(world: &World, old: &[u8], delta: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).open(path).unwrap()
    };
    let keyring = Keyring::load(&world.maker.keyring()).unwrap();
    let delta = Delta::verify(file("delta", delta), &keyring, &mut |_, _| Ok(())).unwrap();
    let (base, output) = (file("base", old), file("output", b""));
    let mut rebuild = Rebuild::new(&delta, &base, &output).unwrap();
    while rebuild.step(&mut || Ok(())).unwrap() {}
    rebuild.finish().unwrap();
    fs::read(dir.path().join("output")).unwrap()
}

#[test]
fn a_rebuild_goes_on_after_each_end_of_the_agent() {
    let mut upgrade = upgrade();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let layout = upgrade.world.terminal.layout.clone();
    for bytes in [1, 400_000, 1_500_000] {
        let begun = wait_for("so much, or all of it", || {
            let made = layout.rebuilt(7).metadata().ok();
            let made = made.map(|made| made.len() >= bytes);
            match made {
                _ if layout.candidate().exists() => Some(false),
                Some(true) => Some(true),
                _ => None,
            }
        });
        if begun {
            upgrade.world.terminal.kill();
            upgrade.world.terminal.start();
        }
    }
    upgrade.world.terminal.reboots();
    let candidate = kept(&upgrade.world, &layout.candidate());
    assert_eq!(candidate.manifest_sha256, digest(&upgrade.new));
}

#[test]
fn a_delta_of_what_is_not_kept_is_refused_before_its_body_is_fetched() {
    let mut upgrade = upgrade();
    let installed = upgrade.world.terminal.layout.installed();
    fs::write(&installed, &upgrade.new).unwrap();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let details = upgrade.world.station.result(7).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("refused", "delta-base")
    );
    assert!(fs::read(installed).unwrap() == upgrade.new);
    assert!(upgrade
        .world
        .terminal
        .layout
        .unfinished()
        .unwrap()
        .is_empty());
}

#[test]
fn a_damaged_base_ends_the_job_and_nothing_is_fetched_in_its_place() {
    let mut upgrade = upgrade();
    let installed = upgrade.world.terminal.layout.installed();
    let mut damaged = upgrade.old.clone();
    for byte in &mut damaged[200_000..3_000_000] {
        *byte ^= 0x55;
    }
    fs::write(installed, damaged).unwrap();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let report = upgrade.world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!(details.outcome, "refused");
    assert!(
        ["delta-base", "delta-mismatch"].contains(&details.word.as_str()),
        "{}",
        details.word
    );
    assert!(
        report.msg.contains("order the whole package"),
        "{}",
        report.msg
    );
    assert_eq!(upgrade.world.files.requests().len(), 1);
    assert!(upgrade.world.terminal.runs());
}

#[test]
fn a_recovery_os_that_a_delta_brings_along_is_written_from_the_package_that_was_made() {
    let mut world = World::new();
    let old = world.maker.make(&OLD);
    fs::write(world.terminal.layout.installed(), &old).unwrap();
    world.maker.change();
    let with_recovery = Wish {
        recovery: true,
        ..NEW
    };
    let delta = world.maker.delta(&old, &world.maker.make(&with_recovery));
    let url = world.files.offer("full.delta.dau", delta);
    world.start();
    world.station.order(order(7, 3, "1.1.0", &url));
    world.terminal.reboots();
    world.terminal.recovery_installs("1.1.0");
    world.terminal.start();
    world.station.progress(7, "updating-recovery");
    world.terminal.reboots();
    let slot = fs::read(world.terminal.recovery_slot(Slot::B)).unwrap();
    assert!(slot == recovery_os("1.1.0"));
    world.terminal.checks_recovery(true);
    world.terminal.start();
    let details = world.station.result(7).details.unwrap();
    assert_eq!(
        (details.word.as_str(), details.recovery_after.as_str()),
        ("success", "1.1.0")
    );
}

#[test]
fn a_recovery_os_from_before_deltas_gets_none_and_the_station_is_told_of_no_base() {
    let mut upgrade = upgrade();
    let terminal = &upgrade.world.terminal;
    let old = recovery_os_without_deltas("1.0.0");
    fs::write(terminal.recovery_slot(Slot::A), old).unwrap();
    upgrade.world.start();
    upgrade.world.station.ask_for_link_up();
    upgrade.world.station.expect("no packages", |_, message| {
        message.message_type == message_type::LINK_UP
            && message.param["dau"].get("packages").is_none()
    });
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let details = upgrade.world.station.result(7).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("refused", "recovery-too-old")
    );
    assert!(upgrade.world.terminal.runs());
}

#[test]
fn a_rebuilt_package_keeps_a_recovery_os_from_before_deltas_from_taking_charge() {
    let mut upgrade = upgrade();
    let world = &mut upgrade.world;
    let rebuilt = rebuilt_by_hand(world, &upgrade.old, &upgrade.delta);
    fs::write(world.terminal.layout.installed(), rebuilt).unwrap();
    world.maker.bring(&recovery_os_without_deltas("1.1.0"));
    let package = world.maker.make(&Wish {
        kernel: false,
        rootfs: false,
        recovery: true,
        ..NEW
    });
    let url = world.files.offer("recovery.dau", package);
    world.start();
    world.station.order(order(8, 16, "1.1.0", &url));
    let details = world.station.result(8).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("failed", "recovery-too-old")
    );
    for slot in [Slot::A, Slot::B] {
        let found = fs::read(world.terminal.recovery_slot(slot)).unwrap();
        assert!(found == recovery_os("1.0.0"), "{slot}");
    }
    assert_eq!(world.terminal.boot().seq, 1);
}

#[test]
fn a_job_is_cancelled_in_the_middle_of_a_rebuild_and_leaves_nothing() {
    let mut upgrade = upgrade();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let world = &mut upgrade.world;
    let layout = world.terminal.layout.clone();
    wait_for("the rebuild", || layout.rebuilt(7).exists().then_some(()));
    // It goes on only once the cancellation waits for it.
    world.terminal.signal(Signal::SIGSTOP);
    world
        .station
        .command(message_type::JOB_CANCEL, json!({"jobId": 7}));
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.terminal.signal(Signal::SIGCONT);
    let details = world.station.result(7).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("cancelled", "cancelled")
    );
    assert!(layout.unfinished().unwrap().is_empty());
    assert!(!layout.candidate().exists());
    assert!(fs::read(layout.installed()).unwrap() == upgrade.old);
    assert!(world.terminal.runs());
}

#[test]
fn a_rebuild_for_which_the_room_went_ends_the_job_before_it_begins() {
    let mut upgrade = upgrade();
    upgrade.world.start();
    let order = order(7, 3, "1.1.0", &upgrade.url);
    upgrade.world.station.order(order);
    let world = &mut upgrade.world;
    world.terminal.reboots();
    let layout = world.terminal.layout.clone();
    // As if power had gone after the delta was verified, and others had filled mnt since.
    fs::remove_file(layout.candidate()).unwrap();
    let part = layout.part(7);
    fs::write(&part, &upgrade.delta).unwrap();
    let note = json!({
        "etag": "\"first\"", "total": upgrade.delta.len(), "whole": true, "delta": true,
    });
    fs::write(Layout::part_note(&part), note.to_string()).unwrap();
    world.terminal.change_job(|job| {
        job.force(State::Verifying);
        job.reboots = 0;
        job.manifest_sha256 = None;
    });
    world.terminal.set_boot(&BootState::factory());
    world
        .terminal
        .add_settings("[download]\nreserve = 1000000000000\n");
    world.terminal.start();
    let report = world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("refused", "no-space")
    );
    assert!(report.msg.contains("make room"), "{}", report.msg);
    assert!(layout.unfinished().unwrap().is_empty());
    assert!(fs::read(layout.installed()).unwrap() == upgrade.old);
    assert_eq!(upgrade.world.files.requests().len(), 1);
}
