//! A mnt without a byte of room, or that takes no writes: a tmpfs of the test, which takes root and
//! mounts of its own. own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::immortal::leave_job;
use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_model::State;
use dau_protocol::{code, message_type};

/// Set where a test runs with mounts of its own.
const OWN_MOUNTS: &str = "DAU_TEST_OWN_MOUNTS";
/// Bytes of mnt.
const SIZE: usize = 4 << 20;

/// Runs the test of this name once more with mounts of its own; true within that run.
fn has_own_mounts(name: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("passed over: only root may mount");
        return false;
    }
    let status = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(OWN_MOUNTS, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    false
}

/// A terminal whose mnt is small.
fn world() -> World {
    let world = World::with_settings("[download]\nreserve = 0\n");
    let mnt = world.terminal.layout.root().parent().unwrap();
    let aside = mnt.with_extension("aside");
    fs::rename(mnt, &aside).unwrap();
    fs::create_dir(mnt).unwrap();
    let size = format!("size={SIZE}");
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], mnt);
    let all = aside.join(".");
    run("cp", &["-a", all.to_str().unwrap()], mnt);
    world
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let status = Command::new(program).args(arguments).arg(path).status();
    assert!(status.unwrap().success(), "{program}");
}

/// Takes all the room that is left on mnt.
fn fill(world: &World) -> PathBuf {
    let path = world.terminal.layout.root().join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

#[test]
fn a_mnt_that_fills_up_ends_the_job_and_the_next_one_finds_room() {
    if !has_own_mounts("full_mnt::a_mnt_that_fills_up_ends_the_job_and_the_next_one_finds_room") {
        return;
    }
    let mut world = world();
    world.start();
    let package = world.maker.make(&Wish::default());
    let url = world.files.offer("full.dau", package);
    world.files.faults([Fault::Stall(64 << 10)]);
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    wait_for("the first bytes", || {
        let part = world.terminal.layout.part(7).metadata().ok()?;
        (part.len() > 0).then_some(())
    });
    let filler = fill(&world);
    world.files.let_go();
    let details = world.station.result(7).details.unwrap();
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("failed", "storage")
    );
    world.station.acknowledge(7);
    fs::remove_file(filler).unwrap();
    let answer = world.station.order(order(8, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    world.terminal.reboots();
}

#[test]
fn an_order_that_cannot_be_kept_is_not_taken() {
    if !has_own_mounts("full_mnt::an_order_that_cannot_be_kept_is_not_taken") {
        return;
    }
    let mut world = world();
    world.start();
    let filler = fill(&world);
    let package = world.maker.make(&Wish::default());
    let url = world.files.offer("full.dau", package);
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::FAILED), "{}", answer.msg);
    assert!(answer.msg.contains("No space left"), "{}", answer.msg);
    assert!(world.terminal.job().is_none() && world.terminal.runs());
    fs::remove_file(filler).unwrap();
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    world.terminal.reboots();
}

/// What cannot be kept is not reported either: it would be lost with the power.
#[test]
fn a_result_is_reported_once_there_is_room_for_it() {
    if !has_own_mounts("full_mnt::a_result_is_reported_once_there_is_room_for_it") {
        return;
    }
    let mut world = world();
    leave_job(&world, "https://", 0, State::Downloading);
    let filler = fill(&world);
    world.start();
    wait_for("the agent's word of it", || {
        let log = world.terminal.log();
        log.contains("cannot keep the result of job 7: ")
            .then_some(())
    });
    assert_eq!(world.station.count(message_type::JOB_RESULT), 0);
    fs::remove_file(filler).unwrap();
    assert_eq!(world.station.result(7).details.unwrap().word, "storage");
    assert!(world.terminal.runs());
}

/// The folders were never made: only what the factory wrote is there.
#[test]
fn a_mnt_that_takes_no_writes_keeps_no_terminal_from_its_station() {
    if !has_own_mounts("full_mnt::a_mnt_that_takes_no_writes_keeps_no_terminal_from_its_station") {
        return;
    }
    let mut world = world();
    let layout = &world.terminal.layout;
    fs::remove_dir(layout.results()).unwrap();
    let mnt = layout.root().parent().unwrap();
    run("mount", &["-o", "remount,ro"], mnt);
    world.start();
    let url = world.files.offer("full.dau", Vec::new());
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::FAILED), "{}", answer.msg);
    assert!(answer.msg.contains("cannot be kept"), "{}", answer.msg);
    assert!(world.terminal.runs());
}
