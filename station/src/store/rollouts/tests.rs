use std::collections::BTreeMap;

use dau_model::{Outcome, State, Word};
use serde_json::json;

use super::*;
use crate::job::Ending;
use crate::rollout::approval::Demands;
use crate::store::{jobs, orders, tests, Store};

const NOW: i64 = 1_800_000_000;
const FREE: Demands = Demands {
    above: None,
    without_windows: false,
};

/// Plans a rollout of package 1 for terminals `t0`, `t1`, …, which are linked and run version 1; four
/// of them are on each ring.
fn planned(w: &Write<'_>, count: usize, plan: serde_json::Value) -> i64 {
    tests::package(w, 1, "full", 1000, None);
    let named: Vec<String> = (0..count).map(|index| format!("t{index}")).collect();
    for (index, terminal) in named.iter().enumerate() {
        w.execute(
            "INSERT INTO terminals (id, product, version, registered_at, last_seen, link) \
             VALUES (?, 'p', '1', 1, ?, 'up') ON CONFLICT DO NOTHING",
            params![terminal, NOW],
        )
        .unwrap();
        for (name, value) in [("ring", index / 4), ("position", index % 4)] {
            w.execute(
                "INSERT INTO terminal_attributes (terminal, name, value, sort_key) VALUES (?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
                params![terminal, name, value.to_string(), value.to_string()],
            )
            .unwrap();
        }
    }
    let new = NewRollout {
        by: "alice".to_owned(),
        name: "test".to_owned(),
        package: 1,
        upgrade_type: "full".to_owned(),
        budget: None,
        plan: serde_json::from_value(plan).unwrap(),
    };
    let id = add(w, NOW, &new, &named).unwrap();
    work(w, NOW, id);
    id
}

fn work(w: &Write<'_>, now: i64, id: i64) {
    // Counters are written at the end of a transaction.
    loop {
        let more = work_on(w, now, id).unwrap();
        w.finish().unwrap();
        if !more {
            break;
        }
    }
    let orders: Vec<i64> = w
        .all("SELECT id FROM orders", params![], |row| row.get(0))
        .unwrap();
    for order in orders {
        while orders::work_on(w, now, order).unwrap() {}
    }
    w.finish().unwrap();
}

fn does(w: &Write<'_>, id: i64, by: &str, what: Act) {
    act(w, NOW, id, by, what, FREE).unwrap().unwrap();
    w.finish().unwrap();
}

/// Returns the terminals under way, and their jobs.
fn active(r: &Read<'_>, id: i64) -> BTreeMap<String, i64> {
    let filter = Filter {
        state: Some("active".to_owned()),
        limit: 1000,
        ..Filter::default()
    };
    let found = targets(r, id, &filter).unwrap().into_iter();
    found
        .map(|target| (target.terminal, target.job.unwrap()))
        .collect()
}

fn end(w: &Write<'_>, job: i64, outcome: Outcome, word: Word) {
    let job = jobs::known(w, job).unwrap().unwrap();
    let ending = match outcome {
        Outcome::Expired => Ending::expired(),
        outcome => Ending::by_station(outcome, 500, word, ""),
    };
    jobs::finish(w, NOW, &job, &ending, true).unwrap();
    w.finish().unwrap();
}

fn succeed(w: &Write<'_>, job: i64) {
    end(w, job, Outcome::Success, Word::Success);
}

fn arm(w: &Write<'_>, job: i64) {
    tests::execute(w, "UPDATE jobs SET ordered_at = 1").unwrap();
    let job = jobs::known(w, job).unwrap().unwrap();
    jobs::enter(w, NOW, &job, State::Armed).unwrap();
    w.finish().unwrap();
}

/// Checks that the counters are the numbers of terminals.
fn check_counts(r: &Read<'_>) {
    let counted = "SELECT rollout, wave, word, number FROM rollout_counts WHERE what = 'state' \
        AND number != 0 ORDER BY 1, 2, 3";
    let real = "SELECT rollout, wave, state, count(*) FROM rollout_targets GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
    let [counted, real] = [counted, real].map(|sql| {
        let row = |row: &sql::Row<'_>| {
            Ok((
                row.get::<i64>(0)?,
                row.get::<i64>(1)?,
                row.get::<String>(2)?,
                row.get::<i64>(3)?,
            ))
        };
        r.all(sql, params![], row).unwrap()
    });
    assert_eq!(counted, real);
}

