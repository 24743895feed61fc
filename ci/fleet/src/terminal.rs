//! A simulated terminal: what the agent does at the protocol, as a pure state machine. Time comes
//! in, messages go out; the connection is in [`crate::crowd`].

use std::collections::VecDeque;
use std::sync::Arc;

use dau_model::{Outcome, State, Word};
use dau_protocol::report::{Device, Os, Upgradeable};
use dau_protocol::{
    code, message_type, Cancel, Channel, Envelope, Heartbeat, JobStatus, LinkDown, LinkUp,
    LinkUpAnswer, StatusQuery, Upgrade,
};
use serde::Serialize;
use serde_json::json;

use crate::character::{Character, Millis};
use crate::job::{Job, Step};
use crate::repeat::Repeat;

/// Product of the fleet.
pub const PRODUCT: &str = "fleet";
/// Version before the upgrade.
pub const OLD: &str = "1.0.0";
/// Version after it.
pub const NEW: &str = "1.1.0";

/// What all terminals have in common.
#[derive(Debug)]
pub struct Habits {
    /// Time that a job takes at least.
    pub floor: Millis,
    /// Shortest and longest pause before EVENT_LINKUP and results are repeated.
    pub repeat: (Millis, Millis),
    /// Time between two heartbeats.
    pub heartbeat: Millis,
    /// Packages are fetched.
    pub fetches: bool,
    /// Seconds since 1970 at the start of the fleet.
    pub epoch: i64,
}

/// What a terminal does.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Publishes, with QoS 1 or 0.
    Say {
        channel: Channel,
        once: bool,
        message: Vec<u8>,
    },
    /// Acknowledges the message with this packet id to the broker.
    Acknowledge(u16),
    /// Fetches the package of a job.
    Fetch {
        job: i64,
        url: String,
        token: String,
    },
    /// Its power is gone until this time.
    PowerCut(Millis),
    /// For the fleet's figures.
    Note(News),
    /// It has accepted a job, of which others may try to report.
    Accepted(i64),
}

/// What the fleet counts while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// EVENT_LINKUP was answered, for the first time on a connection.
    Welcomed,
    /// A job was accepted.
    Accepted,
    /// A result was acknowledged for the first time.
    Acknowledged,
}

#[derive(Debug)]
struct Incoming {
    at: Millis,
    channel: Channel,
    message: Vec<u8>,
    packet: u16,
}

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    pub id: String,
    habits: Arc<Habits>,
    pub who: Character,
    linked: bool,
    /// Without power until then.
    pub off_until: Option<Millis>,
    version: &'static str,
    mid: i64,
    incoming: VecDeque<Incoming>,
    link_up: Repeat,
    greeted: Option<Millis>,
    /// Time over which the station has EVENT_LINKUPs spread.
    spread: Millis,
    results: Repeat,
    heartbeat: Millis,
    /// Its jobs; the last one may be under way.
    pub jobs: Vec<Job>,
    /// When the station answered EVENT_LINKUP last.
    pub welcomed: Option<Millis>,
    /// EVENT_LINKUPs sent.
    pub link_ups: u32,
}

impl Terminal {
    pub fn new(id: String, mut who: Character, habits: Arc<Habits>) -> Self {
        let repeat = Repeat::new(habits.repeat.0, habits.repeat.1);
        Terminal {
            heartbeat: who.rng.u64(0..habits.heartbeat.max(1)),
            id,
            habits,
            who,
            linked: false,
            off_until: None,
            version: OLD,
            mid: 0,
            incoming: VecDeque::new(),
            link_up: repeat.clone(),
            greeted: None,
            spread: 0,
            results: repeat,
            jobs: Vec::new(),
            welcomed: None,
            link_ups: 0,
        }
    }

    /// Returns the time of its next act.
    pub fn due(&self) -> Option<Millis> {
        if self.off_until.is_some() {
            return self.off_until;
        }
        let job = self.jobs.last().and_then(|job| job.due);
        let heard = self.incoming.front().map(|message| message.at);
        let linked = [
            self.link_up.due,
            self.results.due,
            Some(self.heartbeat),
            heard,
        ];
        let linked = linked.into_iter().flatten().min().filter(|_| self.linked);
        job.into_iter().chain(linked).min()
    }

