//! What a download may still take: a pure function of what was spent and what is allowed.

use dau_model::Word;

use crate::failure::Failure;

/// Bytes that the other side may send before it hears that the terminal stops.
pub const WINDOW: u64 = 64 << 10;
/// Kept for the messages until the result is acknowledged: reports of each tenth of four tasks, and
/// three connections to the broker.
const RESERVE: u64 = 48 << 10;
/// A connection with its TLS handshake, the request and the head of the answer.
const REQUEST: u64 = 8 << 10;

/// What a download is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Ask for a package, of which so many bytes are missing; `None`: that is not known yet.
    Request(Option<u64>),
    /// Take the body of an answer, so many bytes.
    Body(u64),
    /// Go on with a body of which so many bytes are missing.
    Rest(u64),
}

impl Need {
    /// Returns the bytes that must be left for it.
    fn bytes(self) -> u64 {
        // TLS adds 22 to 29 bytes to a record, of 16 KiB or less.
        let with_tls = |bytes: u64| bytes.saturating_add(bytes / 64);
        let bytes = match self {
            Need::Request(None) => REQUEST.saturating_add(WINDOW),
            Need::Request(Some(missing)) => REQUEST.saturating_add(with_tls(missing)),
            Need::Body(missing) => with_tls(missing),
            // It fitted when it began; messages may have taken of it since.
            Need::Rest(missing) => with_tls(missing.min(WINDOW)),
        };
        bytes.saturating_add(RESERVE)
    }
}

/// Checks that `need` fits into the job's budget and the month's limit: bytes spent, bytes allowed.
pub fn check(
    need: Need,
    job: Option<(u64, u64)>,
    month: Option<(u64, u64)>,
) -> Result<(), Failure> {
    let budgets = [("the job's budget", job), ("the month's limit", month)];
    let bytes = need.bytes();
    for (name, budget) in budgets {
        let Some((spent, allowed)) = budget else {
            continue;
        };
        let left = allowed.saturating_sub(spent);
        if bytes <= left {
            continue;
        }
        let text = format!(
            "the download needs {bytes} more bytes, but of {name} of {allowed} only {left} are \
             left: order a smaller package, or raise it"
        );
        return Err(match need {
            Need::Rest(_) => Failure::failed(Word::Budget, text),
            Need::Request(_) | Need::Body(_) => Failure::refused(Word::Budget, text),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_before_it_begins() {
        let none = None;
        let job = |left: u64| Some((1_000_000, 1_000_000 + left));
        let cases = [
            (Need::Request(None), none, none, true),
            (
                Need::Request(None),
                job(RESERVE + REQUEST + WINDOW),
                none,
                true,
            ),
            (Need::Request(None), job(RESERVE + REQUEST), none, false),
            (Need::Body(640_000), job(RESERVE + 650_000), none, true),
            (Need::Body(640_000), job(RESERVE + 640_000), none, false),
            (Need::Body(640_000), none, job(RESERVE + 640_000), false),
            (
                Need::Body(640_000),
                job(1 << 30),
                job(RESERVE + 640_000),
                false,
            ),
            (
                Need::Rest(640_000),
                job(RESERVE + WINDOW + WINDOW),
                none,
                true,
            ),
            (Need::Rest(640_000), job(RESERVE + WINDOW), none, false),
            (Need::Rest(64), job(RESERVE + 65), none, true),
            (Need::Body(u64::MAX), Some((0, u64::MAX)), none, true),
            // More was spent than allowed: a limit was lowered.
            (Need::Rest(0), Some((9, 5)), none, false),
        ];
        for (need, job, month, fits) in cases {
            let checked = check(need, job, month);
            assert_eq!(checked.is_ok(), fits, "{need:?} {job:?} {month:?}");
            assert!(checked
                .err()
                .is_none_or(|failure| failure.reason.word == Word::Budget));
        }
    }
}
