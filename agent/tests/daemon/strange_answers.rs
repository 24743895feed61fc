//! Downloads where something answers that is not, or not yet, the station's word.

use std::fs;

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_protocol::code;

/// A package is offered under this ETag and ordered as job 7.
fn begin(world: &mut World, package: &[u8], etag: &str, faults: impl IntoIterator<Item = Fault>) {
    let url = world.files.offer_as("full.dau", package.to_vec(), etag);
    world.files.faults(faults);
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
}

fn page(content_type: &str) -> Fault {
    let page = "<html><form>Welcome to GridNet: please log in</form></html>\n".repeat(100);
    let length = page.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    Fault::Raw((head + &page).into())
}

fn compressed() -> Fault {
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2000\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    answer.extend([0x1f, 0x8b, 8, 0]);
    answer.resize(head.len() + 2000, 0);
    Fault::Raw(answer)
}

#[test]
fn interim_answers_are_passed_over() {
    let mut world = World::new();
    world.start();
    let package = world.maker.make(&Wish::default());
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";
    begin(
        &mut world,
        &package,
        "\"a\"",
        [Fault::Before(interim.into())],
    );
    world.terminal.reboots();
    assert_eq!(world.files.requests().len(), 1);
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn what_answers_in_the_stations_place_costs_neither_the_job_nor_a_byte() {
    let mut world = World::new();
    world.start();
    let package = world.maker.make(&Wish::default());
    let faults = [
        Fault::Status(404, None),
        page("text/html; charset=utf-8"),
        Fault::Truncate(400_000),
        page("text/html"),
        page("application/octet-stream"),
        compressed(),
        Fault::Status(404, None),
        Fault::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ];
    begin(&mut world, &package, "\"a\"", faults);
    world.terminal.reboots();
    assert_eq!(world.files.sent(), package.len());
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn a_login_page_that_never_goes_away_ends_the_job_over_restarts_too() {
    let mut world = World::with_settings("[download]\nattempts = 6\n");
    world.start();
    let package = world.maker.make(&Wish::default());
    let mut faults = vec![page("text/html"); 3];
    faults.push(Fault::Stall(0));
    begin(&mut world, &package, "\"a\"", faults);
    wait_for("the stall", || world.files.is_stalled().then_some(()));
    world.terminal.kill();
    world.files.let_go();
    world.files.faults(vec![page("text/html"); 100]);
    world.terminal.start();
    let report = world.station.result(7);
    assert_eq!(report.details.unwrap().word, "not-a-package");
    assert!(report.msg.contains("HTML page"), "{}", report.msg);
    assert_eq!(world.files.requests().len(), 7);
}

#[test]
fn a_package_that_changed_without_an_etag_is_fetched_anew_once() {
    let mut world = World::new();
    world.start();
    let package = world.maker.make(&Wish::default());
    let mut other = package.clone();
    let middle = 200_000;
    other[middle] ^= 1;
    begin(&mut world, &other, "", [Fault::Stall(400_000)]);
    wait_for("the stall", || world.files.is_stalled().then_some(()));
    world.files.offer_as("full.dau", package.clone(), "");
    world.files.let_go();
    world.terminal.reboots();
    assert_eq!(world.files.sent(), 2 * package.len());
    assert!(fs::read(world.terminal.layout.candidate()).unwrap() == package);
}

#[test]
fn a_package_that_is_damaged_at_the_station_is_fetched_anew_only_once() {
    let mut world = World::new();
    world.start();
    let mut package = world.maker.make(&Wish::default());
    let middle = package.len() / 2;
    package[middle] ^= 1;
    begin(&mut world, &package, "", [Fault::Truncate(400_000)]);
    let report = world.station.result(7);
    assert_eq!(report.details.unwrap().word, "md5-mismatch");
    assert_eq!(world.files.requests().len(), 3);
}
