//! Refused tokens: logged, counted by address, and answered with 429 if there are many.
//!
//! A valid token is accepted however many invalid ones came from the same address, which many
//! terminals and operators can share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use log::warn;

use super::auth::unauthorized;
use super::connections::Network;
use super::error::Problem;

/// Period of counting.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals per window before 429.
const MOST: u32 = 20;
/// Most addresses counted at the same time.
const MOST_ADDRESSES: usize = 4096;
/// Most log lines per window, for all addresses together.
const MOST_LINES: u32 = 60;

/// The counts of refusals.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    lines: u32,
    by_address: HashMap<Network, u32>,
}

impl Refusals {
    /// Returns the answer to a request without a valid token; `what` names the requested resource.
    pub fn refuse(&self, network: Network, token: Option<&str>, what: &str) -> Problem {
        // Requests without a token are no guesses: browsers and monitors send them.
        if token.is_none_or(str::is_empty) {
            return unauthorized();
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, is_logged) = counts.count(network, Instant::now());
        drop(counts);
        if is_logged {
            warn!(
                "login refused: an invalid token from {network}, for {what} ({count} in \
                this minute)"
            );
        }
        if count <= MOST {
            return unauthorized();
        }
        let message = "too many invalid tokens came from this address: try again later";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-refusals", message)
            .retry_after(WINDOW.as_secs())
    }
}

impl Counts {
    /// Counts a refusal. Returns the count, and whether to log it: at 1, 2, 4, 8 and so on.
    fn count(&mut self, network: Network, now: Instant) -> (u32, bool) {
        let is_over = |since: Instant| now.saturating_duration_since(since) > WINDOW;
        if self.since.is_none_or(is_over) {
            *self = Counts {
                since: Some(now),
                ..Counts::default()
            };
        }
        if self.by_address.len() >= MOST_ADDRESSES && !self.by_address.contains_key(&network) {
            return (1, false);
        }
        let count = self.by_address.entry(network).or_default();
        *count = count.saturating_add(1);
        let is_logged = count.is_power_of_two() && self.lines < MOST_LINES;
        if is_logged {
            self.lines = self.lines.saturating_add(1);
        }
        (*count, is_logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(index: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(index).into())
    }

    #[test]
    fn attack_by_many_guesses_is_limited_for_its_address_and_fills_no_log() {
        let mut counts = Counts::default();
        let now = Instant::now();
        let mut logged = 0;
        for _ in 0..100_000 {
            logged += u32::from(counts.count(network(1), now).1);
        }
        assert!(counts.count(network(1), now).0 > MOST);
        assert!((2..=MOST_LINES).contains(&logged), "{logged}");
        assert_eq!(counts.count(network(2), now).0, 1);
        let later = now + WINDOW * 2;
        assert_eq!(counts.count(network(1), later).0, 1);
    }

    #[test]
    fn attack_from_many_addresses_takes_bounded_memory_and_log() {
        let mut counts = Counts::default();
        let now = Instant::now();
        let logged = (0..100_000).filter(|index| counts.count(network(*index), now).1);
        assert_eq!(logged.count() as u32, MOST_LINES);
        assert_eq!(counts.by_address.len(), MOST_ADDRESSES);
    }

    #[test]
    fn who_shows_no_token_is_not_counted() {
        let refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.refuse(network(1), None, "REST");
        }
        assert_eq!(
            refusals.refuse(network(1), Some("bad"), "REST"),
            unauthorized()
        );
    }
}
