//! Received messages before they are handled: bounded per terminal and in total, whatever terminals
//! send.
//!
//! Each terminal has a share that refills with time; messages beyond it are dropped. All waiting
//! messages together stay below a bound, however many terminals use up their shares at once: beyond
//! it, the terminal with most waiting loses its last message. Terminals are served in turn, one
//! message each. A drop loses nothing that matters for good: results and link-ups are repeated
//! until they are answered, and so are orders.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_protocol::escaped;

/// Least time between two reports of drops.
const REPORT_PAUSE: Duration = Duration::from_secs(10);
/// Most terminals named in a report.
const MOST_REPORTED: usize = 1024;
/// Time between two removals of full shares.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// Limits of an inbox.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What a message takes of its terminal's share besides its bytes: its handling.
    pub overhead: u64,
    /// Memory of a message besides its bytes.
    pub memory: u64,
    /// Bytes that a terminal may send at once after silence.
    pub burst: u64,
    /// Bytes per second that refill its share.
    pub rate: u64,
    /// Memory of the waiting messages of all terminals together, bytes.
    pub total: u64,
}

impl Default for Limits {
    /// An agent sends up to one message of 300 bytes per second, and after a disconnection whatever
    /// has queued at the broker; the longest message has 256 KiB.
    fn default() -> Self {
        Limits {
            overhead: 2 << 10,
            memory: 512,
            burst: 1 << 20,
            rate: 32 << 10,
            // Debian's mosquitto 2.0.11 sends up to max_inflight_messages more for each acknowledgement, so
            // what it could keep for the station comes here: 100,000 EVENT_LINKUPs fit.
            total: 160 << 20,
        }
    }
}

/// A queue of messages that serves terminals in turn.
#[derive(Debug)]
pub struct Inbox<T> {
    limits: Limits,
    shares: HashMap<Arc<str>, Share<T>>,
    /// Terminals with waiting messages, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// The same terminals, ordered by the cost of their waiting messages.
    by_size: BTreeSet<(u64, Arc<str>)>,
    total: u64,
    swept: Instant,
    drops: Drops,
}

/// Messages of a terminal with their costs.
type Waiting<T> = VecDeque<(u64, T)>;

#[derive(Debug)]
struct Share<T> {
    waiting: Waiting<T>,
    cost: u64,
    /// Cost that it could still spend at `since`.
    left: u64,
    since: Instant,
}

#[derive(Debug)]
struct Drops {
    reported: Option<Instant>,
    messages: u64,
    bytes: u64,
    by_terminal: HashMap<Arc<str>, u64>,
}

