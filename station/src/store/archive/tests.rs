use std::process::Command;

use dau_model::hex;

use super::*;
use crate::store::events::{self, kind, Subject};
use crate::store::tests::{self, store};
use crate::store::Error;

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

fn limits(keep_days: u64, keep_events: u64) -> Record {
    Record {
        keep_days,
        keep_events,
    }
}

/// Adds this many events, one for each day, the last of them today.
async fn filled(store: &Store, days: i64) {
    let done = store.write(move |w| {
        for day in 0..days {
            let detail = json!({"text": "a \u{1b} and a \" and a \n", "day": day});
            let at = NOW - (days - 1 - day) * DAY;
            events::add(w, at, Subject::job(17), kind::DOWNLOAD, &detail)?;
        }
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    store.read(|r| tests::number(r, sql)).await.unwrap()
}

#[tokio::test]
async fn what_is_old_goes_into_a_file_that_zstdcat_reads_and_the_rest_stays() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    assert_eq!(
        seal(&store, folder.clone(), NOW, limits(90, 1000))
            .await
            .unwrap(),
        1
    );
    assert_eq!(number(&store, "SELECT count(*) FROM events").await, 91);
    assert_eq!(
        seal(&store, folder.clone(), NOW, limits(90, 1000))
            .await
            .unwrap(),
        0
    );
    let path = folder.join("000001.jsonl.zst");
    let read = Command::new("zstdcat").arg(&path).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8(read.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 9);
    assert_eq!(
        (&lines[8]["job"], &lines[8]["detail"]["day"]),
        (&json!(17), &json!(8))
    );
    assert_eq!(lines[0]["at"], clock::text(NOW - 99 * DAY));
    // Its digest stays in the database.
    let digest = store.read(|c| c.one("SELECT sha256 FROM archives", params![], |row| row.get(0)));
    let digest: String = digest.await.unwrap();
    assert_eq!(
        digest,
        hex::encode(openssl::sha::sha256(&fs::read(&path).unwrap()))
    );
    // Events that are in no archive stay, and so do the digests.
    for sql in [
        "DELETE FROM events",
        "DELETE FROM archives",
        "UPDATE archives SET last_event = 1000",
        "UPDATE events SET at = 0",
    ] {
        let done = store.write(move |w| w.execute(sql, params![])).await;
        assert!(done.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn what_is_beyond_the_limit_goes_however_young() {
    let (dir, store) = store();
    let done = store.write(|w| {
        let sql =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000) \
             INSERT INTO events (at, kind, detail) SELECT ?, 'state', '{}' FROM n";
        w.execute(sql, params![NOW])
    });
    done.await.unwrap();
    let folder = dir.path().join("record");
    assert_eq!(
        seal(&store, folder, NOW, limits(90, 10_000)).await.unwrap(),
        1
    );
    assert_eq!(number(&store, "SELECT count(*) FROM events").await, 20_000);
}

/// kill -9 between file and database, and between database and removal.
#[tokio::test]
async fn a_station_that_was_killed_goes_on_and_loses_nothing() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("000001.jsonl.zst"), b"half").unwrap();
    fs::write(folder.join("000001.jsonl.part"), b"half").unwrap();
    let written = {
        let folder = folder.clone();
        let written = store.read(move |c| write(c, &folder, 1, 5));
        written.await.unwrap()
    };
    store.write(move |w| written.note(w, NOW)).await.unwrap();
    assert_eq!(
        seal(&store, folder.clone(), NOW, limits(90, 1000))
            .await
            .unwrap(),
        1
    );
    assert_eq!(number(&store, "SELECT min(id) FROM events").await, 10);
    assert_eq!(
        number(&store, "SELECT max(last_event) FROM archives").await,
        9
    );
    let both = Command::new("zstdcat")
        .args([
            folder.join("000001.jsonl.zst"),
            folder.join("000002.jsonl.zst"),
        ])
        .output()
        .unwrap();
    let ids = String::from_utf8(both.stdout).unwrap();
    assert_eq!(ids.lines().count(), 9);
}

#[tokio::test]
async fn a_full_disk_leaves_everything_in_the_database() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    fs::write(&folder, b"no folder").unwrap();
    assert!(seal(&store, folder, NOW, limits(90, 1000)).await.is_err());
    assert_eq!(number(&store, "SELECT count(*) FROM events").await, 100);
}
