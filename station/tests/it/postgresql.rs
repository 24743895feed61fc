//! The station on a server of PostgreSQL that dies, or whose disk is full. Each test has a server of
//! its own; ci/postgresql runs the other tests on one that lives.

use attohttpc::Method;
use serde_json::json;

use crate::crash::jobs_go_on;
use crate::database::{Database, Server};
use crate::site::{wait_for, Site};

/// A folder that PostgreSQL's user may enter.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

#[test]
fn a_lost_database_is_told_of_and_what_came_meanwhile_is_stored_when_it_is_back() {
    let dir = folder();
    let server = Server::start(&dir.path().join("pg"));
    let site = Site::start_on(Database::new_at(&server.url));
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    terminal.take_order();
    site.wait_state(job, "accepted");
    server.kill();
    let (status, problem) = site.rest(Method::PUT, "terminals/t5", None);
    assert_eq!(
        (status, &problem["error"]),
        (503, &json!("database")),
        "{problem}"
    );
    wait_for("readiness to tell of it", || {
        let (status, health) = site.rest(Method::GET, "readyz", None);
        (status == 503 && health["database"] == false).then_some(())
    });
    assert_eq!(site.get("livez")["status"], "ok");
    terminal.report(job, 200, "success");
    server.start_again();
    let found = site.wait_state(job, "finished");
    assert_eq!(found["result"]["outcome"], "success");
    assert_eq!(site.rest(Method::PUT, "terminals/t5", None).0, 201);
}

#[test]
fn jobs_go_on_while_the_database_is_killed_too() {
    let dir = folder();
    let place = dir.path().join("pg");
    let server = Server::start(&place);
    let site = Site::start_on(Database::new_at(&server.url));
    jobs_go_on(site, |_| {
        server.kill();
        server.start_again();
    });
}

#[test]
fn a_full_disk_of_the_database_is_named_and_the_station_goes_on_with_room() {
    let dir = folder();
    let place = dir.path().join("pg");
    let mut server = Server::start_on_small_disk(&place, 96 << 20);
    let site = Site::start_on(Database::new_at(&server.url));
    assert_eq!(site.rest(Method::PUT, "terminals/before", None).0, 201);
    let filler = server.fill();
    let full = (0..3000).find_map(|index| {
        let (status, problem) = site.rest(Method::PUT, &format!("terminals/f{index}"), None);
        (status != 201).then_some((status, problem["error"].clone()))
    });
    // PostgreSQL says so where a table needs room, and goes down where its log does.
    let told = [(507, json!("disk-full")), (503, json!("database"))];
    assert!(
        full.as_ref().is_some_and(|full| told.contains(full)),
        "{full:?}"
    );
    std::fs::remove_file(filler).unwrap();
    server.ensure_started();
    wait_for("the station to store again", || {
        let (status, _) = site.rest(Method::PUT, "terminals/room", None);
        (status == 201).then_some(())
    });
    assert_eq!(site.rest(Method::GET, "terminals/before", None).0, 200);
}