impl<T> Inbox<T> {
    /// Returns an empty inbox.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Inbox {
            limits,
            shares: HashMap::new(),
            turns: VecDeque::new(),
            by_size: BTreeSet::new(),
            total: 0,
            swept: now,
            drops: Drops {
                reported: None,
                messages: 0,
                bytes: 0,
                by_terminal: HashMap::new(),
            },
        }
    }

    /// Tells whether so much waits that messages which the next one replaces are better left out.
    pub fn is_busy(&self) -> bool {
        self.total > self.limits.total / 16
    }

    /// Adds a message of `bytes` bytes; returns the dropped messages, which may include it.
    pub fn push(&mut self, now: Instant, terminal: &str, bytes: usize, message: T) -> Vec<T> {
        self.sweep(now);
        let spent = (bytes as u64).saturating_add(self.limits.overhead);
        let cost = (bytes as u64).saturating_add(self.limits.memory);
        let name = match self.shares.get_key_value(terminal) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(terminal),
        };
        let limits = self.limits;
        let share = self
            .shares
            .entry(Arc::clone(&name))
            .or_insert_with(|| Share {
                waiting: VecDeque::new(),
                cost: 0,
                left: limits.burst,
                since: now,
            });
        if !share.spend(&limits, now, spent) {
            self.drops.count(&name, cost);
            return vec![message];
        }
        if share.waiting.is_empty() {
            self.turns.push_back(Arc::clone(&name));
        }
        share.waiting.push_back((cost, message));
        let before = share.cost;
        share.cost = before.saturating_add(cost);
        self.by_size.remove(&(before, Arc::clone(&name)));
        self.by_size.insert((share.cost, name));
        self.total = self.total.saturating_add(cost);
        self.make_room()
    }

    /// Drops the last messages of the terminals with most waiting until the rest is within bounds.
    fn make_room(&mut self) -> Vec<T> {
        let mut dropped = Vec::new();
        while self.total > self.limits.total {
            let Some((_, name)) = self.by_size.last().cloned() else {
                break;
            };
            let Some((cost, message)) = self.remove(&name, VecDeque::pop_back) else {
                break;
            };
            self.drops.count(&name, cost);
            dropped.push(message);
        }
        dropped
    }

    /// Returns the next messages, one of each terminal in turn: at most `most`, and no more once
    /// they have `bytes` bytes.
    pub fn take(&mut self, most: usize, bytes: u64) -> Vec<T> {
        let mut taken = Vec::new();
        let mut size: u64 = 0;
        while taken.len() < most && size < bytes {
            let Some(name) = self.turns.front().cloned() else {
                break;
            };
            let Some((cost, message)) = self.remove(&name, VecDeque::pop_front) else {
                break;
            };
            size = size.saturating_add(cost);
            taken.push(message);
            // Moves to the end of the turns if it has more.
            if self.turns.front() == Some(&name) {
                self.turns.rotate_left(1);
            }
        }
        taken
    }

    fn remove(
        &mut self,
        name: &Arc<str>,
        pop: fn(&mut Waiting<T>) -> Option<(u64, T)>,
    ) -> Option<(u64, T)> {
        let share = self.shares.get_mut(name)?;
        let (cost, message) = pop(&mut share.waiting)?;
        self.by_size.remove(&(share.cost, Arc::clone(name)));
        share.cost = share.cost.saturating_sub(cost);
        match share.waiting.is_empty() {
            true if self.turns.front() == Some(name) => drop(self.turns.pop_front()),
            true => self.turns.retain(|other| other != name),
            false => drop(self.by_size.insert((share.cost, Arc::clone(name)))),
        }
        self.total = self.total.saturating_sub(cost);
        Some((cost, message))
    }

    /// Returns a log line about the drops since the last report, not too often.
    pub fn report(&mut self, now: Instant) -> Option<String> {
        self.drops.report(now)
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP_PAUSE {
            return;
        }
        self.swept = now;
        let limits = self.limits;
        self.shares.retain(|_, share| {
            !share.waiting.is_empty() || share.filled(&limits, now) < limits.burst
        });
    }
}

impl<T> Share<T> {
    fn filled(&self, limits: &Limits, now: Instant) -> u64 {
        let quiet = now.saturating_duration_since(self.since).as_millis();
        let filled = u64::try_from(quiet)
            .unwrap_or(u64::MAX)
            .saturating_mul(limits.rate)
            .checked_div(1000);
        let filled = filled.unwrap_or(0);
        self.left.saturating_add(filled).min(limits.burst)
    }

    /// Spends `cost` from the share if it has enough.
    fn spend(&mut self, limits: &Limits, now: Instant, cost: u64) -> bool {
        let filled = self.filled(limits, now);
        let Some(left) = filled.checked_sub(cost) else {
            return false;
        };
        self.left = left;
        self.since = now;
        true
    }
}