    /// The broker has accepted its connection.
    pub fn connected(&mut self, now: Millis, acts: &mut Vec<Act>) {
        self.linked = true;
        self.off_until = None;
        self.welcomed = None;
        self.link_up.reset();
        self.results.reset();
        match self.spread > 0 && self.jobs.last().is_none_or(|job| job.finished) {
            true => self.link_up.due = Some(now + self.who.rng.u64(0..self.spread)),
            false => self.greet(now, acts),
        }
        self.send_results(now, acts);
        if let Some(job) = self.jobs.last_mut().filter(|job| !job.finished) {
            if job.due.is_none() {
                // The download went with the power or the connection.
                job.due = Some(now);
            }
        }
    }

    /// The connection is gone. What it had received and not acknowledged comes again.
    pub fn disconnected(&mut self) {
        self.linked = false;
        self.incoming.clear();
    }

    /// A message has arrived at its modem.
    pub fn receive(&mut self, now: Millis, channel: Channel, message: Vec<u8>, packet: u16) {
        let jitter = self.who.rng.f64() * 0.5 + 0.75;
        let at = now + (self.who.latency as f64 * jitter) as Millis;
        let at = self.incoming.back().map_or(at, |last| last.at.max(at));
        self.incoming.push_back(Incoming {
            at: self.off_until.map_or(at, |back| back.max(at)),
            channel,
            message,
            packet,
        });
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis, acts: &mut Vec<Act>) {
        if self.off_until.is_some() {
            return;
        }
        while self.linked && self.incoming.front().is_some_and(|next| next.at <= now) {
            if let Some(next) = self.incoming.pop_front() {
                self.handle(now, next.channel, &next.message, acts);
                acts.push(Act::Acknowledge(next.packet));
            }
        }
        let due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        if self.linked && due(self.link_up.due) {
            self.greet(now, acts);
        }
        if self.linked && due(self.results.due) {
            self.send_results(now, acts);
        }
        if self.linked && self.heartbeat <= now {
            let dau = self.upgradeable();
            self.request(
                now,
                Channel::Request,
                message_type::HEARTBEAT,
                Heartbeat { dau },
                acts,
            );
            self.heartbeat = now + self.habits.heartbeat;
        }
        self.work(now, acts);
    }

    /// A download has ended. `None`: the token is not good any more.
    pub fn fetched(&mut self, now: Millis, job: i64, success: Option<bool>, acts: &mut Vec<Act>) {
        let Some(current) = self.jobs.last_mut().filter(|current| current.id == job) else {
            return;
        };
        if current.finished || current.due.is_some() {
            return;
        }
        match success {
            Some(true) => current.go_on(now),
            Some(false) | None => {
                current.steps.push_front((0, Step::Fetch));
                current.due = Some(now + 2000);
            }
        }
        if success.is_none() {
            let param = current.progress(50, true);
            self.request(now, Channel::Data, message_type::JOB_PROGRESS, param, acts);
        }
    }

    fn work(&mut self, now: Millis, acts: &mut Vec<Act>) {
        let first = self.jobs.len() == 1;
        let Some(job) = self.jobs.last_mut() else {
            return;
        };
        if let Some(cut) = self.who.cut.filter(|cut| first && cut.step == job.taken()) {
            if job.due.is_some_and(|due| due <= now) {
                self.who.cut = None;
                let back = now + cut.pause;
                job.due = Some(back);
                self.off_until = Some(back);
                acts.push(Act::PowerCut(back));
                return;
            }
        }
        let Some(step) = job.take_step(now) else {
            return;
        };
        match step {
            Step::Enter(state) => {
                job.states.push(state);
                let param = job.progress(0, false);
                self.request(now, Channel::Data, message_type::JOB_PROGRESS, param, acts);
            }
            Step::Progress(percent) => {
                let param = job.progress(percent, false);
                let message = self.message(now, message_type::JOB_PROGRESS, param);
                self.say(Channel::Data, false, message, acts);
            }
            Step::Fetch if self.habits.fetches => {
                job.due = None;
                let (url, token) = job.file.clone();
                let job = job.id;
                acts.push(Act::Fetch { job, url, token });
            }
            Step::Fetch => {}
            Step::Finish => {
                job.finished = true;
                if job.ending.0 == Outcome::Success {
                    self.version = NEW;
                }
                self.results.reset();
                self.send_results(now, acts);
            }
        }
    }

