use dau_protocol::Upgrade;

use super::*;
use crate::config::Config;
use crate::store::orders::Cancelled;
use crate::store::{self, outbox, packages, tests, Store};

mod batch;
mod clock;
mod deltas;
mod hostile;
mod linked;

const NOW: i64 = 1_800_000_000;

/// A station without network, with times chosen by the test.
struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let (dir, store) = tests::store();
        Bench {
            _dir: dir,
            store,
            config: crate::config::tests::sample(),
        }
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Write<'_>, &Config) -> T + Send + 'static,
    ) -> T {
        let config = self.config.clone();
        let written = self
            .store
            .write(move |w| Ok::<_, store::Error>(work(w, &config)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(written).unwrap()
    }

    /// Passes in a message from terminal `t1` and returns the replies.
    fn say(&self, now: i64, channel: Channel, envelope: Envelope) -> Vec<Envelope> {
        self.say_all(now, channel, vec![envelope])
    }

    /// Passes in messages from terminal `t1` together and returns the replies.
    fn say_all(&self, now: i64, channel: Channel, envelopes: Vec<Envelope>) -> Vec<Envelope> {
        self.write(move |w, config| {
            let topic = Topic::new("t1", channel).to_string();
            let message = |envelope: &Envelope| (topic.clone(), envelope.to_bytes());
            let messages: Vec<_> = envelopes.iter().map(message).collect();
            let replies = take(w, now, (&config.jobs, 0), &messages).unwrap();
            replies.iter().map(envelope_of).collect()
        })
    }

    /// Returns the commands due at `now`.
    fn due(&self, now: i64) -> Vec<Envelope> {
        self.write(move |w, config| {
            let due = outbox::take_due(w, settled(now), config, 100).unwrap();
            due.messages.iter().map(envelope_of).collect()
        })
    }

    /// Orders a job for `t1` of a package that exists in the database only.
    fn order(&self, now: i64) -> i64 {
        self.order_for(now, None)
    }

    /// Does the same with an expiry after so many seconds.
    fn order_for(&self, now: i64, seconds: Option<i64>) -> i64 {
        self.write(move |w, _| {
            tests::package(w, 1, "kernel", 1, None);
            terminals::register(w, now, "t1").unwrap();
            let order = orders::NewOrder {
                by: "alice".to_owned(),
                upgrade_type: "kernel".to_owned(),
                policy: 0,
                spread: 0,
                budget: None,
                expires_at: seconds.map(|seconds| now + seconds),
                expire: seconds,
                force: false,
                filter: None,
            };
            tests::order(w, now, &order, 1, "t1")
        })
    }

    fn busy_with(&self) -> Option<i64> {
        self.write(|w, _| terminals::get(w, "t1", 0).unwrap().unwrap().busy_with)
    }

    fn state(&self, job: i64) -> State {
        self.write(move |w, _| jobs::known(w, job).unwrap().unwrap().state)
    }
}

/// Whatever happened in a test, orders' counters are right at its end.
impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.write(|w, _| tests::check_counts(w));
        }
    }
}

/// Handles a message.
fn take_one(w: &Write<'_>, now: i64, config: &Config, topic: &str, payload: &[u8]) {
    let message = (topic.to_owned(), payload.to_vec());
    take(w, now, (&config.jobs, 0), &[message]).unwrap();
}

/// Nothing waits at the broker.
fn settled(now: i64) -> times::Moment {
    times::Moment { now, heard: now }
}

fn envelope_of(message: &Outgoing) -> Envelope {
    Envelope::parse(&message.payload).unwrap()
}

fn reply(mid: i64, message_type: &str, code: u16, param: Value) -> Envelope {
    Envelope::reply(mid, "t1", 0, message_type, code, "").with_param(param)
}

/// Another station, or an intruder at the broker, gave the terminal a job that would keep it busy
/// for years.
#[test]
fn a_job_that_this_station_never_ordered_can_be_called_off() {
    let bench = Bench::new();
    let job = bench.order(NOW);
    let order = &bench.due(NOW)[0];
    assert_eq!(Upgrade::from_envelope(order).unwrap().job_id, job);
    let busy = json!({"jobId": job, "busyWith": "99"});
    bench.say(
        NOW,
        Channel::Reply,
        reply(order.mid, message_type::UPGRADE, 403, busy),
    );
    assert_eq!(
        (bench.busy_with(), bench.state(job)),
        (Some(99), State::Queued)
    );

    let cancel = |terminal: &'static str| {
        bench.write(move |w, _| orders::cancel_at(w, NOW, terminal, 99, "alice").unwrap())
    };
    assert_eq!(cancel("nobody"), Cancelled::Unknown);
    assert_eq!(cancel("t1"), Cancelled::Asked);
    // Sent until it is answered, as every command is.
    let (first, again) = (bench.due(NOW), bench.due(NOW + 3600));
    let commands = [&first, &again].map(|sent| {
        let cancel = sent
            .iter()
            .find(|one| one.message_type == message_type::JOB_CANCEL);
        let cancel = cancel.unwrap();
        (cancel.mid, cancel.param["jobId"].clone())
    });
    assert_eq!(commands[0], commands[1]);
    assert_eq!(commands[0].1, 99);

    let answer = reply(commands[0].0, message_type::JOB_CANCEL, 200, json!({}));
    bench.say(NOW + 1, Channel::Reply, answer);
    // The job that waited for it goes out at once.
    assert_eq!(
        (bench.busy_with(), bench.state(job)),
        (None, State::Ordered)
    );
    assert!(bench
        .due(NOW + 10_000)
        .iter()
        .all(|one| one.message_type == message_type::UPGRADE));
}

#[test]
fn a_cancel_for_a_terminal_that_never_answers_ends() {
    let bench = Bench::new();
    bench.order(NOW);
    bench.write(|w, _| orders::cancel_at(w, NOW, "t1", 99, "alice").unwrap());
    let mut now = NOW;
    let sent = (0..1000).filter(|_| {
        now += 4000;
        bench
            .due(now)
            .iter()
            .any(|one| one.message_type == message_type::JOB_CANCEL)
    });
    assert_eq!(sent.count(), 30);
    let left: i64 =
        bench.write(|w, _| tests::number(w, "SELECT count(*) FROM outbox WHERE job = 99").unwrap());
    assert_eq!(left, 0);
}

/// An order that was sent twice, and refused before it was accepted.
#[test]
fn a_job_that_goes_on_after_a_refusal_is_not_ended_by_it() {
    let bench = Bench::new();
    let job = bench.order(NOW);
    let mid = bench.due(NOW)[0].mid;
    let answer = |code| reply(mid, message_type::UPGRADE, code, json!({ "jobId": job }));
    bench.say(NOW, Channel::Reply, answer(400));
    bench.say(NOW + 1, Channel::Reply, answer(202));
    bench.write(|w, _| jobs::finish_refused(w, settled(NOW + 100), 100).unwrap());
    assert_eq!(bench.state(job), State::Accepted);
}

#[test]
fn an_answer_of_another_terminal_calls_nothing_off() {
    let bench = Bench::new();
    let job = bench.order(NOW);
    let mid = bench.due(NOW)[0].mid;
    bench.write(move |w, config| {
        let forged = reply(mid, message_type::UPGRADE, 400, json!({"jobId": job}));
        take_one(w, NOW, config, "/v1/t2/device/reply", &forged.to_bytes());
    });
    assert_eq!(bench.due(NOW + 3600).len(), 1);
}
