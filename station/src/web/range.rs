//! Conditional and range requests (RFC 9110, sections 13 and 14) as pure functions.

use axum::http::{header, HeaderMap};

/// The kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 with the whole file.
    Whole,
    /// 206 with the bytes `first..=last`.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
    /// 416
    NotSatisfiable,
}

/// Decides on a request for a file of `size` bytes with this strong entity tag (with its quotes).
pub fn answer(headers: &HeaderMap, etag: &str, size: u64) -> Answer {
    if let Some(tags) = joined(headers, header::IF_MATCH) {
        if !any_tag_is(&tags, etag, false) {
            return Answer::PreconditionFailed;
        }
    }
    if let Some(tags) = joined(headers, header::IF_NONE_MATCH) {
        if any_tag_is(&tags, etag, true) {
            return Answer::NotModified;
        }
    }
    if let Some(validator) = joined(headers, header::IF_RANGE) {
        // A date never matches, as there is no Last-Modified.
        if validator.trim() != etag {
            return Answer::Whole;
        }
    }
    match joined(headers, header::RANGE) {
        Some(range) => part(&range, size),
        None => Answer::Whole,
    }
}

/// Returns the values of a repeatable header as one list.
fn joined(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn any_tag_is(tags: &str, etag: &str, weak_counts: bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let strong = match weak_counts {
            true => tag.strip_prefix("W/").unwrap_or(tag),
            false => tag,
        };
        tag == "*" || strong == etag
    })
}

/// Decides on a Range header. Invalid and multiple ranges are ignored, as the RFC allows: the whole
/// file is sent.
fn part(range: &str, size: u64) -> Answer {
    let spec = range
        .split_once('=')
        .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"))
        .and_then(|(_, spec)| spec.trim().split_once('-'));
    let Some((first, last)) = spec.map(|(first, last)| (first.trim(), last.trim())) else {
        return Answer::Whole;
    };
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.is_empty() => (first, size.saturating_sub(1)),
        (None, Some(0)) if first.is_empty() => return Answer::NotSatisfiable,
        (None, Some(count)) if first.is_empty() => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Answer::Whole,
    };
    match first < size {
        true => Answer::Part { first, last },
        false => Answer::NotSatisfiable,
    }
}

/// Parses digits only; a number that is too large becomes the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn ranges_of_1000_bytes() {
        let part = |first, last| Answer::Part { first, last };
        let cases = [
            ("bytes=0-", part(0, 999)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("Bytes = 10 - 19", part(10, 19)),
            ("bytes=999-", part(999, 999)),
            ("bytes=990-5000", part(990, 999)),
            ("bytes=-1", part(999, 999)),
            ("bytes=-1000", part(0, 999)),
            ("bytes=-5000", part(0, 999)),
            ("bytes=0-99999999999999999999999", part(0, 999)),
            ("bytes=1000-", Answer::NotSatisfiable),
            ("bytes=1000-1001", Answer::NotSatisfiable),
            ("bytes=99999999999999999999999-", Answer::NotSatisfiable),
            ("bytes=-0", Answer::NotSatisfiable),
            ("bytes=20-10", Answer::Whole),
            ("bytes=0-1,5-6", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("bytes=0-1x", Answer::Whole),
            ("items=0-1", Answer::Whole),
            ("0-1", Answer::Whole),
        ];
        for (range, expected) in cases {
            let found = answer(&headers(&[("range", range)]), TAG, 1000);
            assert_eq!(found, expected, "{range}");
        }
        assert_eq!(answer(&headers(&[]), TAG, 1000), Answer::Whole);
        for range in ["bytes=0-", "bytes=-5"] {
            let found = answer(&headers(&[("range", range)]), TAG, 0);
            assert_eq!(found, Answer::NotSatisfiable, "{range} of nothing");
        }
    }

    #[test]
    fn conditions_come_before_ranges() {
        let part = Answer::Part {
            first: 5,
            last: 999,
        };
        let cases: [(&[(&str, &str)], Answer); 12] = [
            (&[("if-range", TAG)], part),
            (&[("if-range", "\"other\"")], Answer::Whole),
            (&[("if-range", "W/\"abc\"")], Answer::Whole),
            (
                &[("if-range", "Wed, 21 Oct 2026 07:28:00 GMT")],
                Answer::Whole,
            ),
            (&[("if-none-match", TAG)], Answer::NotModified),
            (&[("if-none-match", "W/\"abc\"")], Answer::NotModified),
            (&[("if-none-match", "\"x\", \"abc\"")], Answer::NotModified),
            (&[("if-none-match", "*")], Answer::NotModified),
            (&[("if-none-match", "\"x\"")], part),
            (&[("if-match", "\"x\"")], Answer::PreconditionFailed),
            (&[("if-match", "W/\"abc\"")], Answer::PreconditionFailed),
            (&[("if-match", TAG)], part),
        ];
        for (conditions, expected) in cases {
            let mut all = vec![("range", "bytes=5-")];
            all.extend(
                conditions
                    .iter()
                    .map(|(name, value)| (*name as &'static str, *value)),
            );
            assert_eq!(
                answer(&headers(&all), TAG, 1000),
                expected,
                "{conditions:?}"
            );
        }
    }
}
