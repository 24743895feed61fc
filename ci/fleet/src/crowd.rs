//! Terminals on one connection: one with its own certificate, or many that share one.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use dau_protocol::{Channel, Topic};
use rumqttc::mqttbytes::v4::{Packet, Publish};
use rumqttc::mqttbytes::QoS;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, Instant};

use crate::character::Millis;
use crate::fetch::{Fetched, Fetcher};
use crate::fleet::Shared;
use crate::repeat::Repeat;
use crate::terminal::{last_will, Act, Terminal};
use crate::wire::{Identity, Unacknowledged, Wire};

/// Pauses before a new connection, as the agent's.
const BACKOFF: (Millis, Millis) = (1_000, 300_000);

/// A connection and its terminals.
pub struct Crowd {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    pub members: Vec<Terminal>,
    numbers: HashMap<String, usize>,
    due: BTreeSet<(Millis, usize)>,
    noted: Vec<Option<Millis>>,
    unacknowledged: Unacknowledged,
    packet: u16,
    backoff: Repeat,
    fetcher: Fetcher,
    fetched: mpsc::UnboundedReceiver<(usize, Fetched)>,
}

impl Crowd {
    pub fn new(shared: Arc<Shared>, identity: Arc<Identity>, members: Vec<Terminal>) -> Self {
        let numbers = members.iter().enumerate();
        let numbers = numbers.map(|(number, member)| (member.id.clone(), number));
        let (done, fetched) = mpsc::unbounded_channel();
        Crowd {
            numbers: numbers.collect(),
            due: BTreeSet::new(),
            noted: vec![None; members.len()],
            unacknowledged: Unacknowledged::new(),
            packet: 0,
            backoff: Repeat::new(BACKOFF.0, BACKOFF.1),
            fetcher: Fetcher::new(&shared, done),
            fetched,
            shared,
            identity,
            members,
        }
    }

    /// Runs from `start` until the fleet stops; returns the terminals with what they know.
    pub async fn run(mut self, start: Instant) -> Vec<Terminal> {
        sleep_until(start).await;
        while !self.shared.stopped() {
            self.wait_for_power().await;
            match self.connect().await {
                Ok(wire) => {
                    self.shared.connected.fetch_add(1, Ordering::Relaxed);
                    let ended = self.serve(wire).await;
                    self.shared.connected.fetch_sub(1, Ordering::Relaxed);
                    self.lost();
                    if ended {
                        continue;
                    }
                }
                Err(error) => self.shared.note_failure(&error),
            }
            if self.alone_and_off() {
                continue;
            }
            let pause = match self.members.first_mut() {
                Some(member) => self.backoff.pause(&mut member.who.rng),
                None => BACKOFF.0,
            };
            self.rest_for(pause).await;
        }
        self.members
    }

    fn alone_and_off(&self) -> bool {
        matches!(self.members.as_slice(), [one] if one.off_until.is_some())
    }

    async fn wait_for_power(&mut self) {
        if let [one] = self.members.as_slice() {
            if let Some(back) = one.off_until {
                sleep_until(self.shared.instant(back)).await;
            }
        }
    }

    /// Lets jobs go on without a connection.
    async fn rest_for(&mut self, pause: Millis) {
        let end = self.shared.now() + pause;
        while self.shared.now() < end && !self.shared.stopped() {
            self.work(None);
            let next = self.due.first().map_or(end, |(at, _)| (*at).min(end));
            let next = next.max(self.shared.now() + 1);
            tokio::time::sleep_until(self.shared.instant(next)).await;
        }
    }

    async fn connect(&mut self) -> anyhow::Result<Wire> {
        let topics: Vec<String> = self
            .members
            .iter()
            .flat_map(|member| {
                [Channel::Command, Channel::Response]
                    .map(|channel| Topic::new(&member.id, channel).to_string())
            })
            .collect();
        let will = match self.members.as_slice() {
            [one] => Some((
                Topic::new(&one.id, Channel::Request).to_string(),
                last_will(&one.id),
            )),
            _ => None,
        };
        Wire::connect(&self.shared.dialer, &self.identity, will, &topics).await
    }

    /// Returns true if the connection ended because the power went or the fleet stops.
    async fn serve(&mut self, mut wire: Wire) -> bool {
        self.backoff.reset();
        for (_, message) in self.unacknowledged.values_mut() {
            message.dup = true;
            wire.publish(message);
        }
        let now = self.shared.now();
        for number in 0..self.members.len() {
            let mut acts = Vec::new();
            if self.members[number]
                .off_until
                .is_none_or(|back| back <= now)
            {
                self.members[number].connected(now, &mut acts);
            }
            self.carry_out(number, acts, Some(&mut wire));
        }
        loop {
            if self.shared.stopped() {
                wire.disconnect().await;
                return true;
            }
            if !self.work(Some(&mut wire)) {
                return true;
            }
            let next = self.due.first().map(|(at, _)| *at);
            let next = next.unwrap_or(Millis::MAX).min(self.shared.now() + 1000);
            let until = self.shared.instant(next);
            let packets = tokio::select! {
                packets = wire.turn(Some(until)) => packets,
                Some((number, fetched)) = self.fetched.recv() => {
                    let mut acts = Vec::new();
                    let now = self.shared.now();
                    self.members[number].fetched(now, fetched.job, fetched.success, &mut acts);
                    self.carry_out(number, acts, Some(&mut wire));
                    continue;
                }
            };
            match packets {
                Ok(packets) => packets
                    .into_iter()
                    .for_each(|packet| self.incoming(packet, &mut wire)),
                Err(_) => return false,
            }
        }
    }

