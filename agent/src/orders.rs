//! What becomes of an upgrade order: a pure function of the order and of what is known.

use dau_handoff::{Job, JobResult, JobState, Kind, Order};
use dau_protocol::{code, Envelope, Upgrade, UpgradeType};

/// Longest url that is taken.
const MAX_URL: usize = 2048;

/// What is to be done with an order.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// A new job: write it down, then say so.
    Accept(Box<Job>),
    /// The job that runs: same answer as before, and url and token of this copy count from now on.
    Again(Order),
    /// A job that has its result: say so, and report the result again.
    Known(u16, String),
    /// Another job, with this id, is in the way; with the reason.
    Busy(i64, String),
    /// Code and reason.
    Refuse(u16, String),
}

/// What the terminal knows when the order comes.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The job that runs.
    pub current: Option<&'a Job>,
    /// The result of the job with the order's id, if it has one.
    pub finished: Option<&'a JobResult>,
    /// Seconds since 1970-01-01 UTC.
    pub now: u64,
    /// Plain HTTP is allowed.
    pub allow_http: bool,
}

/// Judges an order. The same order twice is one job.
pub fn judge(envelope: &Envelope, known: Known<'_>) -> Verdict {
    let upgrade = match Upgrade::from_envelope(envelope) {
        Ok(upgrade) => upgrade,
        Err(error) => return Verdict::Refuse(code::BAD_REQUEST, error.to_string()),
    };
    let id = upgrade.job_id;
    if let Some(result) = known.finished {
        let text = format!("job {id} is over: {}", result.message);
        return Verdict::Known(result.outcome.code(), text);
    }
    let order = match order_of(upgrade, envelope, known) {
        Ok(order) => order,
        Err(reason) => return Verdict::Refuse(code::BAD_REQUEST, reason),
    };
    match known.current {
        Some(job) if job.id == id => again(job, order),
        Some(job) => {
            let text = format!(
                "job {} ({} {}) is under way: wait for its result or cancel it",
                job.id, job.order.kind, job.order.version
            );
            Verdict::Busy(job.id, text)
        }
        None if envelope.is_expired(known.now) => {
            let text = "the order has expired: send it again with a later 'expire'".to_owned();
            Verdict::Refuse(code::TIMEOUT, text)
        }
        None => Verdict::Accept(Box::new(Job::new(id, order))),
    }
}

fn again(job: &Job, order: Order) -> Verdict {
    if (&job.order.version, job.order.kind) == (&order.version, order.kind) {
        return Verdict::Again(order);
    }
    let text = format!(
        "job {} is under way as {} {}, and a job cannot change: give the new order an id of its own",
        job.id, job.order.kind, job.order.version
    );
    Verdict::Refuse(code::REFUSED, text)
}

fn order_of(upgrade: Upgrade, envelope: &Envelope, known: Known<'_>) -> Result<Order, String> {
    let file = upgrade.file;
    let plain = known.allow_http && starts_with(&file.url, "http://");
    if !plain && !starts_with(&file.url, "https://") {
        return Err("file.url does not begin with https://".to_owned());
    }
    if file.url.len() > MAX_URL {
        return Err(format!("file.url is longer than {MAX_URL} characters"));
    }
    let token = file.token.filter(|token| !token.is_empty());
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !printable(&file.url) || !token.as_deref().is_none_or(printable) {
        return Err("file.url or file.token holds characters that HTTP does not carry".to_owned());
    }
    let md5 = file.md5.filter(|md5| !md5.is_empty());
    let hex = |md5: &String| md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
    if md5.as_ref().is_some_and(|md5| !hex(md5)) {
        return Err("file.md5 is not 32 hexadecimal digits".to_owned());
    }
    Ok(Order {
        version: upgrade.version,
        kind: kind_of(upgrade.upgrade_type),
        url: file.url,
        token,
        md5: md5.map(|md5| md5.to_ascii_lowercase()),
        size: file.size.and_then(|size| u64::try_from(size).ok()),
        start_at: known.now.saturating_add(upgrade.policy),
        expires_at: envelope.expires_at(),
        mid: envelope.mid,
    })
}

