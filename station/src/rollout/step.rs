//! Whether terminals of a rollout may start now, its next wave opens, or it stops.

use std::collections::BTreeMap;

use super::plan::{Plan, Threshold, Unreachable};

/// How far a running rollout is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Its waves.
    pub waves: Vec<Tally>,
    /// Number of waves that are open.
    pub open: usize,
    /// When the last of them was opened.
    pub opened_at: i64,
    /// When the last result came.
    pub last_result: Option<i64>,
    /// Whether an operator has asked for the next wave.
    pub go: bool,
    /// When it expires.
    pub expires_at: i64,
}

/// How many terminals of a wave are how far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub waiting: u32,
    /// Waiting, and not linked when it was their turn.
    pub unreachable: u32,
    pub active: u32,
    pub success: u32,
    /// Ended in another way than with success.
    pub failed: u32,
    /// Of the ended ones, those that were there when the rollout was last resumed.
    pub seen_success: u32,
    pub seen_failed: u32,
    /// Words and outcomes of failures since then.
    pub words: BTreeMap<String, u32>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// At most this many terminals of the open waves may start.
    Start(u32),
    /// The next wave opens.
    Open,
    /// Nothing before this time, or before something is reported.
    Wait(Why, Option<i64>),
    /// It stops, and what is not armed is cancelled.
    Stop(Why),
    /// Nothing more starts until an operator wants it.
    Pause(Why),
    /// All terminals have ended.
    Done,
    /// Its time is over.
    Expired,
}

/// Why a rollout does nothing more.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// Its start has not come.
    Start,
    /// As many terminals are under way as may be.
    AtOnce,
    /// The last of the wave are under way, or cannot be reached.
    Results,
    /// The terminals of the wave are watched.
    Observe,
    /// The pause before the next wave.
    Pause,
    /// An operator opens the next wave.
    ByHand,
    /// This many of so many in a wave failed.
    Failures {
        wave: usize,
        failed: u32,
        ended: u32,
    },
    /// A terminal in a wave failed with this word.
    Word { wave: usize, word: String },
    /// Too few in a wave succeeded.
    Success {
        wave: usize,
        success: u32,
        ended: u32,
    },
}

impl Why {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Why::Start => "start",
            Why::AtOnce => "at-once",
            Why::Results => "results",
            Why::Observe => "observe",
            Why::Pause => "pause",
            Why::ByHand => "by-hand",
            Why::Failures { .. } => "failures",
            Why::Word { .. } => "word",
            Why::Success { .. } => "success",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Start => f.write_str("its start has not come"),
            Why::AtOnce => f.write_str("as many terminals are under way as may be"),
            Why::Results => f.write_str("the last terminals of the wave have not ended"),
            Why::Observe => f.write_str("the terminals of the wave are watched"),
            Why::Pause => f.write_str("the pause before the next wave"),
            Why::ByHand => f.write_str("the next wave is opened by hand"),
            Why::Failures {
                wave,
                failed,
                ended,
            } => {
                write!(f, "wave {wave}: {failed} of {ended} ended terminals failed")
            }
            Why::Word { wave, word } => write!(f, "wave {wave}: a terminal ended with '{word}'"),
            Why::Success {
                wave,
                success,
                ended,
            } => {
                write!(
                    f,
                    "wave {wave}: only {success} of {ended} ended terminals succeeded"
                )
            }
        }
    }
}

impl Tally {
    /// Returns the number of terminals that have ended.
    pub fn ended(&self) -> u32 {
        self.success.saturating_add(self.failed)
    }

    fn failure(&self, wave: usize, limit: &Threshold) -> Option<Why> {
        let word = limit
            .words
            .iter()
            .find(|word| self.words.get(*word).is_some_and(|n| *n > 0));
        if let Some(word) = word {
            return Some(Why::Word {
                wave,
                word: word.clone(),
            });
        }
        let failed = self.failed.saturating_sub(self.seen_failed);
        let ended = self
            .success
            .saturating_sub(self.seen_success)
            .saturating_add(failed);
        let is_share = |percent: f64| {
            ended >= limit.least && f64::from(failed) * 100.0 >= percent * f64::from(ended)
        };
        let too_many = failed > 0
            && (limit.count.is_some_and(|count| failed >= count)
                || limit.percent.is_some_and(is_share));
        too_many.then_some(Why::Failures {
            wave,
            failed,
            ended,
        })
    }