    fn incoming(&mut self, packet: Packet, wire: &mut Wire) {
        match packet {
            Packet::Publish(publish) => {
                let topic: Option<Topic> = publish.topic.parse().ok();
                let member = topic
                    .and_then(|topic| Some((*self.numbers.get(&topic.device)?, topic.channel)));
                match member {
                    Some((number, channel)) => {
                        let now = self.shared.now();
                        let message = publish.payload.to_vec();
                        self.members[number].receive(now, channel, message, publish.pkid);
                        self.note(number);
                    }
                    None => wire.acknowledge(publish.pkid),
                }
            }
            Packet::PubAck(ack) => drop(self.unacknowledged.remove(&ack.pkid)),
            _ => {}
        }
    }

    /// Does what is due; returns false if the power of a terminal alone on its connection goes.
    fn work(&mut self, mut wire: Option<&mut Wire>) -> bool {
        let now = self.shared.now();
        while let Some((at, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, number));
            self.noted[number] = None;
            let mut acts = Vec::new();
            let member = &mut self.members[number];
            if member.off_until.is_some_and(|back| back <= now) {
                match wire {
                    Some(_) => member.connected(now, &mut acts),
                    None => member.off_until = None,
                }
            } else {
                member.tick(now, &mut acts);
            }
            if !self.carry_out(number, acts, wire.as_deref_mut()) {
                return false;
            }
        }
        true
    }

    /// Notes when a terminal is to be looked at next.
    fn note(&mut self, number: usize) {
        let due = self.members[number].due();
        if due == self.noted[number] {
            return;
        }
        if let Some(old) = self.noted[number] {
            self.due.remove(&(old, number));
        }
        if let Some(due) = due {
            self.due.insert((due, number));
        }
        self.noted[number] = due;
    }

    fn carry_out(&mut self, number: usize, acts: Vec<Act>, mut wire: Option<&mut Wire>) -> bool {
        let mut powered = true;
        for act in acts {
            match (act, wire.as_deref_mut()) {
                (
                    Act::Say {
                        channel,
                        once,
                        message,
                    },
                    Some(wire),
                ) => {
                    self.publish(number, channel, once, message, wire);
                }
                (Act::Acknowledge(packet), Some(wire)) => wire.acknowledge(packet),
                (Act::Note(news), _) => self.shared.tally.note(news, self.shared.now()),
                (Act::Accepted(job), _) => self.shared.note_job(job),
                (Act::Fetch { job, url, token }, _) => self.fetcher.fetch(number, job, url, token),
                (Act::PowerCut(_), wire) => powered = self.power_cut(number, wire),
                _ => {}
            }
        }
        self.note(number);
        powered
    }

    /// The connection goes with the power of a terminal alone on it; where others share it, the last
    /// will is sent in place of the broker.
    fn power_cut(&mut self, number: usize, wire: Option<&mut Wire>) -> bool {
        self.unacknowledged.retain(|_, (of, _)| *of != number);
        if self.members.len() == 1 {
            return wire.is_none();
        }
        if let Some(wire) = wire {
            let will = last_will(&self.members[number].id);
            self.publish(number, Channel::Request, true, will, wire);
        }
        true
    }

    fn publish(
        &mut self,
        number: usize,
        channel: Channel,
        once: bool,
        message: Vec<u8>,
        wire: &mut Wire,
    ) {
        let topic = Topic::new(&self.members[number].id, channel).to_string();
        let qos = match once {
            true => QoS::AtLeastOnce,
            false => QoS::AtMostOnce,
        };
        let mut publish = Publish::new(topic, qos, message);
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        if once {
            self.packet = self.packet.checked_add(1).unwrap_or(1);
            publish.pkid = self.packet;
            self.unacknowledged
                .insert(self.packet, (number, publish.clone()));
        }
        wire.publish(&publish);
    }

    /// What was on its way gets lost, in part.
    fn lost(&mut self) {
        let loss = self.shared.loss;
        let members = &mut self.members;
        self.unacknowledged
            .retain(|_, (number, _)| members[*number].who.rng.f64() >= loss);
        for member in members {
            member.disconnected();
        }
        for number in 0..self.members.len() {
            self.note(number);
        }
    }
}

/// Starts crowds so that `rate` connections are made in a second.
pub fn start_of(first: Instant, number: usize, rate: f64) -> Instant {
    first + Duration::from_secs_f64(number as f64 / rate)
}