fn starts_with(url: &str, scheme: &str) -> bool {
    let start = url.get(..scheme.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn kind_of(upgrade: UpgradeType) -> Kind {
    match upgrade {
        UpgradeType::Rootfs => Kind::Rootfs,
        UpgradeType::Kernel => Kind::Kernel,
        UpgradeType::Full => Kind::Full,
        UpgradeType::Recovery => Kind::Recovery,
    }
}

/// Whether a job can still be called off: until the flag is set, or about to be.
pub fn is_cancellable(state: &JobState) -> bool {
    matches!(
        state,
        JobState::Accepted | JobState::Downloading | JobState::Verifying | JobState::BackingUp
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_handoff::Outcome;
    use dau_protocol::message_type;
    use serde_json::{json, Value};

    const NOW: u64 = 2_000;

    fn envelope(param: Value) -> Envelope {
        Envelope::request(77, "t", NOW, message_type::UPGRADE, param)
    }

    fn order(id: i64) -> Value {
        json!({"jobId": id, "version": "1.1.0", "upgradeType": 3, "policy": 60,
            "file": {"name": "x.dau", "url": "https://s/p", "size": 9, "token": "new"}})
    }

    fn with(mut param: Value, pointer: &str, value: Value) -> Value {
        *param.pointer_mut(pointer).unwrap() = value;
        param
    }

    fn known<'a>(current: Option<&'a Job>, finished: Option<&'a JobResult>) -> Known<'a> {
        Known {
            current,
            finished,
            now: NOW,
            allow_http: false,
        }
    }

    fn accepted(param: Value) -> Job {
        match judge(&envelope(param), known(None, None)) {
            Verdict::Accept(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_order_becomes_a_job() {
        let job = accepted(order(5));
        assert_eq!((job.id, &job.state), (5, &JobState::Accepted));
        assert_eq!((job.order.kind, job.order.start_at), (Kind::Full, NOW + 60));
        assert_eq!(
            (job.order.mid, job.order.token.as_deref()),
            (77, Some("new"))
        );
    }

    #[test]
    fn the_same_order_is_one_job_and_brings_a_new_token() {
        let mut job = accepted(order(5));
        job.order.token = Some("old".into());
        let verdict = judge(&envelope(order(5)), known(Some(&job), None));
        let Verdict::Again(order) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(order.token.as_deref(), Some("new"));
    }

    #[test]
    fn a_job_that_is_over_is_not_done_again() {
        let result = JobResult::new(Outcome::RolledBack, "health", "no link");
        let verdict = judge(&envelope(order(5)), known(None, Some(&result)));
        assert_eq!(
            verdict,
            Verdict::Known(500, "job 5 is over: no link".into())
        );
        let other = accepted(order(6));
        let verdict = judge(&envelope(order(5)), known(Some(&other), Some(&result)));
        assert!(matches!(verdict, Verdict::Known(500, _)), "{verdict:?}");
    }

    #[test]
    fn another_job_in_the_way_is_named() {
        let job = accepted(order(5));
        match judge(&envelope(order(6)), known(Some(&job), None)) {
            Verdict::Busy(5, text) => assert!(text.contains("job 5"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_carry_code_and_reason() {
        let job = accepted(order(5));
        let busy = Some(&job);
        let cases = [
            (
                with(order(5), "/version", json!("9")),
                busy,
                code::REFUSED,
                "cannot change",
            ),
            (
                with(order(5), "/upgradeType", json!(0)),
                None,
                code::BAD_REQUEST,
                "upgradeType 0",
            ),
            (
                with(order(5), "/file/url", json!("http://s/p")),
                None,
                code::BAD_REQUEST,
                "https",
            ),
            (
                with(order(5), "/file/url", json!("file:///etc")),
                None,
                code::BAD_REQUEST,
                "https",
            ),
            (
                with(order(5), "/file/url", json!("https://s/\r\nX: y")),
                None,
                code::BAD_REQUEST,
                "characters",
            ),
            (
                with(order(5), "/file/token", json!("a\nb")),
                None,
                code::BAD_REQUEST,
                "characters",
            ),
            (
                with(
                    order(5),
                    "/file",
                    json!({"url": "https://s", "md5": "76cd"}),
                ),
                None,
                code::BAD_REQUEST,
                "md5",
            ),
            (json!({"jobId": 5}), None, code::BAD_REQUEST, "malformed"),
        ];
        for (param, current, expected, word) in cases {
            let verdict = judge(&envelope(param.clone()), known(current, None));
            let Verdict::Refuse(code, reason) = &verdict else {
                panic!("{param}: {verdict:?}");
            };
            assert!(
                *code == expected && reason.contains(word),
                "{param}: {verdict:?}"
            );
        }
    }

    #[test]
    fn an_expired_order_is_void_unless_its_job_runs_already() {
        let late = Envelope {
            timestamp: 1_000,
            expire: Some(60),
            ..envelope(order(5))
        };
        let verdict = judge(&late, known(None, None));
        assert!(
            matches!(verdict, Verdict::Refuse(code::TIMEOUT, _)),
            "{verdict:?}"
        );
        let job = accepted(order(5));
        let verdict = judge(&late, known(Some(&job), None));
        assert!(matches!(verdict, Verdict::Again(_)), "{verdict:?}");
    }
}
