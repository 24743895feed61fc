use super::*;
use crate::store::pool::Place;
use crate::store::tests::place;
use crate::store::Store;

/// A database with the first steps only.
fn old(place: &Place, steps: usize) -> Connection {
    let connection = place.open(Access::Write).unwrap();
    let all: &[&str] = match connection {
        Connection::Sqlite(_) => &SQLITE,
        Connection::Postgres(_) => &POSTGRESQL,
    };
    taken(&connection).unwrap();
    for step in &all[..steps] {
        connection.batch(step).unwrap();
    }
    note(&connection, steps).unwrap();
    connection
}

#[test]
fn a_newer_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    drop(Store::open(place.clone()).unwrap());
    note(&place.open(Access::Write).unwrap(), 99).unwrap();
    let error = format!("{:#}", Store::open(place).unwrap_err());
    assert!(error.contains("newer dau-station"), "{error}");
}

/// From each step on, with a terminal, a package and a job in it.
#[test]
fn a_database_of_every_version_is_brought_up_to_date_with_what_is_in_it() {
    for steps in 1..SQLITE.len() {
        let dir = tempfile::tempdir().unwrap();
        let file = Place::File(dir.path().join("station.db"));
        let connection = old(&file, steps);
        connection
            .batch(
                "INSERT INTO terminals (id, product, version, registered_at, link_up) VALUES \
                 ('t', 'p', '1.2', 1, '{\"dau\": {\"recoveryVersion\": \"2.1\"}}'), \
                 ('u', 'p', '', 1, NULL); \
                 INSERT INTO packages (id, name, product, version, kind, created, rollback_index, \
                 manifest_sha256, file_sha256, file_md5, size, signer, signer_fingerprint, \
                 uploaded_by, uploaded_at) \
                 VALUES (7, 'n', 'p', '1', 'full', '', 0, '', 'f', '', 0, '', '', '', 0); \
                 INSERT INTO jobs (id, order_id, terminal, package, type, state, created_by, \
                 created_at, policy, expires_at) \
                 VALUES (11, 10, 't', 7, 'full', 'ordered', 'o', 5, 0, 65); \
                 INSERT INTO events (at, job, kind, detail) VALUES (5, 11, 'created', '{}')",
            )
            .unwrap();
        let outbox = match steps {
            ..=3 => {
                "INSERT INTO outbox (mid, job, terminal, command) VALUES (12, 11, 't', 'order')"
            }
            _ => {
                "INSERT INTO outbox (mid, job, terminal, command, put_at) \
                 VALUES (12, 11, 't', 'order', 5)"
            }
        };
        connection.batch(outbox).unwrap();
        drop(connection);
        drop(Store::open(file.clone()).unwrap());
        let connection = file.open(Access::Write).unwrap();
        let r = Read::new(&connection);
        let (state, expires): (String, i64) = r
            .one(
                "SELECT j.state, j.expires_at FROM jobs j JOIN outbox o ON o.job = j.id",
                params![],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!((state.as_str(), expires), ("ordered", 65), "{steps}");
        let recovery: Vec<String> = r
            .all(
                "SELECT recovery_version FROM terminals ORDER BY id",
                params![],
                |row| row.get(0),
            )
            .unwrap();
        // Since step 11 it is noted as it comes.
        let of_old = if steps < 11 { "2.1" } else { "" };
        assert_eq!(recovery, [of_old, ""], "{steps}");
        let keys: Vec<String> = r
            .all(
                "SELECT version_key FROM terminals ORDER BY id",
                params![],
                |row| row.get(0),
            )
            .unwrap();
        // Since step 13 it is noted as it comes, too.
        let of_old = if steps < 13 {
            terminals::key("1.2")
        } else {
            String::new()
        };
        assert_eq!(keys, [of_old, String::new()], "{steps}");
        let order = "SELECT expires_at, expire FROM orders WHERE id = 10";
        let order: Option<(i64, i64)> = r
            .optional(order, params![], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(order, (steps < 10).then_some((65, 60)), "{steps}");
        let kinds: Vec<String> = r
            .all("SELECT kind FROM events", params![], |row| row.get(0))
            .unwrap();
        assert_eq!(kinds, ["created"], "{steps}");
        let whole: String = r
            .one("PRAGMA integrity_check", params![], |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok", "{steps}");
    }
}

#[test]
fn packages_of_a_recovery_os_are_taken_and_no_other_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    drop(Store::open(place.clone()).unwrap());
    let connection = place.open(Access::Write).unwrap();
    let insert = |kind: &str| {
        connection.batch(&format!(
            "INSERT INTO packages (name, product, version, kind, created, rollback_index, \
             manifest_sha256, file_sha256, file_md5, size, signer, signer_fingerprint, uploaded_by, \
             uploaded_at) VALUES ('n', 'p', '1', '{kind}', '', 0, '', '{kind}', '', 0, '', '', '', 0)"
        ))
    };
    insert("recovery").unwrap();
    assert!(insert("patch").is_err());
}
