use super::*;
use crate::store::{jobs, packages, terminals, tests, times, Error, Store, Write};

const NOW: i64 = 1_800_000_000;

fn order(expire: Option<i64>) -> NewOrder {
    NewOrder {
        by: "alice".to_owned(),
        upgrade_type: "kernel".to_owned(),
        policy: 0,
        spread: 0,
        budget: None,
        expires_at: expire.map(|seconds| NOW + seconds),
        expire,
        force: false,
        filter: None,
    }
}

/// Places an order for terminals `t0`, `t1`, …
fn placed(w: &Write<'_>, count: usize, order: &NewOrder) -> i64 {
    tests::package(w, 1, "kernel", 1, None);
    let package = packages::get(w, 1).unwrap().unwrap();
    let named: Vec<String> = (0..count).map(|index| format!("t{index}")).collect();
    for terminal in &named {
        terminals::register(w, NOW, terminal).unwrap();
    }
    place(w, NOW, order, &package, Some(&named)).unwrap()
}

async fn on<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Write<'_>) -> T + Send + 'static,
) -> T {
    let done = store.write(move |w| Ok::<_, Error>(work(w)));
    done.await.unwrap()
}

#[tokio::test]
async fn an_order_that_cannot_be_made_keeps_no_other_waiting() {
    let (_dir, store) = tests::store();
    let (bad, good) = on(&store, |w| {
        let bad = placed(w, 2, &order(None));
        tests::execute(w, "UPDATE order_pieces SET terminals = 'no list'").unwrap();
        (bad, placed(w, 2, &order(None)))
    })
    .await;
    let first = store.read(|r| next(r, None)).await.unwrap().unwrap();
    assert_eq!(first.id, bad);
    let failed = store
        .write(move |w| work_on(w, NOW, bad))
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("list of terminals"), "{failed}");
    let second = store.read(move |r| next(r, Some(&first))).await.unwrap();
    assert_eq!(second.map(|open| open.id), Some(good));
    assert!(store.write(move |w| work_on(w, NOW, good)).await.unwrap());
    let orders = store.read(move |r| Ok::<_, Error>((get(r, bad)?, get(r, good)?)));
    let (bad, good) = orders.await.unwrap();
    assert_eq!(
        (bad.unwrap().state, good.unwrap().jobs),
        ("making".to_owned(), 2)
    );
}

#[tokio::test]
async fn what_is_left_of_an_order_expires_as_late_as_was_said_after_a_jump_of_the_clock() {
    for by in [-1_000_000_000, 1_000_000_000] {
        let (_dir, store) = tests::store();
        let expiry = on(&store, move |w| {
            let id = placed(w, PIECE + 1, &order(Some(3600)));
            assert!(work_on(w, NOW, id).unwrap());
            let now = NOW + by + 10;
            times::shift(w, now, by, "a").unwrap();
            times::settle(w, now, &crate::config::tests::sample()).unwrap();
            assert!(work_on(w, now, id).unwrap());
            assert!(!work_on(w, now, id).unwrap());
            let (least, most) = ("min(expires_at)", "max(expires_at)");
            [least, most]
                .map(|which| tests::number(w, &format!("SELECT {which} FROM jobs")).unwrap() - now)
        })
        .await;
        assert_eq!(expiry, [3590, 3590], "{by}");
    }
}

#[tokio::test]
async fn jobs_are_given_up_on_the_word_of_who_asked_for_that() {
    let (_dir, store) = tests::store();
    let make = |w: &Write<'_>, id: i64| while work_on(w, NOW, id).unwrap() {};
    let id = on(&store, move |w| {
        let id = placed(w, 3, &order(None));
        make(w, id);
        tests::execute(w, "UPDATE jobs SET ordered_at = 1").unwrap();
        id
    })
    .await;
    for (by, abandon) in [("alice", false), ("bob", true), ("carol", false)] {
        let cancelled = on(&store, move |w| {
            cancel_order(w, NOW, id, by, abandon).unwrap()
        });
        assert_eq!(cancelled.await, Cancelled::Asked, "{by}");
    }
    on(&store, move |w| make(w, id)).await;
    let (over, by, messages) = on(&store, move |w| {
        let filter = jobs::Filter {
            order: Some(id),
            limit: 10,
            ..jobs::Filter::default()
        };
        let results = jobs::list(w, &filter).unwrap().into_iter();
        let messages: Vec<String> = results
            .map(|job| job.result.map_or(String::new(), |result| result.message))
            .collect();
        let over = cancel_order(w, NOW, id, "dave", true).unwrap();
        (over, get(w, id).unwrap().unwrap().cancelled_by, messages)
    })
    .await;
    assert_eq!(over, Cancelled::Over);
    assert_eq!(by.as_deref(), Some("bob"));
    assert_eq!(messages.len(), 3);
    assert!(
        messages.iter().all(|message| message.contains("bob")),
        "{messages:?}"
    );
}

#[tokio::test]
async fn failures_are_grouped_by_word_the_most_frequent_first() {
    let (_dir, store) = tests::store();
    on(&store, |w| {
        let id = placed(w, 9, &order(None));
        while work_on(w, NOW, id).unwrap() {}
        for (from, to, outcome, word) in [
            (0, 1, "failed", "no-space"),
            (1, 8, "refused", "signer-unknown"),
            (8, 9, "success", "success"),
        ] {
            for index in from..to {
                tests::execute(
                    w,
                    &format!(
                        "UPDATE jobs SET state = 'finished', finished_at = 5, outcome = '{outcome}', \
                         word = '{word}' WHERE terminal = 't{index}'"
                    ),
                )
                .unwrap();
            }
        }
        let groups = failures(w, id).unwrap();
        let told: Vec<_> = groups
            .iter()
            .map(|group| (group.word.as_str(), group.jobs, group.terminals.len()))
            .collect();
        assert_eq!(told, [("signer-unknown", 7, 5), ("no-space", 1, 1)]);
        assert_eq!(groups[1].terminals, ["t0"]);
    })
    .await;
}