    fn handle(&mut self, now: Millis, channel: Channel, message: &[u8], acts: &mut Vec<Act>) {
        let Ok(envelope) = Envelope::parse(message) else {
            return;
        };
        match (channel, envelope.message_type.as_str()) {
            (Channel::Command, message_type::UPGRADE) => self.order(now, &envelope, acts),
            (Channel::Command, message_type::STATUS_QUERY) => self.query(now, &envelope, acts),
            (Channel::Command, message_type::JOB_CANCEL) => self.cancel(now, &envelope, acts),
            (Channel::Response, message_type::LINK_UP) => match envelope.code {
                Some(code::OK) => {
                    self.link_up.due = None;
                    let answer: LinkUpAnswer = envelope.param().unwrap_or_default();
                    self.spread = answer.spread * 1000;
                    if self.welcomed.replace(now).is_none() {
                        acts.push(Act::Note(News::Welcomed));
                    }
                }
                Some(code::NOT_FOUND) => {
                    self.link_up.reset();
                    let soonest = self.greeted.map_or(now, |last| last + self.habits.repeat.0);
                    self.link_up.due = Some(soonest.max(now));
                }
                _ => {}
            },
            (Channel::Response, message_type::JOB_RESULT) if envelope.code == Some(code::OK) => {
                let named: Option<StatusQuery> = envelope.param().ok();
                let named = named.map(|named| named.job_id);
                let mut jobs = self.jobs.iter_mut();
                if let Some(job) = jobs.find(|job| Some(job.id) == named) {
                    if job.acknowledged.replace(now).is_none() && !job.counted {
                        job.counted = true;
                        acts.push(Act::Note(News::Acknowledged));
                    }
                }
                if !self.jobs.iter().any(is_unreported) {
                    self.results.due = None;
                }
            }
            _ => {}
        }
    }

    /// Cancels a job until it is armed.
    fn cancel(&mut self, now: Millis, envelope: &Envelope, acts: &mut Vec<Act>) {
        let wanted: Option<Cancel> = envelope.param().ok();
        let wanted = wanted.map(|wanted| wanted.job_id);
        let mut jobs = self.jobs.iter_mut();
        let job = jobs.find(|job| {
            Some(job.id) == wanted && !job.finished && !job.states.contains(&State::Armed)
        });
        let Some(job) = job else {
            return self.reply(now, envelope, code::REFUSED, json!({}), acts);
        };
        job.ending = (Outcome::Cancelled, Word::Cancelled);
        job.steps = [(0, Step::Finish)].into();
        job.due = Some(now);
        self.reply(now, envelope, code::OK, json!({}), acts);
    }

