//! Which file an order names: the package, or a delta to it.

use super::*;

const BASE: &str = "ba5e000000000000000000000000000000000000000000000000000000000000";

/// What the next order names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    mid: i64,
    job: i64,
    package: i64,
    size: i64,
}

impl Bench {
    /// Adds package `id`; `delta` has the digests of base and target.
    fn package(&self, id: i64, size: i64, delta: Option<(&'static str, &'static str)>) {
        self.write(move |w, _| {
            tests::package(w, id, "full", size, delta);
        });
    }

    /// Orders package `id` for `t1`.
    fn order_within(&self, id: i64, budget: Option<u64>) -> i64 {
        self.write(move |w, _| {
            let order = orders::NewOrder {
                by: "alice".to_owned(),
                upgrade_type: "full".to_owned(),
                policy: 0,
                spread: 0,
                budget,
                expires_at: None,
                expire: None,
                force: false,
                filter: None,
            };
            tests::order(w, NOW, &order, id, "t1")
        })
    }

    fn keeps(&self, packages: &[&str]) {
        let dau = json!({"product": "p", "version": "1", "packages": packages});
        let link_up = Envelope::request(2, "t1", 0, message_type::LINK_UP, json!({ "dau": dau }));
        self.say(NOW, Channel::Request, link_up);
    }

    fn named(&self, now: i64) -> Vec<Named> {
        let orders = self.due(now).into_iter().map(|envelope| {
            let upgrade = Upgrade::from_envelope(&envelope).unwrap();
            let path = upgrade.file.url.split('/').nth_back(1).unwrap();
            Named {
                mid: envelope.mid,
                job: upgrade.job_id,
                package: path.parse().unwrap(),
                size: upgrade.file.size.unwrap(),
            }
        });
        orders.collect()
    }

    fn ends(&self, job: i64, code: u16, word: &str) {
        let outcome = match word {
            "success" => "success",
            "health-port" => "rolled-back",
            _ => "refused",
        };
        let details = json!({"outcome": outcome, "word": word});
        let param = json!({"jobId": job, "code": code, "msg": "", "details": details});
        let report = Envelope::request(3, "t1", 0, message_type::JOB_RESULT, param);
        self.say(NOW, Channel::Data, report);
    }

    fn shown(&self, job: i64) -> jobs::Job {
        self.write(move |w, _| jobs::get(w, job).unwrap().unwrap())
    }
}

/// A terminal that keeps the base, the package 1, and the delta 2 to it.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.package(1, 41_000_000, None);
    bench.package(2, 2_300_000, Some((BASE, "manifest 1")));
    bench.keeps(&[BASE]);
    bench
}

#[test]
fn a_terminal_that_keeps_the_base_gets_the_delta_and_another_one_the_package() {
    let bench = bench();
    let job = bench.order_within(1, Some(3_000_000));
    let named = &bench.named(NOW)[0];
    assert_eq!((named.job, named.package, named.size), (job, 2, 2_300_000));
    let file = bench.shown(job).file.unwrap();
    assert_eq!(
        (file.package, file.delta, file.saved),
        (2, true, 38_700_000)
    );
    bench.ends(job, 200, "success");
    for (keeps, expected) in [
        (vec![], 1),
        (vec!["5".repeat(64)], 1),
        (vec![BASE.to_owned()], 2),
    ] {
        let keeps: Vec<_> = keeps.iter().map(String::as_str).collect();
        bench.keeps(&keeps);
        let job = bench.order_within(1, None);
        assert_eq!(bench.named(NOW)[0].package, expected, "{keeps:?}");
        bench.ends(job, 200, "success");
    }
}

#[test]
fn nothing_is_sent_where_the_budget_covers_no_file_and_the_next_job_goes_on() {
    let bench = bench();
    bench.keeps(&[]);
    let first = bench.order_within(1, Some(40_000_000));
    assert_eq!(bench.named(NOW), []);
    let shown = bench.shown(first);
    let result = shown.result.unwrap();
    assert_eq!(
        (result.outcome.as_str(), result.word.as_str()),
        ("refused", "budget")
    );
    assert!(
        result.message.contains("41000000 bytes"),
        "{}",
        result.message
    );
    assert_eq!((shown.ordered_at, shown.file), (None, None));

    // Of jobs that wait, too.
    bench.package(3, 100, None);
    bench.package(4, 200, None);
    let running = bench.order_within(3, None);
    let (poor, good) = (
        bench.order_within(1, Some(200_000)),
        bench.order_within(4, None),
    );
    bench.ends(running, 200, "success");
    assert_eq!(bench.shown(poor).result.unwrap().word, "budget");
    assert_eq!(bench.named(NOW).last().map(|named| named.job), Some(good));
}

