//! What an HTTP answer means for a download: a pure function of status and headers (RFC 9110).

use std::time::Duration;

/// What was said before the body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    pub status: u16,
    pub content_length: Option<&'a str>,
    pub content_range: Option<&'a str>,
    pub etag: Option<&'a str>,
    pub retry_after: Option<&'a str>,
}

/// What is there of the package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Have<'a> {
    /// Bytes; 0 where no range was asked for.
    pub bytes: u64,
    /// Of the whole package, if known.
    pub total: Option<u64>,
    /// Of the package that the bytes are of.
    pub etag: Option<&'a str>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The body is the package from this offset to its end.
    Body { from: u64, total: u64 },
    /// Nothing is missing.
    Complete,
    /// What is there is of no use: ask for the whole package.
    StartOver(&'static str),
    /// The token is missing, wrong or over.
    Unauthorized,
    /// Later, perhaps.
    Again {
        after: Option<Duration>,
        reason: String,
    },
    /// Never: word and reason.
    End { word: &'static str, reason: String },
}

/// Judges an answer.
pub fn judge(seen: Seen<'_>, have: Have<'_>) -> Answer {
    let end = |word, reason: &str| Answer::End {
        word,
        reason: reason.to_owned(),
    };
    match seen.status {
        200 => match number(seen.content_length) {
            Some(total) => Answer::Body { from: 0, total },
            None => end(
                "no-length",
                "the file service does not say how long the package is",
            ),
        },
        206 => partial(seen, have),
        416 => match range_total(seen.content_range) {
            Some(total) if total == have.bytes => Answer::Complete,
            _ => Answer::StartOver("the file service has no such range"),
        },
        401 | 403 => Answer::Unauthorized,
        404 | 410 => end("not-found", "the file service has no such package"),
        300..=399 => end(
            "redirected",
            "the file service redirects, which is not followed",
        ),
        408 | 425 | 429 | 500..=599 => Answer::Again {
            after: number(seen.retry_after).map(Duration::from_secs),
            reason: format!("the file service answers {}", seen.status),
        },
        status => Answer::End {
            word: "http-status",
            reason: format!("the file service answers {status}"),
        },
    }
}

fn partial(seen: Seen<'_>, have: Have<'_>) -> Answer {
    let Some((first, last, total)) = seen.content_range.and_then(content_range) else {
        return Answer::StartOver("the file service sends a range and does not say which");
    };
    let other = |ours: Option<u64>| ours.is_some_and(|ours| ours != total);
    if other(have.total) || matches!((have.etag, seen.etag), (Some(a), Some(b)) if a != b) {
        return Answer::StartOver("the package changed on the file service");
    }
    let length = last.checked_sub(first).map(|length| length + 1);
    let claimed = number(seen.content_length);
    if first != have.bytes || last + 1 != total || claimed.is_some_and(|l| Some(l) != length) {
        return Answer::StartOver("the file service sends another range than asked for");
    }
    Answer::Body { from: first, total }
}

/// `bytes first-last/total`
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let last = last.parse().ok().filter(|last| *last < u64::MAX)?;
    Some((first.parse().ok()?, last, total.parse().ok()?))
}

/// `bytes */total`
fn range_total(text: Option<&str>) -> Option<u64> {
    text?.strip_prefix("bytes */")?.parse().ok()
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// A validator that `If-Range` may carry: weak ones are not allowed there.
pub fn strong(etag: Option<&str>) -> Option<&str> {
    etag.filter(|etag| etag.starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_the_first_request() {
        let seen = |status, content_length| Seen {
            status,
            content_length,
            ..Seen::default()
        };
        let word = |answer| match answer {
            Answer::End { word, .. } => word,
            other => panic!("{other:?}"),
        };
        let have = Have::default();
        assert_eq!(
            judge(seen(200, Some("9")), have),
            Answer::Body { from: 0, total: 9 }
        );
        assert_eq!(word(judge(seen(200, None), have)), "no-length");
        assert_eq!(word(judge(seen(200, Some("-1")), have)), "no-length");
        assert_eq!(judge(seen(401, None), have), Answer::Unauthorized);
        assert_eq!(judge(seen(403, None), have), Answer::Unauthorized);
        assert_eq!(word(judge(seen(404, None), have)), "not-found");
        assert_eq!(word(judge(seen(410, None), have)), "not-found");
        assert_eq!(word(judge(seen(302, None), have)), "redirected");
        assert_eq!(word(judge(seen(400, None), have)), "http-status");
        assert_eq!(word(judge(seen(204, None), have)), "http-status");
        for status in [408, 429, 500, 502, 503, 504] {
            let answer = judge(seen(status, None), have);
            assert!(
                matches!(answer, Answer::Again { after: None, .. }),
                "{status}: {answer:?}"
            );
        }
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it() {
        let seen = |retry_after| Seen {
            status: 503,
            retry_after,
            ..Seen::default()
        };
        let after = |text| match judge(seen(Some(text)), Have::default()) {
            Answer::Again { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        // A date is not worth a clock that may be wrong.
        assert_eq!(after("Fri, 07 Nov 2014 23:59:59 GMT"), None);
    }

    #[test]
    fn a_range_is_believed_only_if_it_continues_what_is_there() {
        let have = Have {
            bytes: 100,
            total: Some(300),
            etag: Some("\"a\""),
        };
        let body = Answer::Body {
            from: 100,
            total: 300,
        };
        let cases = [
            (
                206,
                Some("bytes 100-299/300"),
                Some("200"),
                Some("\"a\""),
                Some(&body),
            ),
            (206, Some("bytes 100-299/300"), None, None, Some(&body)),
            (206, Some("bytes 0-299/300"), None, None, None),
            (206, Some("bytes 100-200/300"), None, None, None),
            (206, Some("bytes 100-299/*"), None, None, None),
            (206, Some("bytes 100-399/400"), None, None, None),
            (206, Some("bytes 100-299/300"), Some("300"), None, None),
            (206, Some("bytes 100-299/300"), None, Some("\"b\""), None),
            (
                206,
                Some("bytes 100-18446744073709551615/300"),
                None,
                None,
                None,
            ),
            (206, None, Some("200"), None, None),
            (416, Some("bytes */300"), None, None, None),
            (
                416,
                Some("bytes */100"),
                None,
                None,
                Some(&Answer::Complete),
            ),
        ];
        for (status, content_range, content_length, etag, expected) in cases {
            let seen = Seen {
                status,
                content_length,
                content_range,
                etag,
                retry_after: None,
            };
            let answer = judge(seen, have);
            match expected {
                Some(expected) => assert_eq!(answer, *expected, "{seen:?}"),
                None => assert!(
                    matches!(answer, Answer::StartOver(_)),
                    "{seen:?}: {answer:?}"
                ),
            }
        }
        let ignored = Seen {
            status: 200,
            content_length: Some("300"),
            ..Seen::default()
        };
        assert_eq!(
            judge(ignored, have),
            Answer::Body {
                from: 0,
                total: 300
            }
        );
    }

    #[test]
    fn weak_validators_do_not_guard_a_range() {
        assert_eq!(strong(Some("\"a\"")), Some("\"a\""));
        assert_eq!(strong(Some("W/\"a\"")), None);
        assert_eq!(strong(None), None);
    }
}
