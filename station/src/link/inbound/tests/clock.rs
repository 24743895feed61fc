//! The clock jumps by years, both ways, while the station runs and while it is down.

use super::*;
use crate::store::{times, tokens};

const TEN_YEARS: i64 = 10 * 365 * 86_400;

impl Bench {
    /// Sets the clock to `now` after a jump that the station noticed; after a restart if `by` is 0.
    fn jumped(&self, now: i64, by: i64) {
        self.write(move |w, config| {
            if by != 0 {
                times::shift(w, now, by, "a").unwrap();
            }
            times::settle(w, now, config).unwrap();
            orders::expire(w, settled(now), 100).unwrap();
            orders::retry_busy(w, now, 100).unwrap();
            jobs::finish_refused(w, settled(now), 100).unwrap();
        });
    }

    fn opens(&self, now: i64, order: &Envelope) -> bool {
        let token = Upgrade::from_envelope(order).unwrap().file.token.unwrap();
        self.write(move |w, _| tokens::look_up(w, &token, now).unwrap().is_some())
    }
}

/// Returns jumps in seconds, noticed and unnoticed.
fn cases() -> impl Iterator<Item = (i64, bool)> {
    [TEN_YEARS, -TEN_YEARS]
        .into_iter()
        .flat_map(|by| [(by, true), (by, false)])
}

#[test]
fn orders_are_sent_again_and_tokens_are_good_after_a_jump() {
    for (by, noticed) in cases() {
        let bench = Bench::new();
        let job = bench.order(NOW);
        let order = bench.due(NOW).remove(0);
        let now = NOW + by;
        bench.jumped(now, if noticed { by } else { 0 });
        if noticed || by < 0 {
            assert!(bench.opens(now + 60, &order), "{by}");
        }
        assert!(!bench.opens(now + 2 * 86_400, &order), "{by}");
        let longest = i64::try_from(bench.config.jobs.resend_most_seconds).unwrap();
        assert_eq!(bench.due(now + longest).len(), 1, "{by}");
        // An expired token is replaced at once, whatever the id of the last order.
        let asked = JobProgress {
            job_id: job,
            state: "downloading".to_owned(),
            progress: 1,
            bytes: None,
            total: None,
            order_again: true,
            bytes_used: None,
        };
        let later = now + longest + 10;
        let ask = Envelope::request(5, "t1", 0, message_type::JOB_PROGRESS, asked);
        bench.say(later, Channel::Data, ask);
        let again = bench.due(later + crate::store::times::LEAST_PAUSE);
        assert!(bench.opens(later + 60, &again[0]), "{by}");
    }
}

#[test]
fn a_noticed_jump_lets_nothing_expire_and_a_job_expires_in_its_time() {
    for (by, noticed) in cases() {
        let bench = Bench::new();
        let job = bench.order_for(NOW, Some(3600));
        bench.due(NOW);
        let now = NOW + by;
        bench.jumped(now, if noticed { by } else { 0 });
        let expected = match (noticed, by > 0) {
            // Indistinguishable from ten years without power.
            (false, true) => State::Finished,
            _ => State::Ordered,
        };
        assert_eq!(bench.state(job), expected, "{by} {noticed}");
        bench.jumped(now + 3700, 0);
        assert_eq!(bench.state(job), State::Finished, "{by} {noticed}");
    }
}

#[test]
fn a_busy_and_a_silent_terminal_are_asked_again_after_a_jump() {
    for (by, noticed) in cases() {
        let bench = Bench::new();
        let job = bench.order(NOW);
        let mid = bench.due(NOW)[0].mid;
        let busy = json!({"jobId": job, "busyWith": 99});
        bench.say(
            NOW,
            Channel::Reply,
            reply(mid, message_type::UPGRADE, 403, busy),
        );
        let now = NOW + by;
        bench.jumped(now, if noticed { by } else { 0 });
        bench.jumped(now + 61, 0);
        let again = bench.due(now + 61);
        assert_eq!(again.len(), 1, "{by} {noticed}");
        let taken = reply(again[0].mid, message_type::UPGRADE, 202, json!({}));
        bench.say(now + 62, Channel::Reply, taken);
        // Jumps back by the same amount.
        let then = now + 62 - by;
        bench.jumped(then, if noticed { -by } else { 0 });
        let silent = bench.write(move |w, _| {
            orders::silent(w, settled(then + 3600), 300, 9)
                .unwrap()
                .asked
        });
        assert_eq!(silent.len(), 1, "{by} {noticed}");
    }
}

#[test]
fn a_terminal_is_not_online_for_ever() {
    let bench = Bench::new();
    bench.write(|w, _| seen::heard(w, NOW + TEN_YEARS, ["t1"]).unwrap());
    bench.write(|w, _| tests::execute(w, "UPDATE terminals SET link = 'up'").unwrap());
    bench.jumped(NOW, 0);
    let online = |now: i64| {
        bench.write(move |w, _| terminals::get(w, "t1", now - 900).unwrap().unwrap().online)
    };
    assert!(online(NOW));
    assert!(!online(NOW + 901));
}

/// The terminal has answered, and its answer waits behind those of many others.
#[test]
fn nothing_is_sent_again_or_ended_while_answers_wait_at_the_broker() {
    let bench = Bench::new();
    let job = bench.order_for(NOW, Some(60));
    let work = move |at: times::Moment| {
        bench.write(move |w, config| {
            orders::expire(w, at, 100).unwrap();
            let sent = outbox::take_due(w, at, config, 100).unwrap().messages.len();
            (sent, jobs::known(w, job).unwrap().unwrap().state)
        })
    };
    let at = |now, heard| times::Moment { now, heard };
    assert_eq!(
        work(at(NOW, NOW - 300)),
        (1, State::Ordered),
        "new orders do not wait"
    );
    assert_eq!(work(at(NOW + 290, NOW - 10)), (0, State::Ordered));
    assert_eq!(work(at(NOW + 300, NOW + 45)), (1, State::Ordered));
    assert_eq!(work(at(NOW + 400, NOW + 61)), (0, State::Finished));
}

#[test]
fn a_jump_that_two_stations_notice_shifts_once() {
    let bench = Bench::new();
    bench.order(NOW);
    let jump = |station: &'static str, now: i64, by: i64| {
        bench.write(move |w, _| times::shift(w, now, by, station).unwrap())
    };
    let send_at =
        || bench.write(|w, _| tests::number(w, "SELECT max(send_at) FROM outbox").unwrap());
    let before = send_at();
    assert!(jump("a", NOW + 3600, 3600));
    assert!(!jump("b", NOW + 3601, 3601));
    assert_eq!(send_at(), before + 3600);
    // Back, and then another one an hour later.
    assert!(jump("b", NOW + 2, -3600));
    assert!(!jump("a", NOW + 2, -3600));
    assert_eq!(send_at(), before);
    assert!(jump("a", NOW + 7200, 3600));
    assert_eq!(send_at(), before + 3600);
}
