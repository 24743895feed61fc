//! Health, and what stops the station from working.

use std::fs;

use attohttpc::Method;
use serde_json::json;

use crate::site::{wait_for, Site};

#[test]
fn health_tells_life_and_readiness_apart() {
    let mut site = Site::start();
    let ready = site.get("readyz");
    assert_eq!(ready["status"], "ok", "{ready}");
    for part in ["broker", "database", "disk"] {
        assert_eq!(ready[part], true, "{part}: {ready}");
    }
    assert!(ready["freeBytes"].as_u64().unwrap() > 0);
    let certificates = ready["certificates"].as_array().unwrap();
    assert!(certificates.len() >= 3);
    assert!(certificates[0]["daysLeft"].as_i64().unwrap() > 14);
    site.kill_broker();
    wait_for("the lost broker to be told of", || {
        (site.get("readyz")["status"] == "degraded").then_some(())
    });
    // A database that somebody else has locked.
    let database = site.database.open();
    database.block_writers();
    wait_for("the locked database to be told of", || {
        let (status, health) = site.rest(Method::GET, "readyz", None);
        assert_eq!(site.get("livez")["status"], "ok");
        (status == 503 && health["database"] == false).then_some(())
    });
    let (status, problem) = site.rest(Method::PUT, "terminals/t5", None);
    assert_eq!((status, &problem["error"]), (503, &json!("database")));
    database.run("ROLLBACK").unwrap();
    assert_eq!(site.rest(Method::PUT, "terminals/t5", None).0, 201);
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left_behind() {
    let mut site = Site::start();
    site.kill_station();
    let data = site.path("station/data");
    // A small disk that only this station sees.
    let shell = format!(
        "exec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=4m small {} && \
         exec \"$@\"' sh \"$@\"",
        data.display()
    );
    site.start_station_in(&shell);
    let large = site.package_file("1.1.0", 8_000_000);
    let (status, problem) = site.upload(&large);
    assert_eq!(
        (status, &problem["error"]),
        (507, &json!("disk-full")),
        "{problem}"
    );
    let data = format!("/proc/{}/root{}", site.station_pid(), data.display());
    for name in ["incoming", "packages"] {
        let left = fs::read_dir(format!("{data}/{name}")).unwrap().count();
        assert_eq!(left, 0, "{name}");
    }
    let (status, health) = site.rest(Method::GET, "readyz", None);
    assert_eq!((status, &health["disk"]), (503, &json!(false)));
    if !site.database.is_sqlite() {
        return;
    }
    // Now not even the database has room.
    let filler = vec![0; 64 << 10];
    let mut file = fs::File::create(format!("{data}/filler")).unwrap();
    while std::io::Write::write_all(&mut file, &filler).is_ok() {}
    let full = (0..1000).find_map(|index| {
        let (status, problem) = site.rest(Method::PUT, &format!("terminals/f{index}"), None);
        (status != 201).then_some((status, problem["error"].clone()))
    });
    assert_eq!(full, Some((507, json!("disk-full"))));
    drop(file);
    fs::remove_file(format!("{data}/filler")).unwrap();
    assert_eq!(site.rest(Method::PUT, "terminals/room", None).0, 201);
}

#[test]
fn two_stations_do_not_share_one_directory() {
    let site = Site::start();
    let config = site.path("station/station.toml");
    let second = site.cli(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(2));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("in use by another dau-station"), "{text}");
}
