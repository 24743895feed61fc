//! Decides on an upgrade order: a pure function of the order and of what the terminal knows.

use dau_handoff::{Job, JobResult, Order};
use dau_model::{hex, Reason, Word};
use dau_protocol::{code, DownloadUrl, Envelope, Upgrade};

/// Longest token that is taken, in bytes: it goes into a header.
const MAX_TOKEN: usize = 4096;

/// The decision on an order.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// A new job: write it down, then say so.
    Accept(Box<Job>),
    /// The job that runs: same answer as before, and url and token of this copy count from now on.
    Again(Order),
    /// A job that has its result: say so, and report the result again.
    Known(u16, String),
    /// Another job is in the way: its id and the reason.
    Busy(i64, String),
    /// With this code.
    Refuse(u16, Reason),
}

/// The terminal's knowledge when the order comes.
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

/// Decides on an order. The same order twice is one job.
pub fn check_order(envelope: &Envelope, known: Known<'_>) -> Verdict {
    let upgrade = match Upgrade::from_envelope(envelope) {
        Ok(upgrade) => upgrade,
        Err(error) => {
            return Verdict::Refuse(code::BAD_REQUEST, error.reason);
        }
    };
    let id = upgrade.job_id;
    if let Some(result) = known.finished {
        let text = format!("job {id} is over: {}", result.reason.message);
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
            let text = "the order has expired: send it again with a later 'expire'";
            Verdict::Refuse(code::TIMEOUT, Reason::new(Word::Expired, text))
        }
        None => Verdict::Accept(Box::new(Job::new(id, order))),
    }
}

fn again(job: &Job, order: Order) -> Verdict {
    if (&job.order.version, job.order.kind) == (&order.version, order.kind) {
        let budget = raised(job.order.budget, order.budget);
        return Verdict::Again(Order { budget, ..order });
    }
    let text = format!(
        "job {} is under way as {} {}, and a job cannot change: give the new order an id of its \
         own",
        job.id, job.order.kind, job.order.version
    );
    Verdict::Refuse(code::REFUSED, Reason::new(Word::Order, text))
}

/// Returns the budget of a job whose order comes again: what was promised is never taken back.
fn raised(budget: Option<u64>, again: Option<u64>) -> Option<u64> {
    let budget = budget?;
    Some(budget.max(again.unwrap_or(0)))
}

/// Checks that a download can use a URL.
fn check_url(url: &str, allow_http: bool) -> Result<(), String> {
    let parsed = match allow_http {
        true => DownloadUrl::parse_allowing_http(url),
        false => DownloadUrl::parse(url),
    };
    parsed
        .map(drop)
        .map_err(|error| format!("file.url '{url}' {error}: mend it at the station, order again"))
}

/// Returns the order as it is kept in the job.
fn order_of(upgrade: Upgrade, envelope: &Envelope, known: Known<'_>) -> Result<Order, Reason> {
    let file = upgrade.file;
    check_url(&file.url, known.allow_http).map_err(|text| Reason::new(Word::Url, text))?;
    let refuse = |text: &str| Err(Reason::new(Word::Order, text));
    let token = file.token.filter(|token| !token.is_empty());
    let usable =
        |token: &str| token.len() <= MAX_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !token.as_deref().is_none_or(usable) {
        return refuse("file.token is too long, or holds characters that HTTP does not carry");
    }
    let md5 = file.md5.filter(|md5| !md5.is_empty());
    if md5.as_ref().is_some_and(|md5| !hex::is_digest(md5, 16)) {
        return refuse("file.md5 is not 32 hexadecimal digits");
    }
    Ok(Order {
        version: upgrade.version,
        kind: upgrade.kind,
        url: file.url,
        token,
        md5: md5.map(|md5| md5.to_ascii_lowercase()),
        size: file.size.and_then(|size| u64::try_from(size).ok()),
        start_at: known.now.saturating_add(upgrade.policy),
        expires_at: envelope.expires_at(),
        mid: envelope.mid,
        budget: upgrade.budget,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_model::{Kind, Outcome, State};
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
        match check_order(&envelope(param), known(None, None)) {
            Verdict::Accept(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_order_becomes_a_job() {
        let job = accepted(order(5));
        assert_eq!((job.id, job.state()), (5, State::Accepted));
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
        let verdict = check_order(&envelope(order(5)), known(Some(&job), None));
        let Verdict::Again(order) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(order.token.as_deref(), Some("new"));
    }

    #[test]
    fn the_same_order_may_raise_the_budget_and_never_lowers_it() {
        let (less, more) = (Some(200_000), Some(300_000));
        for (first, again, expected) in [
            (less, more, more),
            (more, less, more),
            (less, None, less),
            (None, less, None),
        ] {
            let ordered = |budget: Option<u64>| {
                let mut param = order(5);
                param["dau"] = json!({ "budget": budget });
                param
            };
            let job = accepted(ordered(first));
            assert_eq!(job.order.budget, first);
            let verdict = check_order(&envelope(ordered(again)), known(Some(&job), None));
            let Verdict::Again(order) = verdict else {
                panic!("{verdict:?}");
            };
            assert_eq!(order.budget, expected, "{first:?} {again:?}");
        }
    }

    #[test]
    fn a_job_that_is_over_is_not_done_again() {
        let result = JobResult::new(
            Outcome::RolledBack,
            Reason::new(Word::HealthLink, "no link"),
        );
        let verdict = check_order(&envelope(order(5)), known(None, Some(&result)));
        assert_eq!(
            verdict,
            Verdict::Known(500, "job 5 is over: no link".into())
        );
        let other = accepted(order(6));
        let verdict = check_order(&envelope(order(5)), known(Some(&other), Some(&result)));
        assert!(matches!(verdict, Verdict::Known(500, _)), "{verdict:?}");
    }

    #[test]
    fn another_job_in_the_way_is_named() {
        let job = accepted(order(5));
        match check_order(&envelope(order(6)), known(Some(&job), None)) {
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
                "control characters",
            ),
            (
                with(order(5), "/file/url", json!("https://station:84433/x.dau")),
                None,
                code::BAD_REQUEST,
                "port",
            ),
            (
                with(order(5), "/file/url", json!("https://::1:8443/x.dau")),
                None,
                code::BAD_REQUEST,
                "brackets",
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
            let verdict = check_order(&envelope(param.clone()), known(current, None));
            let Verdict::Refuse(
                code,
                Reason {
                    word: about,
                    message,
                },
            ) = &verdict
            else {
                panic!("{param}: {verdict:?}");
            };
            assert!(
                *code == expected && message.contains(word),
                "{param}: {verdict:?}"
            );
            let expected = match message.contains("file.url") {
                true => Word::Url,
                false => Word::Order,
            };
            assert_eq!(*about, expected, "{param}");
        }
    }

    #[test]
    fn an_expired_order_is_void_unless_its_job_runs_already() {
        let late = Envelope {
            timestamp: 1_000,
            expire: Some(60),
            ..envelope(order(5))
        };
        let verdict = check_order(&late, known(None, None));
        assert!(
            matches!(verdict, Verdict::Refuse(code::TIMEOUT, _)),
            "{verdict:?}"
        );
        let job = accepted(order(5));
        let verdict = check_order(&late, known(Some(&job), None));
        assert!(matches!(verdict, Verdict::Again(_)), "{verdict:?}");
    }
}