async fn on(store: &Store, test: impl FnOnce(&Write<'_>) + Send + 'static) {
    let done = store.write(move |w| {
        test(w);
        check_counts(w);
        tests::check_counts(w);
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}

fn state(r: &Read<'_>, id: i64) -> (String, Option<String>) {
    let rollout = get(r, id).unwrap().unwrap();
    (rollout.state, rollout.why)
}

fn of(state: &str, why: &str) -> (String, Option<String>) {
    (state.to_owned(), Some(why.to_owned()))
}

#[tokio::test]
async fn terminals_of_a_ring_go_one_after_the_other_and_the_rollout_ends() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = planned(w, 8, json!({"waves": [{"take": {"count": 1}}, {}]}));
        assert_eq!(get(w, id).unwrap().unwrap().state, "draft");
        does(w, id, "alice", Act::Start);
        work(w, NOW, id);
        let first = active(w, id);
        assert_eq!(first.keys().collect::<Vec<_>>(), ["t0"]);
        first.values().for_each(|job| succeed(w, *job));
        for _ in 0..4 {
            work(w, NOW + 1000, id);
            let some = active(w, id);
            let rings: Vec<usize> = some
                .keys()
                .map(|id| id[1..].parse::<usize>().unwrap() / 4)
                .collect();
            assert!(rings == [0, 1] || rings == [1], "{some:?}");
            some.values().for_each(|job| succeed(w, *job));
        }
        work(w, NOW + 1000, id);
        assert_eq!(state(w, id), of("ended", "done"));
        let counts = get(w, id).unwrap().unwrap().counts;
        assert_eq!(counts, [("success".to_owned(), 8)].into());
        assert_eq!(tests::number(w, "SELECT count(*) FROM orders").unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_preview_shows_the_waves_and_why_terminals_are_left_out() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        planned(w, 10, json!({"waves": [{}]}));
        tests::execute(w, "UPDATE terminals SET version = '2' WHERE id = 't1'").unwrap();
        tests::execute(w, "UPDATE terminals SET product = 'q' WHERE id = 't2'").unwrap();
        tests::execute(w, "UPDATE terminals SET rollback_index = 9 WHERE id = 't3'").unwrap();
        tests::execute(w, "UPDATE terminals SET last_seen = 1 WHERE id = 't4'").unwrap();
        let id = planned(
            w,
            10,
            json!({"waves": [{"take": {"count": 2}}, {"take": {"percent": 30}}]}),
        );
        let rollout = get(w, id).unwrap().unwrap();
        let left = [
            ("already-there", 1),
            ("no-wave", 2),
            ("product-mismatch", 1),
            ("rollback", 1),
        ];
        let left = left.map(|(word, count)| (word.to_owned(), count));
        assert_eq!(rollout.left_out, left.into());
        let waves: Vec<u64> = rollout
            .waves
            .iter()
            .map(|wave| wave.counts["waiting"])
            .collect();
        assert_eq!(waves, [2, 3]);
        assert_eq!(rollout.waves[0].bytes, 2000);
        assert_eq!(rollout.waves[0].risks, [("silent".to_owned(), 1)].into());
        assert_eq!(estimate(w, &rollout).unwrap().bytes, 5000);
    })
    .await;
}

#[tokio::test]
async fn failures_stop_a_rollout_cancel_what_is_not_armed_and_a_retry_ends_it() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let plan = json!({"waves": [{"failure": {"words": ["rolled-back"]}}], "accept": 600});
        let id = planned(w, 12, plan);
        does(w, id, "alice", Act::Start);
        work(w, NOW, id);
        let jobs: Vec<i64> = active(w, id).into_values().collect();
        assert_eq!(jobs.len(), 3);
        arm(w, jobs[1]);
        end(w, jobs[0], Outcome::RolledBack, Word::RolledBack);
        work(w, NOW, id);
        assert_eq!(state(w, id), of("stopped", "word"));
        let rollout = get(w, id).unwrap().unwrap();
        assert_eq!(rollout.failures[0].word, "rolled-back");
        assert!(rollout.failures[0].advice.is_some());
        assert_eq!(rollout.stop.unwrap().linked, 1);
        // The terminal hears of it and ends; the armed one goes on.
        end(w, jobs[2], Outcome::Cancelled, Word::Cancelled);
        work(w, NOW + 4, id);
        assert_eq!(get(w, id).unwrap().unwrap().stop.unwrap().seconds, Some(4));
        succeed(w, jobs[1]);
        work(w, NOW + 5, id);
        assert!(
            active(w, id).is_empty(),
            "nothing starts while it is stopped"
        );
        does(w, id, "alice", Act::Retry);
        for _ in 0..12 {
            work(w, NOW + 1000, id);
            active(w, id).values().for_each(|job| succeed(w, *job));
        }
        work(w, NOW + 1000, id);
        assert_eq!(state(w, id), of("ended", "done"));
        let counts = get(w, id).unwrap().unwrap().counts;
        assert_eq!(counts, [("success".to_owned(), 12)].into());
    })
    .await;
}

