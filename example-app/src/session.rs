//! A connection of the controlled station: its answers to APDUs and to the passing of time.
//!
//! IEC 60870-5-104: numbers and acknowledgement clause 5.1, test 5.2, start and stop 5.3, k and w
//! 5.5. No I/O here.

use std::collections::VecDeque;
use std::time::Instant;

use super::apdu::{Apdu, Function, Violation, NUMBERS};
use super::asdu;
use super::points::Points;
use super::settings::Settings;

/// Most ASDUs waiting to be sent; a control centre that asks for more without acknowledging is
/// disconnected.
const MAX_WAITING: usize = 512;

/// The state of a connection.
#[derive(Debug)]
pub struct Session<'a> {
    settings: &'a Settings,
    points: &'a Points,
    /// Between STARTDT and STOPDT.
    started: bool,
    /// V(S): number of the next ASDU to send.
    next: u16,
    /// V(R): number of the next ASDU to receive.
    expected: u16,
    /// Times of sending of the unacknowledged ASDUs.
    outstanding: VecDeque<Instant>,
    waiting: VecDeque<Vec<u8>>,
    /// Number of received ASDUs to acknowledge, and the time of the first.
    unacknowledged: Option<(u16, Instant)>,
    /// Time of the unconfirmed TESTFR.
    tested: Option<Instant>,
    heard: Instant,
}

impl<'a> Session<'a> {
    pub fn new(settings: &'a Settings, points: &'a Points, now: Instant) -> Self {
        Session {
            settings,
            points,
            started: false,
            next: 0,
            expected: 0,
            outstanding: VecDeque::new(),
            waiting: VecDeque::new(),
            unacknowledged: None,
            tested: None,
            heard: now,
        }
    }

    /// Handles an APDU and returns the answers.
    pub fn receive(&mut self, apdu: Apdu, now: Instant) -> Result<Vec<Apdu>, Violation> {
        self.heard = now;
        let mut out = Vec::new();
        match apdu {
            Apdu::Unnumbered(Function::StartAct) => {
                self.started = true;
                out.push(Apdu::Unnumbered(Function::StartCon));
            }
            Apdu::Unnumbered(Function::StopAct) => {
                self.started = false;
                self.waiting.clear();
                self.acknowledge(&mut out);
                out.push(Apdu::Unnumbered(Function::StopCon));
            }
            Apdu::Unnumbered(Function::TestAct) => out.push(Apdu::Unnumbered(Function::TestCon)),
            Apdu::Unnumbered(Function::TestCon) => self.tested = None,
            Apdu::Unnumbered(other) => {
                return Err(Violation(format!("{other:?}, which was not asked for")));
            }
            Apdu::Supervisory { receive } => self.acknowledged(receive)?,
            Apdu::Information {
                send,
                receive,
                asdu,
            } => {
                if !self.started {
                    return Err(Violation("an ASDU before STARTDT".to_owned()));
                }
                if send != self.expected {
                    let expected = self.expected;
                    return Err(Violation(format!(
                        "ASDU number {send} instead of {expected}"
                    )));
                }
                self.expected = (self.expected + 1) % NUMBERS;
                let (count, since) = self.unacknowledged.unwrap_or((0, now));
                self.unacknowledged = Some((count + 1, since));
                self.acknowledged(receive)?;
                let station = self.settings.station_address;
                self.waiting
                    .extend(asdu::answer(&asdu, station, self.points));
                if self.waiting.len() > MAX_WAITING {
                    return Err(Violation("more orders than it takes answers".to_owned()));
                }
            }
        }
        self.send(now, &mut out);
        Ok(out)
    }

    /// Handles the passing of time and returns due APDUs.
    pub fn tick(&mut self, now: Instant) -> Result<Vec<Apdu>, Violation> {
        let late =
            |since: Option<&Instant>| since.is_some_and(|at| *at + self.settings.t1() <= now);
        if late(self.outstanding.front()) {
            return Err(Violation("no acknowledgement within t1".to_owned()));
        }
        if late(self.tested.as_ref()) {
            return Err(Violation("no answer to TESTFR within t1".to_owned()));
        }
        let mut out = Vec::new();
        let due = |(_, since)| since + self.settings.t2() <= now;
        if self.unacknowledged.is_some_and(due) {
            self.acknowledge(&mut out);
        }
        if self.tested.is_none() && self.heard + self.settings.t3() <= now {
            self.tested = Some(now);
            out.push(Apdu::Unnumbered(Function::TestAct));
        }
        Ok(out)
    }

    /// Returns the earliest time when [`Session::tick`] has something to do.
    pub fn deadline(&self) -> Instant {
        let settings = self.settings;
        let test = match self.tested {
            Some(at) => at + settings.t1(),
            None => self.heard + settings.t3(),
        };
        let acknowledgement = self.unacknowledged.map(|(_, since)| since + settings.t2());
        let outstanding = self.outstanding.front().map(|at| *at + settings.t1());
        let all = [acknowledgement, outstanding];
        all.into_iter().flatten().fold(test, Instant::min)
    }

    /// Handles N(R) of the other side.
    fn acknowledged(&mut self, receive: u16) -> Result<(), Violation> {
        let left = usize::from((self.next + NUMBERS - receive) % NUMBERS);
        if left > self.outstanding.len() {
            return Err(Violation(format!(
                "ASDU {receive} acknowledged, which was not sent"
            )));
        }
        self.outstanding.drain(..self.outstanding.len() - left);
        Ok(())
    }

    /// Sends waiting ASDUs as far as k allows, and acknowledges if w is reached.
    fn send(&mut self, now: Instant, out: &mut Vec<Apdu>) {
        while self.started && self.outstanding.len() < usize::from(self.settings.k) {
            let Some(asdu) = self.waiting.pop_front() else {
                break;
            };
            out.push(Apdu::Information {
                send: self.next,
                receive: self.expected,
                asdu,
            });
            self.next = (self.next + 1) % NUMBERS;
            self.outstanding.push_back(now);
            self.unacknowledged = None;
        }
        if self
            .unacknowledged
            .is_some_and(|(count, _)| count >= self.settings.w)
        {
            self.acknowledge(out);
        }
    }

    fn acknowledge(&mut self, out: &mut Vec<Apdu>) {
        if self.unacknowledged.take().is_some() {
            out.push(Apdu::Supervisory {
                receive: self.expected,
            });
        }
    }
}
