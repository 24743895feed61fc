use super::*;
use crate::store::Store;

#[test]
fn a_newer_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("station.db");
    drop(Store::open(&path).unwrap());
    Sqlite::open_writer(&path).unwrap().set_version(99).unwrap();
    let error = format!("{:#}", Store::open(&path).unwrap_err());
    assert!(error.contains("newer dau-station"), "{error}");
}

#[test]
fn a_database_of_before_recovery_packages_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("station.db");
    let old = Sqlite::open_writer(&path).unwrap();
    old.batch(SQLITE[0]).unwrap();
    old.set_version(1).unwrap();
    let insert = |sqlite: &Sqlite, kind: &str, digest: &str| {
        sqlite.batch(&format!(
            "INSERT INTO packages (name, product, version, kind, created, rollback_index, \
             manifest_sha256, file_sha256, file_md5, size, signer, signer_fingerprint, \
             uploaded_by, uploaded_at) VALUES ('n', 'p', '1', '{kind}', '', 0, '', \
             '{digest}', '', 0, '', '', '', 0)"
        ))
    };
    insert(&old, "full", "1").unwrap();
    assert!(insert(&old, "recovery", "2").is_err());
    drop(old);
    drop(Store::open(&path).unwrap());
    let new = rusqlite::Connection::open(&path).unwrap();
    let whole: String = new
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
    let new = Sqlite::open_writer(&path).unwrap();
    insert(&new, "recovery", "2").unwrap();
    assert!(insert(&new, "patch", "3").is_err());
}