#[test]
fn a_job_keeps_its_file_and_the_next_one_is_chosen_anew() {
    let bench = bench();
    bench.keeps(&[]);
    let job = bench.order_within(1, None);
    assert_eq!(bench.named(NOW)[0].package, 1);
    // Whatever becomes known meanwhile, a download that may have begun goes on.
    bench.keeps(&[BASE]);
    assert_eq!(bench.named(NOW)[0].package, 1);
    bench.ends(job, 200, "success");
    // A terminal that was busy has begun nothing.
    bench.keeps(&[]);
    let job = bench.order_within(1, None);
    let order = &bench.named(NOW)[0];
    let busy = json!({"jobId": job, "busyWith": "99"});
    bench.say(
        NOW,
        Channel::Reply,
        reply(order.mid, message_type::UPGRADE, 403, busy),
    );
    bench.keeps(&[BASE]);
    bench.write(|w, _| orders::retry_busy(w, NOW + 1000, 10).unwrap());
    assert_eq!(bench.named(NOW + 1000)[0].package, 2);
}

#[test]
fn a_delta_that_a_terminal_could_not_use_is_not_offered_to_it_again() {
    for (word, next) in [
        ("delta-base", 1),
        ("recovery-too-old", 1),
        ("signer-unknown", 1),
        ("unexpected-member", 1),
        ("storage", 1),
        ("a-word-of-tomorrow", 1),
        ("delta-mismatch", 1),
        ("no-space", 1),
        ("download", 2),
        ("health-port", 2),
    ] {
        let bench = bench();
        let job = bench.order_within(1, None);
        assert_eq!(bench.named(NOW)[0].package, 2);
        bench.ends(job, 403, word);
        bench.order_within(1, None);
        assert_eq!(bench.named(NOW)[0].package, next, "{word}");
    }
}

#[test]
fn a_delta_stays_while_a_job_needs_it_and_its_token_opens_nothing_else() {
    let bench = bench();
    let job = bench.order_within(1, None);
    let order = Upgrade::from_envelope(&bench.due(NOW)[0]).unwrap();
    let token = order.file.token.unwrap();
    let remove = |id| bench.write(move |w, _| packages::remove(w, NOW, id).unwrap());
    let grant = bench.write(move |w, _| crate::store::tokens::look_up(w, &token, NOW).unwrap());
    assert_eq!(
        grant.map(|grant| (grant.package, grant.job)),
        Some((2, job))
    );
    assert_eq!(remove(2), packages::Removed::Needed(1));
    assert_eq!(remove(1), packages::Removed::Needed(1));
    bench.ends(job, 200, "success");
    assert!(matches!(remove(2), packages::Removed::Done(..)));
    bench.order_within(1, None);
    assert_eq!(bench.named(NOW)[0].package, 1);
}

#[test]
fn the_same_order_with_a_higher_budget_raises_that_of_the_job_and_tells_the_terminal() {
    let bench = bench();
    let job = bench.order_within(1, Some(3_000_000));
    let first = bench.due(NOW);
    assert_eq!(first.len(), 1);
    // Nothing is told for a lower one, or none.
    for budget in [Some(2_500_000), None] {
        assert_eq!(bench.order_within(1, budget), job);
        assert!(bench.due(NOW).is_empty(), "{budget:?}");
    }
    assert_eq!(bench.order_within(1, Some(5_000_000)), job);
    let told = bench.due(NOW + 60);
    let budgets = told
        .iter()
        .map(|order| Upgrade::from_envelope(order).unwrap().budget);
    assert_eq!(budgets.collect::<Vec<_>>(), [Some(5_000_000)]);
    assert_eq!(bench.shown(job).budget, Some(5_000_000));
}

#[test]
fn a_result_that_names_another_package_counts_and_is_told_from_the_others() {
    for (named, other) in [
        ("manifest 1", None),
        ("MANIFEST 1", None),
        ("", None),
        (BASE, Some(BASE)),
    ] {
        let bench = bench();
        let job = bench.order_within(1, None);
        assert_eq!(bench.named(NOW).len(), 1);
        let details = json!({"outcome": "success", "word": "success", "manifestSha256": named});
        let param = json!({"jobId": job, "code": 200, "msg": "", "details": details});
        let report = Envelope::request(3, "t1", 0, message_type::JOB_RESULT, param);
        for _ in 0..2 {
            bench.say(NOW, Channel::Data, report.clone());
        }
        let result = bench.shown(job).result.unwrap();
        assert_eq!(result.outcome, "success");
        assert_eq!(result.other_package.as_deref(), other, "{named}");
        let events = bench.write(move |w, _| events::of_job(w, job).unwrap());
        let told = events
            .iter()
            .filter(|event| event.kind == events::kind::OTHER_PACKAGE);
        assert_eq!(told.count(), usize::from(other.is_some()), "{named}");
    }
}