    /// Tells whether nobody in the wave keeps the next one waiting.
    fn is_over(&self, unreachable: Unreachable) -> bool {
        let left = self.waiting.saturating_add(self.active);
        match unreachable {
            Unreachable::Wait => left.saturating_add(self.unreachable) == 0,
            // A wave of which nobody could be reached has shown nothing.
            Unreachable::Later => left == 0 && (self.ended() > 0 || self.unreachable == 0),
        }
    }
}

/// Returns what a running rollout does at `now`.
pub fn next(plan: &Plan, progress: &Progress, now: i64) -> Step {
    if now >= progress.expires_at {
        return Step::Expired;
    }
    let open = progress.waves.iter().take(progress.open);
    for (number, (tally, wave)) in (1..).zip(open.clone().zip(&plan.waves)) {
        if let Some(why) = tally.failure(number, &wave.failure) {
            return Step::Stop(why);
        }
    }
    if let Some(start) = plan.start().filter(|start| now < *start) {
        return Step::Wait(Why::Start, Some(start));
    }
    let Some((tally, wave)) = progress
        .open
        .checked_sub(1)
        .and_then(|last| Some((progress.waves.get(last)?, plan.waves.get(last)?)))
    else {
        return Step::Open;
    };
    let all_over = open.clone().all(|tally| tally.is_over(plan.unreachable));
    let start = startable(progress, wave.at_once);
    if !all_over {
        return start.unwrap_or(Step::Wait(Why::Results, None));
    }
    let is_last = progress.open >= plan.waves.len();
    let next = after(plan, progress, tally, is_last, now);
    // Those that come back start meanwhile.
    match (next, start) {
        (Step::Wait(..), Some(start)) => start,
        (next, _) => next,
    }
}

/// Returns what happens after the last open wave is over.
fn after(plan: &Plan, progress: &Progress, tally: &Tally, is_last: bool, now: i64) -> Step {
    let Some(wave) = plan.waves.get(progress.open.saturating_sub(1)) else {
        return Step::Done;
    };
    let ended = tally.ended();
    let (success, needed) = (
        f64::from(tally.success) * 100.0,
        wave.success * f64::from(ended),
    );
    if success < needed && !is_last && !progress.go {
        let success = tally.success;
        return Step::Pause(Why::Success {
            wave: progress.open,
            success,
            ended,
        });
    }
    let since = progress
        .last_result
        .unwrap_or(progress.opened_at)
        .max(progress.opened_at)
        .min(now);
    // Nobody is to be watched where nobody has ended.
    let observe = if ended > 0 {
        i64::from(wave.observe)
    } else {
        0
    };
    let watched = since.saturating_add(observe);
    if now < watched && !progress.go {
        return Step::Wait(Why::Observe, Some(watched));
    }
    if is_last {
        let away: u32 = progress.waves.iter().map(|tally| tally.unreachable).sum();
        return match away {
            0 => Step::Done,
            _ => Step::Wait(Why::Results, None),
        };
    }
    let paused = watched.saturating_add(wave.pause.into());
    match () {
        () if progress.go => Step::Open,
        () if wave.by_hand => Step::Wait(Why::ByHand, None),
        () if now < paused => Step::Wait(Why::Pause, Some(paused)),
        () => Step::Open,
    }
}

/// Returns how many may start, if somebody waits.
fn startable(progress: &Progress, at_once: Option<u32>) -> Option<Step> {
    let open = progress.waves.iter().take(progress.open);
    let waiting: u32 = open
        .map(|tally| tally.waiting.saturating_add(tally.unreachable))
        .sum();
    let active: u32 = progress.waves.iter().map(|tally| tally.active).sum();
    let room = at_once.map_or(u32::MAX, |most| most.saturating_sub(active));
    match (waiting, room) {
        (0, _) => None,
        (_, 0) => Some(Step::Wait(Why::AtOnce, None)),
        _ => Some(Step::Start(room)),
    }
}

#[cfg(test)]
mod tests;
