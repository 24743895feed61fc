//! How much the station may ask of terminals at once: no more than the broker can keep of their
//! answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages that a command causes: answer, states, result, with room for what nobody asked for.
pub const COMMAND: u64 = 12;
/// Messages that a question causes.
pub const QUESTION: u64 = 2;
/// Time in which most of them come.
const BURST: Duration = Duration::from_secs(8);

/// The messages that are expected for what was sent.
#[derive(Debug)]
pub struct Window {
    capacity: u64,
    sent: VecDeque<(Instant, u64)>,
    expected: u64,
}

impl Window {
    /// Allows for so many messages.
    pub fn new(capacity: u64) -> Self {
        Window {
            capacity,
            sent: VecDeque::new(),
            expected: 0,
        }
    }

    /// Returns how many more messages may be caused now; `lag` is how long ago it is up to when
    /// terminals have been heard ([`super::heard`]).
    pub fn room(&mut self, now: Instant, lag: Duration) -> u64 {
        let wait = BURST.saturating_add(lag);
        let over = |at: Instant| now.saturating_duration_since(at) >= wait;
        while let Some((_, count)) = self.sent.front().copied().filter(|(at, _)| over(*at)) {
            self.sent.pop_front();
            self.expected = self.expected.saturating_sub(count);
        }
        self.capacity.saturating_sub(self.expected)
    }

    /// Notes what was sent now, by the messages that it causes.
    pub fn note(&mut self, now: Instant, messages: u64) {
        if messages > 0 {
            self.sent.push_back((now, messages));
            self.expected = self.expected.saturating_add(messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_when_the_answers_could_have_been_taken_in() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(100);
        window.note(start, 60);
        window.note(at(1), 40);
        assert_eq!(window.room(at(7), Duration::ZERO), 0);
        assert_eq!(
            window.room(at(8), Duration::from_secs(1)),
            0,
            "they wait at the broker"
        );
        assert_eq!(window.room(at(8), Duration::ZERO), 60);
        assert_eq!(window.room(at(9), Duration::ZERO), 100);
    }

    /// Each terminal sends at once whatever it has; the station takes in a tenth of what the window
    /// lets through, so that messages wait.
    #[test]
    fn the_brokers_queue_never_holds_more_than_the_window() {
        let start = Instant::now();
        let mut window = Window::new(1200);
        let mut queue: VecDeque<Instant> = VecDeque::new();
        let (mut left, mut most) = (10_000, 0);
        let mut now = start;
        while left > 0 || !queue.is_empty() {
            let lag = queue
                .front()
                .map_or(Duration::ZERO, |at| now.duration_since(*at));
            let orders = (window.room(now, lag) / COMMAND).min(left);
            window.note(now, orders * COMMAND);
            left -= orders;
            queue.extend((0..orders * COMMAND).map(|_| now));
            most = most.max(queue.len());
            queue.drain(..queue.len().min(15));
            now += Duration::from_secs(1);
        }
        assert_eq!(most, 1200);
    }
}
