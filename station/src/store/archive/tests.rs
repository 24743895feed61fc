use std::process::Command;

use super::*;
use crate::store::events::{self, kind, Subject};
use crate::store::tests::{self, store};
use crate::store::{locks, Error};

const DAY: i64 = 86_400;
/// 2027-01-15.
const NOW: i64 = 1_800_000_000;

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

/// Seals the months before December 2026.
async fn sealed(store: &Store, folder: &Path) -> u32 {
    let config = Record {
        keep_days: 45,
        ..Record::default()
    };
    let limits = Limits::of(&config, NOW);
    seal(store, folder.to_owned(), limits, None).await.unwrap()
}

async fn problems(store: &Store, folder: &Path) -> Vec<String> {
    let report = verify::verify(store, folder.to_owned(), Vec::new()).await;
    report.unwrap().problems
}

/// Runs a statement that only somebody with rights in the database can.
async fn tamper(store: &Store, sql: &'static str) {
    let done = store.write(move |w| {
        for trigger in [
            "events_stay",
            "events_last",
            "archives_stay",
            "archives_last",
        ] {
            let (table, _) = trigger.split_once('_').unwrap();
            match w.is_shared() {
                true => w.execute(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"), &[])?,
                false => w.execute(&format!("DROP TRIGGER IF EXISTS {trigger}"), &[])?,
            };
        }
        w.execute(sql, params![])
    });
    assert_eq!(done.await.unwrap(), 1, "{sql}");
}

#[test]
fn months_begin_and_end() {
    for (at, begin, end) in [
        ("2026-11-26T12:00:00Z", "2026-11-01", "2026-12-01"),
        ("2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01"),
        ("2028-02-01T00:00:00Z", "2028-02-01", "2028-03-01"),
    ] {
        let at = timestamp::parse(&json!(at)).unwrap();
        assert_eq!(clock::text(month(at)), format!("{begin}T00:00:00Z"));
        assert_eq!(clock::text(next_month(at)), format!("{end}T00:00:00Z"));
    }
}

#[tokio::test]
async fn old_months_go_into_files_that_zstdcat_reads_and_the_rest_stays() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    // From October 8th on.
    assert_eq!(sealed(&store, &folder).await, 2);
    assert_eq!(sealed(&store, &folder).await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM events").await, 46);
    let path = folder.join("000001.jsonl.zst");
    let read = Command::new("zstdcat").arg(&path).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8(read.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 24);
    assert_eq!(
        (&lines[8]["job"], &lines[8]["detail"]["day"]),
        (&json!(17), &json!(8))
    );
    assert_eq!(lines[0]["at"], clock::text(NOW - 99 * DAY));
    // Its digest stays in the database.
    let archives = store.read(all).await.unwrap();
    assert_eq!(
        archives[0].sha256,
        dau_model::hex::encode(openssl::sha::sha256(&fs::read(&path).unwrap()))
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
    let all = events::whole(&store, folder, 17).await.unwrap();
    let days: Vec<i64> = all
        .iter()
        .map(|event| event.detail["day"].as_i64().unwrap())
        .collect();
    assert_eq!(days, (0..100).collect::<Vec<_>>());
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
    let limits = Limits {
        before: 0,
        keep_events: 10_000,
    };
    let folder = dir.path().join("record");
    assert_eq!(seal(&store, folder, limits, None).await.unwrap(), 1);
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
        let written = store.read(move |c| file::write(c, &folder, 1, 5));
        written.await.unwrap()
    };
    store.write(move |w| written.note(w)).await.unwrap();
    assert_eq!(problems(&store, &folder).await, Vec::<String>::new());
    let all = events::whole(&store, folder.clone(), 17).await.unwrap();
    assert_eq!(all.len(), 100);
    assert_eq!(sealed(&store, &folder).await, 2);
    assert_eq!(number(&store, "SELECT min(id) FROM events").await, 55);
    assert_eq!(problems(&store, &folder).await, Vec::<String>::new());
    let zstd = Command::new("zstdcat")
        .args((1..=3).map(|number| folder.join(file_name(number))))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(zstd.stdout).unwrap().lines().count(), 54);
}

#[tokio::test]
async fn a_full_disk_leaves_everything_in_the_database() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    fs::write(&folder, b"no folder").unwrap();
    let limits = Limits::before(NOW);
    assert!(seal(&store, folder, limits, None).await.is_err());
    assert_eq!(number(&store, "SELECT count(*) FROM events").await, 100);
}

/// What somebody with all rights in the database may have done.
#[tokio::test]
async fn attack_on_the_record_is_seen() {
    for (sql, told) in [
        (
            "UPDATE events SET detail = '{\"day\":0}' WHERE id = 70",
            "database: event 70 does not fit",
        ),
        ("DELETE FROM events WHERE id = 70", "event 70 is missing"),
        (
            "UPDATE events SET job = 18 WHERE id = 100",
            "database: event 100 does not fit",
        ),
        (
            "UPDATE events SET hash = NULL WHERE id = 70",
            "event 70 has no hash",
        ),
        (
            "DELETE FROM archives WHERE number = 1",
            "000002.jsonl.zst: there is none with number 1",
        ),
        (
            "DELETE FROM archives WHERE number = 2",
            "event 25 is missing",
        ),
        (
            "UPDATE archives SET sha256 = 'x' WHERE number = 2",
            "000002.jsonl.zst: it is not the file",
        ),
    ] {
        let (dir, store) = store();
        filled(&store, 100).await;
        let folder = dir.path().join("record");
        sealed(&store, &folder).await;
        assert_eq!(problems(&store, &folder).await, Vec::<String>::new());
        tamper(&store, sql).await;
        let problems = problems(&store, &folder).await;
        assert!(
            problems.iter().any(|problem| problem.contains(told)),
            "{sql}: {problems:?}"
        );
    }
}

