//! Messages that are taken in together.

use super::*;
use crate::store::events;

impl Bench {
    /// Returns what is known of a job, and its record.
    fn all_of(&self, job: i64) -> (Value, Value) {
        self.write(move |w, _| {
            let events = events::of_job(w, job).unwrap();
            (json!(jobs::get(w, job).unwrap()), json!(events))
        })
    }
}

fn progress(job: i64, state: &str, progress: u8, bytes: u64) -> Envelope {
    let param = json!({"jobId": job, "state": state, "progress": progress, "bytes": bytes,
        "total": 1000, "bytesUsed": bytes});
    Envelope::request(3, "t1", 0, message_type::JOB_PROGRESS, param)
}

/// What a terminal says of a job, from the answer to the order on.
fn story(job: i64, mid: i64) -> Vec<(Channel, Envelope)> {
    let told = |state, percent, bytes| (Channel::Data, progress(job, state, percent, bytes));
    let result = json!({"jobId": job, "code": 200, "msg": "done", "details": {"outcome": "success",
        "states": ["accepted", "downloading", "verifying"]}});
    let result = Envelope::request(9, "t1", 0, message_type::JOB_RESULT, result);
    let answer = reply(mid, message_type::UPGRADE, 202, json!({ "jobId": job }));
    vec![
        (Channel::Reply, answer.clone()),
        told("downloading", 0, 0),
        told("downloading", 40, 400),
        told("downloading", 70, 700),
        told("verifying", 10, 700),
        (Channel::Reply, answer),
        told("verifying", 20, 700),
        (Channel::Data, result.clone()),
        told("installing", 0, 700),
        (Channel::Data, result),
    ]
}

/// Wherever a batch ends, the job and its record are the same.
#[test]
fn messages_taken_in_together_do_what_they_do_one_by_one() {
    let told = |cut: usize| {
        let bench = Bench::new();
        let job = bench.order(NOW);
        let mid = bench.due(NOW)[0].mid;
        let story = story(job, mid);
        let (first, second) = story.split_at(cut);
        for part in [first, second] {
            let messages: Vec<_> = part
                .iter()
                .map(|(channel, envelope)| {
                    (Topic::new("t1", *channel).to_string(), envelope.to_bytes())
                })
                .collect();
            bench.write(move |w, config| {
                take(w, NOW + 1, (&config.jobs, 0), &messages).unwrap();
            });
        }
        (job, mid, bench.all_of(job))
    };
    let single = || {
        let bench = Bench::new();
        let job = bench.order(NOW);
        let mid = bench.due(NOW)[0].mid;
        for (channel, envelope) in story(job, mid) {
            bench.say(NOW + 1, channel, envelope);
        }
        (job, mid, bench.all_of(job))
    };
    // Ids differ from station to station.
    let plain = |(job, mid, (found, events)): (i64, i64, (Value, Value))| {
        let text = format!("{found}\n{events}").replace(&job.to_string(), "JOB");
        let order = found["order"].to_string();
        text.replace(&mid.to_string(), "MID")
            .replace(&order, "ORDER")
    };
    let expected = plain(single());
    assert!(expected.contains("\"outcome\":\"success\""), "{expected}");
    for cut in 0..=10 {
        assert_eq!(plain(told(cut)), expected, "cut at {cut}");
    }
}

/// The job that waited is ordered with the batch that brings the result of the first.
#[test]
fn the_next_job_is_ordered_when_a_batch_ends_the_one_before() {
    let bench = Bench::new();
    let first = bench.order(NOW);
    let mid = bench.due(NOW)[0].mid;
    let second = bench.write(|w, _| {
        tests::package(w, 2, "kernel", 1, None);
        let order = orders::NewOrder {
            by: "alice".to_owned(),
            upgrade_type: "kernel".to_owned(),
            policy: 0,
            spread: 0,
            budget: None,
            expires_at: None,
            expire: None,
            force: false,
            filter: None,
        };
        tests::order(w, NOW, &order, 2, "t1")
    });
    assert_eq!(bench.state(second), State::Queued);
    let messages: Vec<_> = story(first, mid)
        .iter()
        .map(|(channel, envelope)| (Topic::new("t1", *channel).to_string(), envelope.to_bytes()))
        .collect();
    bench.write(move |w, config| {
        take(w, NOW + 1, (&config.jobs, 0), &messages).unwrap();
    });
    assert_eq!(
        (bench.state(first), bench.state(second)),
        (State::Finished, State::Ordered)
    );
    let due = bench.due(NOW + 1);
    assert_eq!(due.len(), 1);
    assert_eq!(Upgrade::from_envelope(&due[0]).unwrap().job_id, second);
}

/// Most messages do not move the time of the next question; it is looked up when it comes.
#[test]
fn a_terminal_that_speaks_is_not_asked_and_one_that_fell_silent_is() {
    let bench = Bench::new();
    let job = bench.order(NOW);
    let mid = bench.due(NOW)[0].mid;
    let answer = reply(mid, message_type::UPGRADE, 202, json!({ "jobId": job }));
    bench.say(NOW, Channel::Reply, answer);
    let asked = |now: i64| {
        bench.write(move |w, _| {
            let silent = orders::silent(w, settled(now), 100, 9).unwrap();
            silent.asked.len()
        })
    };
    for now in (NOW + 20..NOW + 400).step_by(20) {
        bench.say(now, Channel::Data, progress(job, "downloading", 1, 1));
        assert_eq!(asked(now), 0, "{}", now - NOW);
    }
    // Last heard after 380 seconds.
    assert_eq!(asked(NOW + 479), 0);
    assert_eq!(asked(NOW + 480), 1);
    assert_eq!(asked(NOW + 481), 0);
    assert_eq!(asked(NOW + 680), 1, "half as often");
}
