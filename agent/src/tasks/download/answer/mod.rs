//! Classifies HTTP answers for a download: a pure function of status and headers (RFC 9110).

use std::time::Duration;

use dau_model::{Reason, Word};

/// Status and headers of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    pub status: u16,
    pub content_length: Option<&'a str>,
    pub content_range: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub transfer_encoding: Option<&'a str>,
    pub etag: Option<&'a str>,
    pub retry_after: Option<&'a str>,
}

/// The part of the package that is on mnt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Have<'a> {
    /// Bytes; 0 where no range was asked for.
    pub bytes: u64,
    /// Of the whole package, if known.
    pub total: Option<u64>,
    /// Of the package that the bytes are of.
    pub etag: Option<&'a str>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The body is the package from this offset to its end.
    Body { from: u64, total: u64 },
    /// Nothing is missing.
    Complete,
    /// The bytes on mnt are of no use: ask for the whole package.
    StartOver(&'static str),
    /// The token is missing, wrong or over.
    Unauthorized,
    /// Later, perhaps.
    Again {
        after: Option<Duration>,
        reason: String,
    },
    /// Hardly the file service's last word: it is just starting, or something between answers in
    /// its place. It is asked again a few times before the job ends with this reason.
    Suspect(Reason),
    /// Never.
    End(Reason),
}

/// Returns what an answer means for the download.
pub fn classify(seen: Seen<'_>, have: Have<'_>) -> Answer {
    let end = |word, text: &str| Answer::End(Reason::new(word, text));
    match seen.status {
        200 | 206 => content(seen, have),
        416 => match range_total(seen.content_range) {
            Some(total) if total == have.bytes => Answer::Complete,
            _ => Answer::StartOver("the file service has no such range"),
        },
        401 | 403 => Answer::Unauthorized,
        404 => suspect(Word::NotFound, "the file service has no such package"),
        410 => end(
            Word::NotFound,
            "the file service has no such package any more",
        ),
        300..=399 => end(
            Word::Redirected,
            "the file service redirects, which is not followed",
        ),
        408 | 425 | 429 | 500..=599 => Answer::Again {
            after: number(seen.retry_after).map(Duration::from_secs),
            reason: format!("the file service answers {}", seen.status),
        },
        status => suspect(
            Word::HttpStatus,
            &format!("the file service answers {status}"),
        ),
    }
}

fn suspect(word: Word, text: &str) -> Answer {
    Answer::Suspect(Reason::new(word, text))
}

/// Classifies an answer that carries a package, or something else in its place.
fn content(seen: Seen<'_>, have: Have<'_>) -> Answer {
    let plain = |coding: Option<&str>, harmless: &str| {
        coding.is_none_or(|coding| coding.trim().eq_ignore_ascii_case(harmless))
    };
    if !plain(seen.content_encoding, "identity") || !plain(seen.transfer_encoding, "chunked") {
        let reason = "what answers sends the package compressed, though asked not to";
        return suspect(Word::NotAPackage, reason);
    }
    if seen.content_type.is_some_and(is_page) {
        let reason = "what answers sends an HTML page, not a package: the network's log-in page?";
        return suspect(Word::NotAPackage, reason);
    }
    // RFC 9112, 6.3: a length beside a transfer coding does not count.
    let length = seen
        .content_length
        .filter(|_| seen.transfer_encoding.is_none());
    match (seen.status, number(length)) {
        (206, length) => partial(seen, length, have),
        (_, Some(total)) => Answer::Body { from: 0, total },
        (_, None) => suspect(
            Word::NoLength,
            "the file service does not say how long the package is",
        ),
    }
}

/// Returns whether a Content-Type says that people are to read it.
fn is_page(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|page| media.eq_ignore_ascii_case(page))
}

fn partial(seen: Seen<'_>, claimed: Option<u64>, have: Have<'_>) -> Answer {
    let Some((first, last, total)) = seen.content_range.and_then(content_range) else {
        return Answer::StartOver("the file service sends a range and does not say which");
    };
    let other = |ours: Option<u64>| ours.is_some_and(|ours| ours != total);
    if other(have.total) || matches!((have.etag, seen.etag), (Some(a), Some(b)) if a != b) {
        return Answer::StartOver("the package changed on the file service");
    }
    let length = total.checked_sub(first).filter(|length| *length > 0);
    let whole = last.checked_add(1) == Some(total) && length.is_some();
    if first != have.bytes || !whole || claimed.is_some_and(|claimed| Some(claimed) != length) {
        return Answer::StartOver("the file service sends another range than asked for");
    }
    Answer::Body { from: first, total }
}

/// `bytes first-last/total`
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

/// `bytes */total`
fn range_total(text: Option<&str>) -> Option<u64> {
    text?.strip_prefix("bytes */")?.parse().ok()
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// Returns a validator that `If-Range` may carry: weak ones are not allowed there.
pub fn strong(etag: Option<&str>) -> Option<&str> {
    etag.filter(|etag| etag.starts_with('"'))
}

#[cfg(test)]
mod tests;