impl Drops {
    fn count(&mut self, name: &Arc<str>, cost: u64) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(cost);
        if self.by_terminal.len() < MOST_REPORTED || self.by_terminal.contains_key(name) {
            let count = self.by_terminal.entry(Arc::clone(name)).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn report(&mut self, now: Instant) -> Option<String> {
        let lately = |at: Instant| now.saturating_duration_since(at) < REPORT_PAUSE;
        if self.messages == 0 || self.reported.is_some_and(lately) {
            return None;
        }
        let most = self.by_terminal.iter().max_by_key(|(_, count)| **count);
        let (name, count) = most.map_or(("", 0), |(name, count)| (&**name, *count));
        let text = format!(
            "{} messages ({} KiB) of {} terminals were dropped, {count} of them of '{}': it sends more \
             than its share; look at what runs there, or take its certificate back",
            self.messages,
            self.bytes / 1024,
            self.by_terminal.len(),
            escaped(name)
        );
        *self = Drops {
            reported: Some(now),
            messages: 0,
            bytes: 0,
            by_terminal: HashMap::new(),
        };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        overhead: 10,
        memory: 10,
        burst: 1000,
        rate: 100,
        total: 2500,
    };

    #[test]
    fn attack_one_terminal_floods_and_another_is_heard_at_once() {
        let start = Instant::now();
        let mut inbox = Inbox::new(LIMITS, start);
        let dropped = (0..10_000).filter(|_| !inbox.push(start, "rogue", 90, "x").is_empty());
        assert_eq!(dropped.count(), 9_990);
        assert!(inbox.push(start, "honest", 90, "hello").is_empty());
        assert_eq!(inbox.take(2, u64::MAX), ["x", "hello"]);
        // Its share refills with time, but not beyond full.
        let later = start + Duration::from_secs(1);
        assert!(inbox.push(later, "rogue", 90, "x").is_empty());
        assert!(!inbox.push(later, "rogue", 90, "x").is_empty());
        let much_later = start + Duration::from_secs(1_000_000);
        let taken = (0..20).filter(|_| inbox.push(much_later, "rogue", 90, "x").is_empty());
        assert_eq!(taken.count(), 10);
    }

    #[test]
    fn attack_many_terminals_flood_and_the_quiet_one_loses_nothing() {
        let now = Instant::now();
        let mut inbox = Inbox::new(LIMITS, now);
        inbox.push(now, "honest", 90, "hello".to_owned());
        for terminal in 0..1000 {
            for _ in 0..10 {
                let name = format!("rogue-{terminal}");
                for dropped in inbox.push(now, &name, 90, name.clone()) {
                    assert_ne!(dropped, "hello");
                }
            }
        }
        assert!(inbox.total <= LIMITS.total);
        assert_eq!(inbox.take(1, u64::MAX), ["hello"]);
    }

    #[test]
    fn it_is_busy_long_before_it_drops() {
        let now = Instant::now();
        let mut inbox = Inbox::new(LIMITS, now);
        assert!(!inbox.is_busy());
        for terminal in 0..2 {
            assert!(inbox.push(now, &terminal.to_string(), 90, ()).is_empty());
        }
        assert!(inbox.is_busy());
        inbox.take(2, u64::MAX);
        assert!(!inbox.is_busy());
    }

    #[test]
    fn drops_are_reported_together_and_not_often() {
        let now = Instant::now();
        let mut inbox = Inbox::new(LIMITS, now);
        assert_eq!(inbox.report(now), None);
        for _ in 0..15 {
            inbox.push(now, "ro\x1bgue", 90, ());
        }
        let line = inbox.report(now).unwrap();
        assert!(
            line.contains("5 messages") && line.contains("ro\\u{1b}gue"),
            "{line}"
        );
        inbox.push(now, "rogue", 9000, ());
        assert_eq!(inbox.report(now), None);
        assert!(inbox.report(now + REPORT_PAUSE).is_some());
    }

    #[test]
    fn quiet_terminals_are_forgotten() {
        let now = Instant::now();
        let mut inbox = Inbox::new(LIMITS, now);
        for terminal in 0..100 {
            inbox.push(now, &format!("t{terminal}"), 90, ());
        }
        inbox.take(1000, u64::MAX);
        inbox.push(now + SWEEP_PAUSE, "t0", 90, ());
        assert_eq!(inbox.shares.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_lost_or_doubled_within_bounds(
            steps in proptest::collection::vec((0..5_u8, 0..600_usize, 0..4_usize), 0..200)
        ) {
            let now = Instant::now();
            let mut inbox = Inbox::new(LIMITS, now);
            let mut seen: Vec<usize> = Vec::new();
            for (index, (terminal, bytes, take)) in steps.iter().enumerate() {
                let now = now + Duration::from_secs(index as u64);
                seen.extend(inbox.push(now, &terminal.to_string(), *bytes, index));
                seen.extend(inbox.take(*take, 1000));
                prop_assert!(inbox.total <= LIMITS.total);
                let waiting = inbox.shares.values().filter(|share| !share.waiting.is_empty());
                prop_assert_eq!(waiting.count(), inbox.turns.len());
                prop_assert_eq!(inbox.by_size.len(), inbox.turns.len());
            }
            seen.extend(inbox.take(usize::MAX, u64::MAX));
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..steps.len()).collect::<Vec<_>>());
            prop_assert_eq!(inbox.total, 0);
        }
    }
}
