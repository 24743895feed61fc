//! The thread that moves the MQTT connection on.

use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_protocol::{Topic, Word};
use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{
    Client, Connection, ConnectionError, Event as MqttEvent, Packet, QoS, StateError,
    SubscribeFilter, SubscribeReasonCode,
};

use super::backoff::Backoff;
use super::{LinkEvent, Message, Shared};
use crate::event::Event;
use crate::settings::Mqtt;

/// A connection that held for so long was a good one: the next pause is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

pub struct Poll {
    connection: Connection,
    client: Client,
    filters: Vec<SubscribeFilter>,
    shared: Arc<Shared>,
    events: SyncSender<Event>,
    backoff: Backoff,
    /// Since when there is a connection.
    since: Option<Instant>,
    /// Length of the message for which the session is being thrown away.
    oversize: Option<usize>,
    /// Length of the message that went with a session, to be told once there is a connection.
    dropped: Option<usize>,
}

impl Poll {
    pub fn new(
        mut connection: Connection,
        client: Client,
        terminal: &str,
        shared: Arc<Shared>,
        events: SyncSender<Event>,
        settings: &Mqtt,
    ) -> Self {
        let timeout = settings.connect_timeout.as_secs().max(1);
        let mut network = connection.eventloop.network_options();
        network.set_connection_timeout(timeout);
        network.set_tcp_nodelay(true);
        connection.eventloop.set_network_options(network);
        let filter = |word| {
            let path = Topic::new(terminal, word).to_string();
            SubscribeFilter::new(path, QoS::AtLeastOnce)
        };
        Poll {
            connection,
            client,
            filters: [Word::Command, Word::Response].map(filter).to_vec(),
            shared,
            events,
            backoff: Backoff::new(settings.backoff),
            since: None,
            oversize: None,
            dropped: None,
        }
    }

    /// Runs until the main loop is gone or has said good-bye.
    pub fn run(mut self) {
        loop {
            let alive = match self.connection.recv() {
                Ok(Ok(MqttEvent::Incoming(packet))) => self.incoming(packet),
                Ok(Ok(MqttEvent::Outgoing(_))) => true,
                Ok(Err(error)) => self.failed(&error),
                Err(_) => false,
            };
            if !alive {
                return;
            }
        }
    }

    /// False when nobody listens any more.
    fn tell(&self, event: LinkEvent) -> bool {
        self.events.send(Event::Link(event)).is_ok()
    }

    fn incoming(&mut self, packet: Packet) -> bool {
        match packet {
            Packet::ConnAck(_) if self.oversize.is_some() => self.session_thrown_away(),
            Packet::ConnAck(_) => self.connected(),
            Packet::Publish(publish) => {
                let connection = self.shared.connection.load(Ordering::Relaxed);
                self.tell(LinkEvent::Message(Message {
                    publish,
                    connection,
                }))
            }
            Packet::SubAck(ack) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    log::error!("the broker refuses our topics: check its access list");
                }
                true
            }
            Packet::PubComp(_) => self.tell(LinkEvent::Delivered),
            _ => true,
        }
    }

    fn connected(&mut self) -> bool {
        self.since = Some(Instant::now());
        self.shared.connection.fetch_add(1, Ordering::Relaxed);
        // Each time: a session that the broker saved before it knew our topics would leave us deaf.
        let filters = self.filters.clone();
        if self.client.try_subscribe_many(filters).is_err() {
            log::error!("no room to subscribe");
        }
        self.shared.up.store(true, Ordering::Relaxed);
        let dropped = self.dropped.take().map(LinkEvent::Oversize);
        self.tell(LinkEvent::Connected) && dropped.is_none_or(|event| self.tell(event))
    }

    /// Connected with a clean session: connects once more, with one that lasts.
    fn session_thrown_away(&mut self) -> bool {
        self.dropped = self.oversize.take();
        let eventloop = &mut self.connection.eventloop;
        eventloop.mqtt_options.set_clean_session(false);
        eventloop.clean();
        true
    }

    fn failed(&mut self, error: &ConnectionError) -> bool {
        if self.shared.stopping.load(Ordering::Relaxed) {
            return false;
        }
        self.shared.up.store(false, Ordering::Relaxed);
        let held = self.since.take().map(|since| since.elapsed());
        if held.is_some_and(|held| held >= GOOD_CONNECTION) {
            self.backoff.reset();
        }
        if let Some(length) = oversize(error) {
            // The broker would send it again on every connection, for ever.
            log::error!("a message of {length} bytes is too long: throwing the session away");
            self.oversize = Some(length);
            let options = &mut self.connection.eventloop.mqtt_options;
            options.set_clean_session(true);
        }
        let pause = self.backoff.next();
        log::warn!(
            "no connection to the station: {error}; again in {:.1} s",
            pause.as_secs_f64()
        );
        if held.is_some() && !self.tell(LinkEvent::Disconnected) {
            return false;
        }
        std::thread::sleep(pause);
        !self.shared.stopping.load(Ordering::Relaxed)
    }
}

fn oversize(error: &ConnectionError) -> Option<usize> {
    match error {
        ConnectionError::MqttState(StateError::Deserialization(
            PacketError::PayloadSizeLimitExceeded(length),
        )) => Some(*length),
        _ => None,
    }
}