#[tokio::test]
async fn those_that_do_not_answer_or_are_away_start_when_they_are_back() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = planned(w, 2, json!({"waves": [{"perRing": 2}], "accept": 60}));
        tests::execute(w, "UPDATE terminals SET link = 'down' WHERE id = 't1'").unwrap();
        does(w, id, "alice", Act::Start);
        work(w, NOW, id);
        let some = active(w, id);
        assert_eq!(some.keys().collect::<Vec<_>>(), ["t0"]);
        let waits = |terminal: &str| {
            let all = targets(
                w,
                id,
                &Filter {
                    limit: 9,
                    ..Filter::default()
                },
            )
            .unwrap();
            let target = all.into_iter().find(|target| target.terminal == terminal);
            (
                target.as_ref().unwrap().state.clone(),
                target.unwrap().waits_for,
            )
        };
        assert_eq!(waits("t1"), of("unreachable", "unreachable"));
        end(w, some["t0"], Outcome::Expired, Word::Expired);
        assert_eq!(waits("t0"), of("waiting", "turn"));
        back(w, "t1").unwrap();
        tests::execute(w, "UPDATE terminals SET link = 'up' WHERE id = 't1'").unwrap();
        work(w, NOW + 1, id);
        let some = active(w, id);
        assert_eq!(some.keys().collect::<Vec<_>>(), ["t1"]);
        succeed(w, some["t1"]);
        work(w, NOW + 100, id);
        assert_eq!(active(w, id).keys().collect::<Vec<_>>(), ["t0"]);
        // Its time is over: what is left is taken back.
        let over = NOW + 31 * 86_400;
        work(w, over, id);
        assert_eq!(state(w, id), of("ended", "expired"));
        assert_eq!(get(w, id).unwrap().unwrap().counts["expired"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_second_person_approves_and_nobody_his_own() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = planned(w, 4, json!({"waves": [{}]}));
        let demands = Demands {
            above: Some(3),
            without_windows: false,
        };
        act(w, NOW, id, "bob", Act::Start, demands)
            .unwrap()
            .unwrap();
        assert_eq!(state(w, id), of("approval", "approval"));
        for own in ["alice", "bob"] {
            let refused = act(w, NOW, id, own, Act::Approve, demands).unwrap();
            assert!(
                matches!(refused, Err(Refused::Person(_))),
                "{own}: {refused:?}"
            );
        }
        work(w, NOW, id);
        assert!(active(w, id).is_empty());
        act(w, NOW, id, "carol", Act::Approve, demands)
            .unwrap()
            .unwrap();
        work(w, NOW, id);
        assert_eq!(active(w, id).len(), 1);
        let rollout = get(w, id).unwrap().unwrap();
        let who = (rollout.created_by, rollout.started_by, rollout.approved_by);
        let who_is = |name: &str| Some(name.to_owned());
        assert_eq!(who, ("alice".to_owned(), who_is("bob"), who_is("carol")));
        let again = act(w, NOW, id, "dave", Act::Start, demands).unwrap();
        assert!(matches!(again, Err(Refused::State(_))));
    })
    .await;
}

#[tokio::test]
async fn a_stop_of_the_station_reaches_rollouts_and_orders() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = planned(w, 8, json!({"waves": [{}]}));
        does(w, id, "alice", Act::Start);
        work(w, NOW, id);
        let order = orders::NewOrder {
            by: "alice".to_owned(),
            upgrade_type: "full".to_owned(),
            policy: 0,
            spread: 0,
            budget: None,
            expires_at: None,
            expire: None,
            force: true,
            filter: None,
        };
        tests::order(w, NOW, &order, 1, "other");
        w.finish().unwrap();
        tests::execute(w, "UPDATE jobs SET ordered_at = 1").unwrap();
        stop_all(w, NOW, "bob").unwrap();
        w.finish().unwrap();
        work(w, NOW, id);
        assert_eq!(state(w, id), of("stopped", "operator"));
        let asked = "SELECT count(*) FROM jobs WHERE cancel_requested_by = 'bob'";
        assert_eq!(tests::number(w, asked).unwrap(), 3);
        assert_eq!(to_reach(w).unwrap(), (3, 2));
        // What it had under way starts again.
        let jobs: Vec<i64> = active(w, id).into_values().collect();
        jobs.iter()
            .for_each(|job| end(w, *job, Outcome::Cancelled, Word::Cancelled));
        does(w, id, "bob", Act::Resume);
        work(w, NOW + 100, id);
        assert_eq!(active(w, id).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn the_way_back_is_a_rollout_of_those_that_succeeded() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = planned(w, 3, json!({"waves": [{"perRing": 4}]}));
        does(w, id, "alice", Act::Start);
        work(w, NOW, id);
        succeed(w, active(w, id)["t0"]);
        assert!(
            before(w, id, "bob", None).unwrap().is_err(),
            "no package of version 1"
        );
        tests::package(w, 2, "full", 1000, None);
        tests::execute(w, "UPDATE packages SET version = '1' WHERE id = 2").unwrap();
        let back = before(w, id, "bob", None).unwrap().unwrap();
        assert_eq!(
            (back.new.package, back.terminals),
            (2, vec!["t0".to_owned()])
        );
    })
    .await;
}
