//! Stores for tests.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// The URL of a server of PostgreSQL (`ci/postgresql`): tests that need a database make one there.
/// Without it, they take SQLite.
const SERVER: &str = "DAU_TEST_DATABASE";

/// Returns a store in a temporary folder, which is removed with the first value, or in a new schema
/// of the server.
pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let opened = std::thread::spawn(move || Store::open(place).unwrap());
    (dir, opened.join().unwrap())
}

/// Returns the place of a new database, or of a new schema of the server, which is one as well.
pub fn place(dir: &std::path::Path) -> Place {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var(SERVER) else {
        return Place::File(dir.join("station.db"));
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("unit_{}_{count}", std::process::id());
    let server = |url| Place::Server(Arc::new(crate::config::Database { url, ca: None }));
    let made = std::thread::spawn({
        let (postgres, sql) = (server(url.clone()), format!("CREATE SCHEMA {name}"));
        move || postgres.open(Access::Write).unwrap().batch(&sql).unwrap()
    });
    made.join().unwrap();
    server(format!("{url}&options=-csearch_path%3D{name}"))
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

/// Orders package `package` for a terminal, and returns the job of it that has not ended.
pub fn order(
    w: &Write<'_>,
    now: i64,
    order: &orders::NewOrder,
    package: i64,
    terminal: &str,
) -> i64 {
    terminals::register(w, now, terminal).unwrap();
    let package = packages::get(w, package).unwrap().unwrap();
    let named = [terminal.to_owned()];
    let id = orders::place(w, now, order, &package, Some(&named)).unwrap();
    while orders::work_on(w, now, id).unwrap() {}
    let sql = "SELECT coalesce(max(j.id), max(s.job)) FROM orders o \
        LEFT JOIN jobs j ON j.order_id = o.id LEFT JOIN order_skipped s ON s.order_id = o.id \
        WHERE o.id = ?";
    w.one(sql, params![id], |row| row.get(0)).unwrap()
}

/// Checks that the counters of orders are the numbers of their jobs.
pub fn check_counts(r: &Read<'_>) {
    let counted =
        "SELECT order_id, word, number FROM order_counts WHERE what = 'job' AND number != 0 \
        ORDER BY order_id, word";
    let real = "SELECT order_id, coalesce(outcome, state), count(*) FROM jobs \
        GROUP BY order_id, coalesce(outcome, state) ORDER BY 1, 2";
    let [counted, real] = [counted, real].map(|sql| {
        let row = |row: &sql::Row<'_>| {
            Ok((
                row.get::<i64>(0)?,
                row.get::<String>(1)?,
                row.get::<i64>(2)?,
            ))
        };
        r.all(sql, params![], row).unwrap()
    });
    assert_eq!(counted, real);
}

/// With 100,000 jobs in a state, what reads all of them keeps everybody else waiting. PostgreSQL goes
/// by what is in its tables.
#[tokio::test]
async fn what_is_asked_for_all_the_time_is_found_by_an_index() {
    let (_dir, store) = store();
    let checked = store.read(|r| {
        for (sql, params, index) in [
            (
                jobs::next("?, ?").as_str(),
                params!["t", "u", 0_i64],
                "SEARCH q USING INDEX jobs_terminal_state (terminal=? AND state=?)",
            ),
            (orders::EXPIRED, params![0_i64, 500_i64], "expires_at<?"),
            (orders::BUSY, params![0_i64, 500_i64], "not_before<?"),
        ] {
            if !r.is_shared() {
                let explain = format!("EXPLAIN QUERY PLAN {sql}");
                let plan = r.all(&explain, params, |row| row.get::<String>(3))?;
                assert!(plan.join("; ").contains(index), "{plan:?}");
            }
        }
        Ok::<_, Error>(())
    });
    checked.await.unwrap();
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

/// Nobody waits for the first of these statements, and PostgreSQL would take the commit.
#[tokio::test]
async fn what_failed_unseen_leaves_nothing_behind() {
    let (_dir, store) = store();
    let failed: Result<()> = store
        .write(|w| {
            let add = "INSERT INTO terminals (id, registered_at) VALUES ('t', 0)";
            w.run(add, params![])?;
            w.run(add, params![])
        })
        .await;
    assert_eq!(failed.unwrap_err().cause(), Cause::Data);
    let count = store.write(|w| number(w, "SELECT count(*) FROM terminals"));
    assert_eq!(count.await.unwrap(), 0);
}

#[tokio::test]
async fn rows_of_any_number_are_written_and_found() {
    let (_dir, store) = store();
    let checked = store.write(|w| {
        for count in [0, 1, 7, 8, 64, 200] {
            let ids: Vec<String> = (0..count)
                .map(|index| format!("t{count}-{index}"))
                .collect();
            terminals::register_all(w, 0, &ids)?;
            let found = terminals::candidates_named(w, &ids)?;
            assert_eq!(found.len(), count);
        }
        Ok::<_, Error>(())
    });
    checked.await.unwrap();
}
