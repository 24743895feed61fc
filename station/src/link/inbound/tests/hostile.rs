//! Terminals that send too much.

use super::*;

impl Bench {
    fn count(&self, sql: &'static str) -> i64 {
        self.write(move |w, _| tests::number(w, sql).unwrap())
    }

    /// Orders a job for `t1` and lets it accept the job.
    fn taken(&self) -> i64 {
        let job = self.order(NOW);
        let mid = self.due(NOW)[0].mid;
        self.say(
            NOW,
            Channel::Reply,
            reply(mid, message_type::UPGRADE, 202, json!({})),
        );
        job
    }

    fn report(&self, job: i64, msg: &str) -> Vec<Envelope> {
        let param = json!({"jobId": job, "code": 500, "msg": msg});
        let report = Envelope::request(7, "t1", 0, message_type::JOB_RESULT, param);
        self.say(NOW, Channel::Data, report)
    }
}

#[test]
fn attack_repeated_and_unknown_results_are_recorded_once_and_acknowledged() {
    let bench = Bench::new();
    let job = bench.taken();
    let events = || bench.count("SELECT count(*) FROM events");
    bench.report(job, "first");
    let before = events();
    for _ in 0..50 {
        assert_eq!(bench.report(job, "first")[0].code, Some(200));
    }
    assert_eq!(events(), before);
    for _ in 0..50 {
        bench.report(job, "another");
    }
    assert_eq!(events(), before + 1);
    for _ in 0..50 {
        assert_eq!(bench.report(4711, "unknown")[0].code, Some(200));
    }
    assert_eq!(events(), before + 2);
    for unknown in 10_000..10_500 {
        assert_eq!(bench.report(unknown, "unknown")[0].code, Some(200));
    }
    assert!(events() <= before + 102);
}

#[test]
fn attack_the_record_of_a_job_is_bounded_and_its_result_is_in_it() {
    let bench = Bench::new();
    let job = bench.taken();
    for _ in 0..200 {
        let rounds = (0..20).map(|round| {
            let state = ["downloading", "verifying"][round % 2];
            let param = json!({"jobId": job, "state": state, "progress": 1});
            Envelope::request(8, "t1", 0, message_type::JOB_PROGRESS, param)
        });
        bench.say_all(NOW, Channel::Data, rounds.collect());
    }
    for round in 0..200 {
        bench.say(
            NOW,
            Channel::Reply,
            reply(
                round,
                message_type::JOB_CANCEL,
                403,
                json!({
                    "jobId": job, "more": "x".repeat(100_000)
                }),
            ),
        );
    }
    bench.report(job, "over");
    let bytes = bench.count("SELECT CAST(sum(length(detail) + 100) AS BIGINT) FROM events");
    assert!(bytes < 600_000, "{bytes}");
    assert_eq!(
        bench.count("SELECT count(*) FROM events WHERE kind = 'result'"),
        1
    );
    assert_eq!(
        bench.count("SELECT count(*) FROM events WHERE kind = 'record-full'"),
        1
    );
}

#[test]
fn attack_texts_of_70_000_characters_and_what_steers_screens_are_bounded() {
    for piece in ["x", "\x1b[2J", "\x07", "\n", "\0", "\u{202e}", "\u{2066}断"] {
        let bench = Bench::new();
        let job = bench.taken();
        let flood = piece.repeat(70_000 / piece.chars().count());
        let link_up = json!({
            "dev": {"devSN": flood, "more": flood}, "os": {"version": flood, "kernel": flood},
            "dau": {"product": flood, "kernelSlot": flood}
        });
        let link_up = Envelope::request(1, "t1", 0, message_type::LINK_UP, link_up);
        if link_up.to_bytes().len() <= dau_protocol::MAX_MESSAGE {
            bench.say(NOW, Channel::Request, link_up);
        }
        let short = piece.repeat(200);
        let param = json!({"os": {"version": short}, "dau": {"product": short, "version": short}});
        let link_up = Envelope::request(1, "t1", 0, message_type::LINK_UP, param.clone());
        bench.say(NOW, Channel::Request, link_up);
        let beat = Envelope::request(1, "t1", 0, message_type::HEARTBEAT, param);
        bench.say(NOW, Channel::Request, beat);
        let details = json!({"outcome": short, "word": short, "log": short, "versionAfter": short});
        let param = json!({"jobId": job, "code": 500, "msg": short, "details": details});
        let result = Envelope::request(1, "t1", 0, message_type::JOB_RESULT, param);
        let answers = bench.say(NOW, Channel::Data, result);
        assert_eq!(answers[0].code, Some(200));
        let longest = bench.count("SELECT max(length(product || version)) FROM terminals");
        assert!(longest <= 256, "{longest}");
        let raw = bench.count("SELECT max(length(link_up)) FROM terminals");
        assert!(raw <= 16 << 10, "{raw}");
        let longest = bench.count("SELECT max(length(word || outcome)) FROM jobs");
        assert!(longest <= 140, "{longest}");
    }
}

#[test]
fn attack_nested_json_ends_nothing() {
    let bench = Bench::new();
    let job = bench.taken();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("[{}0]", "0,".repeat(100_000));
    for nested in [deep, wide, "[".repeat(100_000)] {
        for (word, kind) in [
            ("data", message_type::JOB_RESULT),
            ("data", message_type::JOB_PROGRESS),
            ("request", message_type::LINK_UP),
            ("request", message_type::HEARTBEAT),
            ("request", message_type::LINK_DOWN),
            ("reply", message_type::UPGRADE),
        ] {
            let text = format!(
                r#"{{"mid": 1, "type": "{kind}", "code": 202, "param": {{"jobId": {job}, "more": {nested}}}}}"#
            );
            bench.write(move |w, config| {
                let topic = format!("/v1/t1/device/{word}");
                take_one(w, NOW, config, &topic, text.as_bytes());
            });
        }
    }
}

/// What EVENT_LINKUP may hold is kept as it came; orders for all read it.
#[test]
fn attack_a_version_that_is_no_text_stops_no_order() {
    for version in [
        json!(5),
        json!(0.5),
        json!(null),
        json!({"a": []}),
        json!(true),
    ] {
        let bench = Bench::new();
        let param =
            json!({"os": {"version": "1"}, "dau": {"product": "p", "recoveryVersion": version}});
        let link_up = Envelope::request(2, "t1", 0, message_type::LINK_UP, param);
        bench.say(NOW, Channel::Request, link_up);
        bench.write(|w, _| terminals::candidates(w, "p", "", 10).map(drop).unwrap());
    }
}
