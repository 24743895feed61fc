//! Downloads over a link and a server that do not behave.

use std::fs;

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_protocol::{code, message_type};
use serde_json::json;

/// A package is offered and ordered as job 7.
fn begin(world: &mut World, faults: impl IntoIterator<Item = Fault>) -> Vec<u8> {
    let package = world.maker.make(&Wish::default());
    let url = world.files.offer("full.dau", package.clone());
    world.files.faults(faults);
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
    package
}

fn wait_for_bytes(world: &World, bytes: u64) {
    wait_for(&format!("{bytes} bytes on disk"), || {
        let length = world.terminal.layout.part(7).metadata().ok()?.len();
        (length == bytes).then_some(())
    });
}

fn ranges(world: &World) -> Vec<Option<u64>> {
    let from = |range: String| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    };
    let requests = world.files.requests().into_iter();
    requests
        .map(|request| request.range.and_then(from))
        .collect()
}

#[test]
fn no_byte_is_fetched_twice_whatever_interrupts_the_download() {
    let mut world = World::new();
    world.start();
    let package = begin(
        &mut world,
        [
            Fault::Truncate(400_000),
            Fault::Status(503, Some(1)),
            Fault::Status(500, None),
            Fault::Stall(600_000),
        ],
    );
    wait_for_bytes(&world, 1_000_000);
    // As when power goes, then comes back.
    world.terminal.kill();
    world.terminal.start();
    world.terminal.reboots();
    assert_eq!(world.files.sent(), package.len());
    let at = [
        None,
        Some(400_000),
        Some(400_000),
        Some(400_000),
        Some(1_000_000),
    ];
    assert_eq!(ranges(&world), at);
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn a_server_that_ignores_ranges_is_served_from_the_start() {
    let mut world = World::new();
    world.start();
    let package = begin(&mut world, [Fault::Truncate(400_000), Fault::IgnoreRange]);
    world.terminal.reboots();
    assert_eq!(world.files.sent(), package.len() + 400_000);
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn a_package_that_changes_on_the_server_is_not_mixed_with_the_old_one() {
    let mut world = World::new();
    world.start();
    begin(&mut world, [Fault::Stall(400_000)]);
    wait_for_bytes(&world, 400_000);
    let mut other = world.maker.make(&Wish {
        rollback_index: 600,
        ..Wish::default()
    });
    other.truncate(other.len() / 512 * 512);
    world
        .files
        .offer_as("full.dau", other.clone(), "\"another\"");
    world.files.let_go();
    world.terminal.reboots();
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == other);
}

#[test]
fn bytes_that_our_own_storage_damaged_are_fetched_again_once() {
    let mut world = World::new();
    world.start();
    let package = begin(&mut world, [Fault::Stall(400_000)]);
    wait_for_bytes(&world, 400_000);
    world.terminal.kill();
    let part = world.terminal.layout.part(7);
    let mut damaged = fs::read(&part).unwrap();
    damaged[300_000] ^= 1;
    fs::write(&part, damaged).unwrap();
    world.terminal.start();
    world.terminal.reboots();
    assert_eq!(ranges(&world), [None, Some(400_000), None]);
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn a_token_that_is_over_is_replaced_by_the_order_that_comes_again() {
    let mut world = World::new();
    world.start();
    world.files.require("token-2");
    let package = begin(&mut world, []);
    let asks = world
        .station
        .expect("a request for the order", |_, message| {
            message.message_type == message_type::JOB_PROGRESS
                && message.param["orderAgain"] == json!(true)
        });
    assert_eq!(asks.param["jobId"], json!(7));
    let url = world.files.offer("full.dau", package);
    let mut again = order(7, 3, "1.1.0", &url);
    again["file"]["token"] = json!("token-2");
    assert_eq!(world.station.order(again).code, Some(code::ACCEPTED));
    world.terminal.reboots();
}

#[test]
fn a_token_that_is_never_renewed_ends_the_job() {
    let mut world = World::with_settings("[download]\ntoken_wait = 0.5\n");
    world.start();
    world.files.require("token-2");
    begin(&mut world, []);
    assert_eq!(
        world.station.result(7).details.unwrap().word,
        "unauthorized"
    );
}

#[test]
fn a_job_is_called_off_until_the_point_of_no_return() {
    let mut world = World::with_settings("[download]\nread_timeout = 1\n");
    world.start();
    begin(&mut world, [Fault::Stall(400_000)]);
    wait_for_bytes(&world, 400_000);
    let status = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 7}));
    assert_eq!(status.param["state"], json!(2));
    let answer = world
        .station
        .ask(message_type::JOB_CANCEL, json!({"jobId": 7}));
    assert_eq!(answer.code, Some(code::OK));
    let report = world.station.result(7);
    assert_eq!(report.details.unwrap().outcome, "cancelled");
    world.files.let_go();
    // The result is not taken note of yet, and does not stand in the way of the next order.
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    let answer = world.station.order(order(8, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
    world.terminal.reboots();
    world.station.acknowledge(7);
    assert!(world.terminal.boot().upgrade);
}

#[test]
fn a_job_that_waits_for_its_start_is_called_off_at_once_and_starts_late_after_a_restart() {
    let mut world = World::new();
    world.start();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    for id in [1, 2] {
        let mut param = order(id, 3, "1.1.0", &url);
        param["policy"] = json!(1000);
        assert_eq!(world.station.order(param).code, Some(code::ACCEPTED));
        world.terminal.kill();
        world.start();
        let status = world
            .station
            .ask(message_type::STATUS_QUERY, json!({"jobId": id}));
        assert_eq!(status.param["state"], json!(1));
        if id == 1 {
            world
                .station
                .ask(message_type::JOB_CANCEL, json!({"jobId": 1}));
            assert_eq!(world.station.result(1).code, code::TIMEOUT);
        }
    }
    assert!(world.files.requests().is_empty());
    world.terminal.kill();
    world.terminal.change_job(|job| job.order.start_at = 0);
    world.terminal.start();
    world.terminal.reboots();
}

#[test]
fn a_rate_limit_holds() {
    let mut world = World::with_settings("[download]\nrate_limit = 1000000\n");
    world.start();
    let package = begin(&mut world, []);
    world.terminal.reboots();
    let job = world.terminal.job().unwrap();
    let download = &job.stages[0];
    assert_eq!(
        (download.name.as_str(), download.bytes),
        ("download", Some(package.len() as u64))
    );
    // Not a measurement of speed: the limit is a promise, and less time would break it.
    assert!(
        download.seconds >= package.len() as f64 / 1e6 - 1.1,
        "{}",
        download.seconds
    );
}
