//! The station learns product and version of each terminal even if EVENT_LINKUPs are lost.

use super::*;

/// The broker died with the reports, or the terminal had no connection when it made them.
#[test]
fn states_whose_reports_were_lost_come_into_the_record_with_the_result() {
    let bench = Bench::new();
    let job = bench.order(NOW);
    let mid = bench.due(NOW)[0].mid;
    bench.say(
        NOW,
        Channel::Reply,
        reply(mid, message_type::UPGRADE, 202, json!({})),
    );
    let progress = json!({"jobId": job, "state": "verifying", "progress": 0});
    let progress = Envelope::request(2, "t1", 0, message_type::JOB_PROGRESS, progress);
    bench.say(NOW, Channel::Data, progress);
    let states = [
        "accepted",
        "downloading",
        "verifying",
        "queued",
        "nonsense",
        "armed",
        "finished",
    ];
    let param = json!({"jobId": job, "code": 200, "msg": "", "details": {"states": states}});
    let report = Envelope::request(3, "t1", 0, message_type::JOB_RESULT, param);
    for _ in 0..2 {
        bench.say(NOW + 1, Channel::Data, report.clone());
    }
    let recorded: Vec<Value> = bench.write(move |w, _| {
        let events = events::of_job(w, job).unwrap();
        let states = events.into_iter().filter(|event| event.kind == kind::STATE);
        states.map(|event| event.detail["state"].clone()).collect()
    });
    assert_eq!(recorded, ["accepted", "verifying", "downloading", "armed"]);
}

impl Bench {
    fn asked(&self, now: i64) -> usize {
        self.write(move |w, _| {
            terminals::take_unknown(w, now, now - 900, 100)
                .unwrap()
                .asked
                .len()
        })
    }

    fn version(&self) -> (String, String) {
        self.write(|w, _| {
            let known = terminals::get(w, "t1", 0).unwrap().unwrap();
            (known.product, known.version)
        })
    }
}

fn heartbeat(dau: Value) -> Envelope {
    Envelope::request(1, "t1", 0, message_type::HEARTBEAT, json!({ "dau": dau }))
}

fn link_up(version: &str) -> Envelope {
    let param = json!({"os": {"version": version}, "dau": {"product": "p"}});
    Envelope::request(2, "t1", 0, message_type::LINK_UP, param)
}

#[test]
fn a_heartbeat_tells_product_and_version() {
    let bench = Bench::new();
    bench.say(NOW, Channel::Request, link_up("1.0"));
    assert_eq!(bench.version(), ("p".to_owned(), "1.0".to_owned()));
    let upgraded = json!({"product": "p", "version": "1.1", "freeBytes": 5});
    bench.say(NOW + 1, Channel::Request, heartbeat(upgraded));
    assert_eq!(bench.version(), ("p".to_owned(), "1.1".to_owned()));
    // A heartbeat without them changes nothing.
    bench.say(
        NOW + 2,
        Channel::Request,
        heartbeat(json!({"freeBytes": 6})),
    );
    assert_eq!(bench.version(), ("p".to_owned(), "1.1".to_owned()));
}

#[test]
fn the_packages_that_a_terminal_keeps_are_known_and_attack_by_other_texts_leaves_no_trace() {
    let bench = Bench::new();
    let packages = || bench.write(|w, _| terminals::get(w, "t1", 0).unwrap().unwrap().packages);
    let (one, two) = ("1".repeat(64), "ab".repeat(32));
    let mut linked = link_up("1.0");
    linked.param["dau"]["packages"] = json!([one, two]);
    bench.say(NOW, Channel::Request, linked.clone());
    assert_eq!(packages().join(","), format!("{one},{two}"));
    // It says nothing of them, as it says nothing else.
    bench.say(NOW, Channel::Request, heartbeat(json!({})));
    assert_eq!(packages().len(), 2);
    let upgraded = json!({"product": "p", "version": "1.0", "packages": [two]});
    bench.say(NOW, Channel::Request, heartbeat(upgraded));
    assert_eq!(packages().join(","), two);
    let hostile = [
        "A".repeat(64),
        "2".repeat(63),
        "3".repeat(99_999),
        "'); --".to_owned(),
    ];
    for text in hostile {
        linked.param["dau"]["packages"] = json!([text, one]);
        bench.say(NOW, Channel::Request, linked.clone());
        assert_eq!(packages().join(","), one, "{text:.99}");
    }
    bench.say(NOW, Channel::Request, link_up("1.0"));
    assert_eq!(packages(), [""; 0]);
}

#[test]
fn one_that_never_said_what_it_is_is_asked_until_it_does() {
    let bench = Bench::new();
    bench.say(NOW, Channel::Request, heartbeat(json!({})));
    assert_eq!(bench.asked(NOW), 1);
    assert_eq!(bench.asked(NOW + 1), 0);
    assert_eq!(bench.asked(NOW + 61), 1);
    bench.say(NOW + 62, Channel::Request, link_up("1.0"));
    assert_eq!(bench.asked(NOW + 100_000), 0);
    // Another make answers without a product: that is all there is to know.
    bench.say(NOW + 63, Channel::Request, heartbeat(json!({})));
    assert_eq!(bench.asked(NOW + 100_000), 0);
}

#[test]
fn one_that_is_back_without_a_link_up_is_asked() {
    let bench = Bench::new();
    bench.say(NOW, Channel::Request, link_up("1.0"));
    let down = Envelope::request(
        3,
        "t1",
        0,
        message_type::LINK_DOWN,
        json!({"reason": "reboot"}),
    );
    bench.say(NOW + 1, Channel::Request, down);
    assert_eq!(bench.asked(NOW + 2), 0);
    bench.say(NOW + 3, Channel::Request, heartbeat(json!({})));
    assert_eq!(bench.asked(NOW + 3), 1);
}

#[test]
fn one_that_fell_silent_is_asked_a_few_times() {
    let bench = Bench::new();
    bench.say(NOW, Channel::Request, link_up("1.0"));
    let mut now = NOW;
    let asked = (0..1000).map(|_| {
        now += 600;
        bench.write(move |w, _| terminals::ask_stale(w, now, now - 900).unwrap());
        bench.asked(now)
    });
    assert_eq!(asked.sum::<usize>(), 5);
}

/// After a pause in which the broker dropped messages beyond its queue.
#[test]
fn all_become_known_whatever_was_lost() {
    let bench = Bench::new();
    for terminal in 0..500 {
        bench.write(move |w, config| {
            let topic = format!("/v1/fleet-{terminal}/device/request");
            let beat = json!({"mid": 1, "type": "EVENT_HEARTBEAT", "param": {}}).to_string();
            take_one(w, NOW, config, &topic, beat.as_bytes());
        });
    }
    let mut now = NOW;
    let mut known = 0;
    while known < 500 {
        now += 1;
        assert!(now < NOW + 60, "{known} of 500 are known");
        let asked: Vec<String> = bench.write(move |w, _| {
            terminals::take_unknown(w, now, now - 900, 100)
                .unwrap()
                .asked
        });
        known += asked.len();
        bench.write(move |w, config| {
            for terminal in asked {
                let topic = format!("/v1/{terminal}/device/request");
                take_one(w, now, config, &topic, &link_up("1.0").to_bytes());
            }
        });
    }
    let unknown: i64 = bench.write(|w, _| {
        let sql = "SELECT count(*) FROM terminals WHERE version = ''";
        tests::number(w, sql).unwrap()
    });
    assert_eq!(unknown, 0);
}