#[tokio::test]
async fn attack_on_the_files_is_seen_and_so_is_one_that_signs_with_another_key() {
    let (dir, store) = store();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    let [key, other] = [(); 2].map(|()| {
        let path = dir.path().join("key");
        fs::write(&path, Key::generate().unwrap().0).unwrap();
        Key::load(&path).unwrap()
    });
    let limits = Limits::before(NOW);
    let sealed = seal(&store, folder.clone(), limits, Some(&key)).await;
    assert_eq!(sealed.unwrap(), 4);
    let report = |key: &Key| {
        let key = key.public().unwrap();
        verify::verify(&store, folder.clone(), vec![key])
    };
    assert_eq!(report(&key).await.unwrap().problems, Vec::<String>::new());
    assert_eq!(report(&other).await.unwrap().problems.len(), 4);

    let signature = folder.join("000002.jsonl.zst.sig");
    let good = fs::read(&signature).unwrap();
    fs::remove_file(&signature).unwrap();
    let problems = report(&key).await.unwrap().problems;
    assert_eq!(problems, ["000002.jsonl.zst: it is not signed"]);
    fs::write(&signature, good).unwrap();

    // The last event of an archive goes.
    let path = folder.join("000002.jsonl.zst");
    let text = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let shorter = text.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(
        &path,
        zstd::encode_all(format!("{shorter}\n").as_bytes(), 3).unwrap(),
    )
    .unwrap();
    let problems = report(&key).await.unwrap().problems;
    assert_eq!(
        problems,
        ["000002.jsonl.zst: it is not the file that was sealed"]
    );
    fs::remove_file(&path).unwrap();
    let problems = report(&key).await.unwrap().problems;
    assert!(
        problems[0].starts_with("000002.jsonl.zst: No such file"),
        "{problems:?}"
    );
}

/// Before the step that made the chain, events had no hash.
#[tokio::test]
async fn a_record_from_before_the_chain_is_whole_and_the_chain_starts_after_it() {
    let (dir, store) = store();
    let old = store.write(|w| {
        locks::name(w, "record")?;
        let sql = "INSERT INTO events (id, at, kind, detail) VALUES (?, ?, 'state', '{}')";
        w.execute(sql, params![1_i64, NOW - 100 * DAY])?;
        w.execute(sql, params![2_i64, NOW - 99 * DAY])
    });
    old.await.unwrap();
    filled(&store, 3).await;
    let folder = dir.path().join("record");
    let report = verify::verify(&store, folder.clone(), Vec::new())
        .await
        .unwrap();
    assert_eq!((report.problems.len(), report.last), (0, Some(5)));
    assert_eq!(sealed(&store, &folder).await, 1);
    assert_eq!(problems(&store, &folder).await, Vec::<String>::new());
    tamper(&store, "UPDATE events SET hash = NULL WHERE id = 4").await;
    assert_eq!(
        problems(&store, &folder).await,
        ["database: event 4 has no hash"]
    );
}

/// The script, which shares no code with the station.
#[tokio::test]
async fn zstdcat_jq_sha256sum_and_openssl_find_the_same() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/verify-record");
    let (dir, store) = store();
    let old = store.write(|w| {
        let sql = "INSERT INTO events (id, at, kind, detail) VALUES (1, ?, 'state', '{}')";
        w.execute(sql, params![NOW - 100 * DAY])
    });
    old.await.unwrap();
    filled(&store, 100).await;
    let folder = dir.path().join("record");
    let (key, public) = Key::generate().unwrap();
    fs::write(dir.path().join("key"), key).unwrap();
    fs::write(dir.path().join("pub"), public).unwrap();
    let key = Key::load(&dir.path().join("key")).unwrap();
    let limits = Limits::before(NOW);
    seal(&store, folder.clone(), limits, Some(&key))
        .await
        .unwrap();
    let check = || {
        let done = Command::new(script)
            .arg(&folder)
            .arg(dir.path().join("pub"))
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    };
    let (good, said) = check();
    assert!(
        good && said.contains("4 archives with events 1 to 100 are whole"),
        "{said}"
    );
    let last = store.read(all).await.unwrap().pop().unwrap().last_hash;
    assert!(
        said.contains(&dau_model::hex::encode(last.unwrap())),
        "{said}"
    );

    let path = folder.join("000002.jsonl.zst");
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(zstd::decode_all(good.as_slice()).unwrap()).unwrap();
    let write =
        |text: &str| fs::write(&path, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
    write(&text.replace("\"day\":40,", "\"day\":41,"));
    assert!(check().1.contains("its signature is wrong"));
    // Whoever has the key, too.
    for (changed, told) in [
        (
            text.replace("\"day\":40,", "\"day\":41,"),
            "event 42 does not fit its hash",
        ),
        (
            text.lines()
                .skip(1)
                .map(|line| format!("{line}\n"))
                .collect(),
            "event 26 is missing",
        ),
    ] {
        write(&changed);
        let mut archive = store.read(all).await.unwrap().remove(1);
        archive.sha256 = dau_model::hex::encode(openssl::sha::sha256(&fs::read(&path).unwrap()));
        fs::remove_file(folder.join("000002.jsonl.zst.sig")).unwrap();
        key.sign_missing(&folder, &[archive]).unwrap();
        let (good, said) = check();
        assert!(!good && said.contains(told), "{said}");
    }
}
