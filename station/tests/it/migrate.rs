//! From SQLite to PostgreSQL, and back from backups.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::database::{Connection, Database, Server, SCRIPT};
use crate::postgresql::folder;
use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

/// More rows of a table than go over at once.
const ROWS: i64 = 20_000;

/// What a short story leaves empty.
const REST: &str = "
    INSERT INTO outbox (mid, job, terminal, command, put_at) VALUES (7, 7, 't1', 'cancel', 1);
    INSERT INTO requests VALUES ('operator', 'key', x'00ff', 1, 202, '{}');
    INSERT INTO unknown_results VALUES ('t1', 7);
    INSERT INTO deltas (base, target, state, created_by, created_at) VALUES (1, 1, 'failed', 'o', 1);
    INSERT INTO terminal_attributes VALUES ('t1', 'feeder', 'F1', 'F1');
    INSERT INTO jumps VALUES (1, 1, 5, 'other');
    INSERT INTO stations VALUES ('other', 1, 1);
    INSERT INTO rollouts (id, name, package, type, plan, state, created_by, created_at)
        VALUES (1, 'r', 1, 'kernel', '{}', 'ended', 'o', 1);
    INSERT INTO rollout_pieces VALUES (1, 1, '[]');
    INSERT INTO rollout_waves VALUES (1, 1, 1);
    INSERT INTO rollout_targets (rollout, terminal, state, version, bytes) VALUES (1, 't1', 'success', '1', 1);
    INSERT INTO rollout_counts VALUES (1, 1, 'state', 'success', 1, 0, 1);
    INSERT INTO sessions VALUES (x'01', x'02', 1);
    INSERT INTO terminal_tags VALUES ('t1', 'hold');
    INSERT INTO order_skipped SELECT id, 'nobody', 'unknown', NULL FROM orders LIMIT 1;
    INSERT INTO order_pieces SELECT id, 9, '[]' FROM orders LIMIT 1;
";

/// Runs a command of the station at its place.
fn at(site: &Site, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dau-station"));
    command
        .args(args)
        .arg("--config")
        .arg(site.path("station/station.toml"));
    command
}

fn said(done: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    )
}

/// A station with something in every table, one job that ended, and one at work.
fn story(site: Site) -> (Site, Terminal, i64, i64) {
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let ended = site.order("t1", package);
    terminal.take_order();
    terminal.finish(ended, 200, "success");
    let done = at(
        &site,
        &["archive", "seal", "--before", "2100-01-01 00:00:00"],
    )
    .output()
    .unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let running = site.order("t1", site.package("1.2.0"));
    terminal.take_order();
    site.wait_state(running, "accepted");
    (site, terminal, ended, running)
}

fn verify(site: &Site) -> (bool, String) {
    let done = at(site, &["archive", "verify"]).output().unwrap();
    (done.status.success(), said(&done))
}

/// The running job ends, and what was before is still there.
fn goes_on(site: &Site, mut terminal: Terminal, before: &Value, running: i64) {
    assert_eq!(&site.job(before["id"].as_i64().unwrap()), before);
    terminal.finish(running, 200, "success");
    let found = site.wait_state(running, "finished");
    assert_eq!(found["result"]["outcome"], "success");
    let next = site.package("1.3.0");
    assert_eq!(next, 3, "ids go on");
    let (whole, said) = verify(site);
    assert!(whole, "{said}");
}

fn sqlite(site: &Site) -> rusqlite::Connection {
    rusqlite::Connection::open(site.path("station/data/station.db")).unwrap()
}