    fn order(&mut self, now: Millis, envelope: &Envelope, acts: &mut Vec<Act>) {
        let order = match Upgrade::from_envelope(envelope) {
            Ok(order) => order,
            Err(error) => {
                let param = json!({"jobId": error.job_id, "word": error.reason.word});
                return self.reply(now, envelope, code::BAD_REQUEST, param, acts);
            }
        };
        let file = (order.file.url, order.file.token.unwrap_or_default());
        let param = json!({"jobId": order.job_id});
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == order.job_id) {
            job.orders += 1;
            job.file = file;
            let code = match job.finished {
                true => job.ending.0.code(),
                false => code::ACCEPTED,
            };
            if job.finished {
                job.acknowledged = None;
                self.results.reset();
            }
            self.reply(now, envelope, code, param, acts);
            return self.send_results(now, acts);
        }
        let clock = u64::try_from(self.clock(now)).unwrap_or(0);
        if envelope.is_expired(clock) && self.who.clock == 0 {
            return self.reply(now, envelope, code::TIMEOUT, param, acts);
        }
        if let Some(busy) = self.jobs.last().filter(|job| !job.finished) {
            let param = json!({"jobId": order.job_id, "busyWith": busy.id});
            return self.reply(now, envelope, code::REFUSED, param, acts);
        }
        let ending = match self.jobs.is_empty() {
            true => self.who.ending.clone(),
            false => (Outcome::Success, Word::Success),
        };
        let floor = self.habits.floor;
        let mut job = Job::new(order.job_id, now, floor, ending, &mut self.who.rng);
        job.file = file;
        self.jobs.push(job);
        acts.push(Act::Note(News::Accepted));
        acts.push(Act::Accepted(order.job_id));
        self.reply(now, envelope, code::ACCEPTED, param, acts);
    }

    fn query(&mut self, now: Millis, envelope: &Envelope, acts: &mut Vec<Act>) {
        let named: Option<StatusQuery> = envelope.param().ok();
        let job = named.and_then(|named| self.jobs.iter().find(|job| job.id == named.job_id));
        let Some(job) = job else {
            return self.reply(now, envelope, code::BAD_REQUEST, json!({}), acts);
        };
        let state = match job.state() {
            State::Accepted => 1,
            State::Downloading => 2,
            State::Finished => 5,
            _ => 3,
        };
        let job_id = job.id;
        let param = JobStatus {
            job_id,
            progress: 0,
            state,
        };
        self.reply(now, envelope, code::OK, param, acts);
    }

    fn greet(&mut self, now: Millis, acts: &mut Vec<Act>) {
        let param = LinkUp {
            dev: Device {
                dev_sn: self.id.clone(),
                dev_type: "DTU".to_owned(),
                dev_name: "simulated".to_owned(),
                mfg_info: "dau-fleet".to_owned(),
            },
            os: Os {
                distro: "simulated".to_owned(),
                version: self.version.to_owned(),
                kernel: "6.1.0".to_owned(),
                soft_version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            dau: self.upgradeable(),
        };
        self.request(now, Channel::Request, message_type::LINK_UP, param, acts);
        self.greeted = Some(now);
        self.link_ups += 1;
        self.link_up.done(now, &mut self.who.rng);
    }

    fn upgradeable(&self) -> Upgradeable {
        let job = self.jobs.last().filter(|job| !job.finished);
        Upgradeable {
            version: self.version.to_owned(),
            product: PRODUCT.to_owned(),
            rollback_index: 1,
            free_bytes: 1 << 30,
            job: job.map(|job| job.progress(0, false)),
            ..Upgradeable::default()
        }
    }

    fn send_results(&mut self, now: Millis, acts: &mut Vec<Act>) {
        if !self.linked {
            return;
        }
        let mut reports = Vec::new();
        for job in self.jobs.iter_mut().filter(|job| is_unreported(job)) {
            job.results += 1;
            reports.push((job.id, job.report()));
        }
        self.results.due = None;
        for (id, report) in reports {
            let message = Envelope {
                mid: id,
                ..self.message(now, message_type::JOB_RESULT, report)
            };
            self.say(Channel::Data, true, message, acts);
            self.results.done(now, &mut self.who.rng);
        }
    }

    fn clock(&self, now: Millis) -> i64 {
        self.habits.epoch + self.who.clock + (now / 1000) as i64
    }

    fn message(&mut self, now: Millis, message_type: &str, param: impl Serialize) -> Envelope {
        self.mid += 1;
        let clock = u64::try_from(self.clock(now)).unwrap_or(0);
        Envelope::request(self.mid, &self.id, clock, message_type, param)
    }

    fn request(
        &mut self,
        now: Millis,
        channel: Channel,
        message_type: &str,
        param: impl Serialize,
        acts: &mut Vec<Act>,
    ) {
        let message = self.message(now, message_type, param);
        self.say(channel, true, message, acts);
    }

    fn reply(
        &mut self,
        now: Millis,
        to: &Envelope,
        code: u16,
        param: impl Serialize,
        acts: &mut Vec<Act>,
    ) {
        let clock = u64::try_from(self.clock(now)).unwrap_or(0);
        let reply = Envelope::reply(to.mid, &self.id, clock, &to.message_type, code, "");
        self.say(Channel::Reply, true, reply.with_param(param), acts);
    }

    /// Without a connection a message is dropped, as by the agent.
    fn say(&self, channel: Channel, once: bool, message: Envelope, acts: &mut Vec<Act>) {
        if self.linked {
            acts.push(Act::Say {
                channel,
                once,
                message: message.to_bytes(),
            });
        }
    }
}

fn is_unreported(job: &Job) -> bool {
    job.finished && job.acknowledged.is_none()
}

/// Returns the last will of a terminal.
pub fn last_will(id: &str) -> Vec<u8> {
    let reason = "connection lost".to_owned();
    Envelope::request(0, id, 0, message_type::LINK_DOWN, LinkDown { reason }).to_bytes()
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
