//! Stores for tests.

use super::*;

/// Returns a store in a temporary folder, which is removed with the first value.
pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("station.db")).unwrap();
    (dir, store)
}

/// Executes a statement.
pub fn execute(w: &Write<'_>, sql: &str) -> Result<usize> {
    w.execute(sql, params![])
}

/// Returns the number that a statement finds.
pub fn number(r: &Read<'_>, sql: &str) -> Result<i64> {
    r.one(sql, params![], |row| row.get(0))
}

/// Adds a package that exists in the database only; `delta` has the digests of base and target.
pub fn package(w: &Write<'_>, id: i64, kind: &str, size: i64, delta: Option<(&str, &str)>) {
    let (base, target) = delta.unzip();
    w.execute(
        "INSERT INTO packages (id, name, product, version, kind, created, \
         rollback_index, manifest_sha256, file_sha256, file_md5, size, signer, \
         signer_fingerprint, uploaded_by, uploaded_at, base, target) VALUES (?, \
         'x.dau', 'p', '2', ?, '', 0, ?, ?, '', ?, '', '', '', 0, ?, ?) ON CONFLICT DO \
         NOTHING",
        params![
            id,
            kind,
            format!("manifest {id}"),
            id.to_string(),
            size,
            base,
            target
        ],
    )
    .unwrap();
}

#[tokio::test]
async fn what_failed_leaves_nothing_behind() {
    let (_dir, store) = store();
    let failed: Result<()> = store
        .write(|w| {
            execute(
                w,
                "INSERT INTO terminals (id, registered_at) VALUES ('t', 0)",
            )?;
            Err(Error::new(Cause::Other, "failed"))
        })
        .await;
    assert!(failed.is_err());
    let count = store
        .read(|r| number(r, "SELECT count(*) FROM terminals"))
        .await;
    assert_eq!(count.unwrap(), 0);
}