fn count(connection: &rusqlite::Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Makes one table large.
fn many_rows(connection: &rusqlite::Connection) {
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
        INSERT INTO order_skipped SELECT (SELECT max(id) FROM orders), 'x' || i, 'unknown', NULL FROM n";
    connection.execute(sql, [ROWS]).unwrap();
}

#[test]
fn a_station_moves_to_postgresql_and_goes_on_though_the_move_was_killed() {
    let (mut site, terminal, ended, running) = story(Site::start());
    let dir = folder();
    let server = Server::start(&dir.path().join("pg"));
    let target = Database::new_at(&server.url);
    let Database::Postgres(url) = &target else {
        unreachable!()
    };
    let migrate = |site: &Site| at(site, &["migrate", "--to", url]);
    let refused = migrate(&site).output().unwrap();
    assert!(
        said(&refused).contains("stop the station first"),
        "{}",
        said(&refused)
    );
    let before = site.job(ended);
    site.kill_station();
    let source = sqlite(&site);
    source.execute_batch(REST).unwrap();
    many_rows(&source);
    let names = "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let names: String = source.query_row(names, [], |row| row.get(0)).unwrap();
    for table in names.split(',') {
        let rows = count(&source, &format!("SELECT count(*) FROM {table}"));
        assert!(
            rows > 0,
            "add a row of {table} to REST: it has to be moved, too"
        );
    }

    // Killed as soon as a part of a large table is there.
    let mut killed = migrate(&site).stderr(Stdio::null()).spawn().unwrap();
    let looker = target.open();
    wait_for("a part to be there", || {
        (number(&looker, "SELECT count(*) FROM order_skipped")? > 0).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let rows = number(&looker, "SELECT count(*) FROM order_skipped");
    assert!(
        rows.is_some_and(|rows| rows < ROWS),
        "{rows:?}: it was too quick"
    );

    let config = site.path("station/station.toml");
    let old = fs::read_to_string(&config).unwrap();
    let mut file = OpenOptions::new().append(true).open(&config).unwrap();
    file.write_all(target.section().as_bytes()).unwrap();
    let (_, refused) = verify(&site);
    assert!(refused.contains("did not come to its end"), "{refused}");
    fs::write(&config, &old).unwrap();

    // The source changed in between.
    source
        .execute("UPDATE terminals SET last_seen = 5", [])
        .unwrap();
    let refused = migrate(&site).output().unwrap();
    assert!(
        said(&refused).contains("has changed since"),
        "{}",
        said(&refused)
    );
    looker.run("DROP TABLE migrating").unwrap();
    let refused = migrate(&site).output().unwrap();
    assert!(
        said(&refused).contains("give an empty database"),
        "{}",
        said(&refused)
    );

    let target = Database::new_at(&server.url);
    let Database::Postgres(url) = &target else {
        unreachable!()
    };
    let migrate = |site: &Site| at(site, &["migrate", "--to", url]);
    let looker = target.open();
    let mut killed = migrate(&site).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a part to be there", || {
        (number(&looker, "SELECT count(*) FROM order_skipped")? > 0).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let untouched = digest(&site);
    let done = migrate(&site).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("[database]"), "{}", said(&done));
    assert_eq!(digest(&site), untouched);
    fs::write(&config, format!("{old}{}", target.section())).unwrap();
    site.start_station();
    goes_on(&site, terminal, &before, running);
}

fn digest(site: &Site) -> [u8; 32] {
    openssl::sha::sha256(&fs::read(site.path("station/data/station.db")).unwrap())
}

fn number(connection: &Connection, sql: &str) -> Option<i64> {
    let Connection::Postgres(runtime, client) = connection else {
        unreachable!()
    };
    let row = runtime.block_on(client.query_one(sql, &[])).ok()?;
    Some(row.get(0))
}

/// Runs a program with what comes after it; it must do.
fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}", said(&done));
}

/// As docs/station.md says, while the station runs; and the machine is lost after it.
#[test]
fn a_backup_of_sqlite_is_a_station_again() {
    let (mut site, terminal, ended, running) = story(Site::start());
    let before = site.job(ended);
    let (data, backup) = (site.path("station/data"), site.path("backup"));
    fs::create_dir(&backup).unwrap();
    let copy = format!(".backup {}/station.db", backup.display());
    run(
        "sqlite3",
        &[&format!("{}/station.db", data.display()), &copy],
    );
    copy_folders(&data, &backup);
    site.kill_station();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    site.start_station();
    goes_on(&site, terminal, &before, running);
}

/// As docs/station.md says, while the station runs; and the database is lost after it.
#[test]
fn a_backup_of_postgresql_is_a_station_again() {
    let dir = folder();
    let server = Server::start(&dir.path().join("pg"));
    let url = server.url.replace("/postgres?", "/dau?");
    let tool = |program: &str, args: &[&str]| {
        let args = [&["tool", program][..], args].concat();
        run(SCRIPT, &args);
    };
    tool(
        "psql",
        &["--quiet", "--command=CREATE DATABASE dau", &server.url],
    );
    let (mut site, terminal, ended, running) =
        story(Site::start_on(Database::Postgres(url.clone())));
    let before = site.job(ended);
    let dump = dir.path().join("pg/dump");
    let file = format!("--file={}", dump.display());
    tool(
        "pg_dump",
        &["--format=custom", &file, &format!("--dbname={url}")],
    );
    site.kill_station();
    tool(
        "psql",
        &[
            "--quiet",
            "--command=DROP DATABASE dau WITH (FORCE)",
            &server.url,
        ],
    );
    tool(
        "psql",
        &["--quiet", "--command=CREATE DATABASE dau", &server.url],
    );
    tool(
        "pg_restore",
        &[&format!("--dbname={url}"), dump.to_str().unwrap()],
    );
    site.start_station();
    goes_on(&site, terminal, &before, running);
}

fn copy_folders(from: &Path, to: &Path) {
    for name in ["packages", "record"] {
        let source = from.join(name);
        run(
            "cp",
            &["-a", source.to_str().unwrap(), to.to_str().unwrap()],
        );
    }
}
