//! Up to when terminals have been heard: messages wait in the broker's queue, and whoever waits for
//! an answer must not count that time.
//!
//! The station sends messages to itself, through the same queue. When one comes back, all that had
//! come to the broker before it has been received.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time between two messages to itself.
pub const PAUSE: Duration = Duration::from_millis(500);
/// Most of them on their way.
const MOST: usize = 1000;
/// Silence after which the queue is taken as empty, where the broker lets the station not write to
/// itself.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest time that a message is thought to wait at the broker, or while it is away: whatever
/// happens, orders expire and are sent again in the end.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What is known of the broker's queue.
#[derive(Debug, Default)]
pub struct Heard {
    /// Numbers and times of the messages to itself.
    sent: VecDeque<(u64, Instant)>,
    next: u64,
    /// Messages received and handled so far.
    received: u64,
    handled: u64,
    /// Those that came back, and the messages that had been received then.
    returned: VecDeque<(u64, u64)>,
    /// All that reached the broker before this has been received.
    until: Option<Instant>,
    /// While there is a connection: its beginning, or the last message on it.
    last: Option<Instant>,
    /// Beginning of the connection.
    since: Option<Instant>,
    /// Whether a message to itself came back on this connection.
    hears_itself: bool,
}

impl Heard {
    /// Notes a new connection.
    pub fn connected(&mut self, now: Instant) {
        self.last = Some(now);
        self.since = Some(now);
        self.hears_itself = false;
    }

    /// Notes the end of the connection.
    pub fn disconnected(&mut self) {
        self.last = None;
    }

    /// Notes a message from a terminal.
    pub fn received(&mut self, now: Instant) {
        self.last = self.last.map(|_| now);
        self.received = self.received.wrapping_add(1);
    }

    /// Notes that so many messages have been handled or dropped.
    pub fn handled(&mut self, count: usize) {
        self.handled = self.handled.wrapping_add(count as u64);
        while let Some((number, before)) = self.returned.front().copied() {
            if before > self.handled {
                break;
            }
            self.returned.pop_front();
            self.settle(number);
        }
    }

    /// Returns the number for a message to itself that is sent now.
    pub fn probe(&mut self, now: Instant) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.sent.push_back((self.next, now));
        if self.sent.len() > MOST {
            self.sent.pop_front();
        }
        self.next
    }

    /// Notes that a message to itself came back: it counts once what came before it is handled.
    /// Terminals are served in turn, so that is so but for the later ones of many messages of one.
    pub fn returned(&mut self, number: u64) {
        self.returned.push_back((number, self.received));
        if self.returned.len() > MOST {
            self.returned.pop_front();
        }
        self.handled(0);
    }

    fn settle(&mut self, number: u64) {
        while let Some((first, at)) = self.sent.front().copied().filter(|one| one.0 <= number) {
            if first == number {
                self.hears_itself = true;
                self.until = Some(self.until.map_or(at, |until| until.max(at)));
            }
            self.sent.pop_front();
        }
    }

    /// Tells whether the broker seems not to let the station write to itself.
    pub fn is_denied(&self, now: Instant) -> bool {
        let silence = self.last.map(|at| now.saturating_duration_since(at));
        let connected = self.since.map(|at| now.saturating_duration_since(at));
        let is_silent = silence.is_some_and(|silence| silence >= SILENCE);
        let is_long = connected.is_some_and(|connected| connected >= LONGEST);
        self.last.is_some() && !self.hears_itself && (is_silent || is_long)
    }

    /// Returns how long ago it is up to when terminals have been heard.
    pub fn lag(&self, now: Instant) -> Duration {
        let returned = self.until.map(|at| now.saturating_duration_since(at));
        let silence = self.last.map(|at| now.saturating_duration_since(at));
        let all_handled = self.handled >= self.received;
        let silence = silence.filter(|silence| all_handled && *silence >= SILENCE);
        let lag = returned.into_iter().chain(silence.map(|_| SILENCE)).min();
        lag.map_or(LONGEST, |lag| lag.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn messages_behind_a_long_queue_are_not_counted_as_heard() {
        let start = Instant::now();
        let mut heard = Heard::default();
        assert_eq!(heard.lag(start), LONGEST);
        heard.connected(start);
        let first = heard.probe(start);
        let second = heard.probe(start + seconds(1));
        for second in 0..=40 {
            heard.received(start + seconds(second));
        }
        assert_eq!(heard.lag(start + seconds(40)), LONGEST);
        heard.returned(first);
        assert_eq!(heard.lag(start + seconds(40)), LONGEST, "not handled");
        heard.handled(41);
        assert_eq!(heard.lag(start + seconds(40)), seconds(40));
        heard.returned(second);
        heard.returned(first);
        assert_eq!(heard.lag(start + seconds(40)), seconds(39));
        assert_eq!(heard.lag(start + seconds(4000)), SILENCE);
    }

    #[test]
    fn a_broker_that_denies_the_station_its_own_topic_delays_little_and_never_for_ever() {
        let start = Instant::now();
        let mut heard = Heard::default();
        heard.connected(start);
        assert_eq!(heard.lag(start + seconds(4)), LONGEST);
        assert_eq!(heard.lag(start + seconds(5)), SILENCE);
        assert!(heard.is_denied(start + seconds(5)) && !heard.is_denied(start + seconds(4)));
        for second in 5..400 {
            heard.received(start + seconds(second));
        }
        assert!(
            heard.is_denied(start + seconds(400)),
            "a busy broker, for minutes"
        );
        let mut heard = Heard::default();
        heard.connected(start);
        heard.received(start + seconds(5));
        assert_eq!(heard.lag(start + seconds(5)), LONGEST);
        heard.disconnected();
        heard.received(start + seconds(6));
        assert_eq!(heard.lag(start + seconds(100)), LONGEST);
    }

    #[test]
    fn attack_numbers_that_were_never_sent_change_nothing() {
        let now = Instant::now();
        let mut heard = Heard::default();
        heard.returned(7);
        assert_eq!(heard.lag(now), LONGEST);
        for _ in 0..10 * MOST {
            heard.probe(now);
        }
        assert_eq!(heard.sent.len(), MOST);
    }
}
