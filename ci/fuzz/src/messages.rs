//! Messages, as read by agent and station. Every answer must be sendable: one that is too long is
//! lost, and with some brokers so is the connection.

use dau_handoff::{Job, JobResult, Order};
use dau_model::{Kind, Reason, State};
use dau_protocol::{
    code, message_type, Cancel, Envelope, Heartbeat, JobProgress, JobReport, JobStatus, LinkDown,
    LinkUp, StatusQuery, Upgrade,
};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

use crate::agent::orders::{check_order, Known, Verdict};
use crate::memory;

/// An answer without content, bytes: its text may grow sixfold by escapes.
const LONGEST_ANSWER: usize = 8 << 10;
const TERMINAL: &str = "DTU-0001";
const NOW: u64 = 1_800_000_000;

pub fn check(data: &[u8]) {
    // Most of it is JSON's own tree.
    let limit = (1 << 20) + 200 * data.len();
    match memory::within(limit, || Envelope::parse(data)) {
        Err(error) => {
            let word = error.message_type.clone().unwrap_or_default();
            answer(
                error.mid.unwrap_or(0),
                &word,
                code::BAD_REQUEST,
                &error.to_string(),
            );
        }
        Ok(message) => {
            read_again(&message);
            order(&message);
            contents(&message);
        }
    }
}

fn answer(mid: i64, word: &str, code: u16, text: &str) {
    let reply = Envelope::reply(mid, TERMINAL, NOW, word, code, text);
    let bytes = reply.to_bytes();
    assert!(
        bytes.len() <= LONGEST_ANSWER,
        "an answer of {} bytes",
        bytes.len()
    );
    assert_eq!(Envelope::parse(&bytes).as_ref(), Ok(&reply));
}

/// Checks that a message survives writing and reading, except for parts that cannot be written.
fn read_again(message: &Envelope) {
    let Ok(again) = Envelope::parse(&message.to_bytes()) else {
        // Escapes may make it longer than the largest message.
        assert!(message.to_bytes().len() > dau_protocol::MAX_MESSAGE);
        return;
    };
    let written = message.code.is_some();
    let expected = Envelope {
        // There is no text for times before 1970 or after 9999.
        timestamp: match u64::try_from(message.timestamp) {
            Ok(seconds) if seconds <= 253_402_300_799 => message.timestamp,
            _ => 0,
        },
        expire: message.expire.filter(|_| !written),
        msg: if written {
            message.msg.clone()
        } else {
            String::new()
        },
        param: whole_numbers(message.param.clone()),
        ..message.clone()
    };
    let again = Envelope {
        param: whole_numbers(again.param.clone()),
        ..again
    };
    assert_eq!(again, expected);
}

/// Removes fractions, whose last digit may change.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::Null,
        Value::Array(values) => values.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields
                .map(|(key, value)| (key, whole_numbers(value)))
                .collect()
        }
        other => other,
    }
}

/// Handles the message as an order, as the agent does.
fn order(message: &Envelope) {
    let Verdict::Accept(job) = judged(message, known(None, None)) else {
        return;
    };
    let order = &job.order;
    assert_eq!(Upgrade::job_id(message), Some(job.id));
    assert_eq!(job.state(), State::Accepted);
    assert!(order.url.len() > 8 && order.url[..8].eq_ignore_ascii_case("https://"));
    let secret = order.token.as_deref().unwrap_or("-");
    for text in [&order.url, secret] {
        assert!(
            text.bytes().all(|byte| byte.is_ascii_graphic()),
            "{text:?} in a request"
        );
    }
    assert!((1..=64).contains(&order.version.len()) && order.start_at >= NOW);
    let written = serde_json::to_vec(&job).expect("a job can be written");
    assert_eq!(
        serde_json::from_slice::<Job>(&written).ok().as_ref(),
        Some(&*job)
    );
    // The same order again is the same job; if that is over, its result.
    let again = judged(message, known(Some(&job), None));
    assert!(matches!(again, Verdict::Again(_)), "{again:?}");
    let result = JobResult::success("it runs");
    let over = judged(message, known(None, Some(&result)));
    assert!(matches!(over, Verdict::Known(200, _)), "{over:?}");
    let busy = judged(message, known(Some(&other(&job)), None));
    assert!(matches!(busy, Verdict::Busy(_, _)), "{busy:?}");
}

fn known<'a>(current: Option<&'a Job>, finished: Option<&'a JobResult>) -> Known<'a> {
    Known {
        current,
        finished,
        now: NOW,
        allow_http: false,
    }
}

fn other(job: &Job) -> Job {
    let order = Order {
        kind: Kind::Kernel,
        ..job.order.clone()
    };
    Job::new(job.id.wrapping_add(1), order)
}

fn judged(message: &Envelope, known: Known<'_>) -> Verdict {
    let verdict = check_order(message, known);
    match &verdict {
        Verdict::Refuse(code, Reason { message: text, .. }) | Verdict::Known(code, text) => {
            answer(message.mid, message_type::UPGRADE, *code, text);
        }
        Verdict::Busy(_, text) => answer(message.mid, message_type::UPGRADE, code::REFUSED, text),
        Verdict::Accept(_) | Verdict::Again(_) => {}
    }
    verdict
}

/// Reads the contents of all types.
fn contents(message: &Envelope) {
    content::<StatusQuery>(message);
    content::<Cancel>(message);
    content::<JobStatus>(message);
    content::<JobProgress>(message);
    content::<LinkUp>(message);
    content::<LinkDown>(message);
    content::<Heartbeat>(message);
    // The last digit of its stages' seconds may change.
    match message.param::<JobReport>() {
        Err(error) => refused(message, &error),
        Ok(report) => {
            let again = written_and_read(&report);
            assert_eq!((again.job_id, again.code), (report.job_id, report.code));
            assert_eq!(again.msg, report.msg);
        }
    }
    if message.is_expired(NOW) {
        assert!(message.is_expired(NOW + 1) && message.expires_at() < Some(NOW));
    }
}

fn content<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(message: &Envelope) {
    match message.param::<T>() {
        Err(error) => refused(message, &error),
        Ok(content) => assert_eq!(written_and_read(&content), content),
    }
}

fn written_and_read<T: DeserializeOwned + Serialize>(content: &T) -> T {
    let value = serde_json::to_value(content).expect("what was read can be written");
    serde_json::from_value(value).expect("what was written can be read")
}

fn refused(message: &Envelope, error: &serde_json::Error) {
    let text = format!("{} is malformed: {error}", message.message_type);
    answer(message.mid, &message.message_type, code::BAD_REQUEST, &text);
}
