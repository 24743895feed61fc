//! The thread that moves the MQTT connection on.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use dau_protocol::{shortened, Channel, Topic};
use native_tls::TlsConnector;
use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{
    AsyncClient, ConnectionError, Event as MqttEvent, EventLoop, Packet, QoS, StateError, SubAck,
    SubscribeFilter, SubscribeReasonCode,
};

use super::relay::Relay;
use super::{LinkEvent, Message, Shared};
use crate::backoff::Backoff;
use crate::identity::Identity;
use crate::settings::Settings;

/// A connection that held for so long was a good one: the next pause is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// Longest error of a connection that is logged, in bytes: some quote what came.
const MAX_REASON: usize = 500;

pub struct Poll {
    relay: Relay,
    eventloop: EventLoop,
    client: AsyncClient,
    identity: Identity,
    /// Host name or address and port of the broker.
    broker: (String, u16),
    /// Made of the TLS files that could be used last.
    tls: Option<TlsConnector>,
    filters: Vec<SubscribeFilter>,
    shared: Arc<Shared>,
    tell: Box<dyn Fn(LinkEvent) -> bool + Send>,
    backoff: Backoff,
    /// Time at which the broker accepted the connection.
    opened: Option<Instant>,
    /// Longest wait for the broker to let us hear what is for us.
    patience: Duration,
    /// Length of the message for which the session is being thrown away.
    oversize: Option<usize>,
    /// Length of the message that went with a session, to be told once there is a connection.
    dropped: Option<usize>,
}

impl Poll {
    pub fn new(
        (relay, mut eventloop): (Relay, EventLoop),
        client: AsyncClient,
        identity: Identity,
        shared: Arc<Shared>,
        tell: Box<dyn Fn(LinkEvent) -> bool + Send>,
        settings: &Settings,
    ) -> Self {
        let broker = (settings.host.clone(), settings.port);
        let settings = &settings.mqtt;
        let mut network = eventloop.network_options();
        network.set_connection_timeout(settings.connect_timeout.as_secs().max(1));
        eventloop.set_network_options(network);
        let filter = |channel| {
            let path = Topic::new(&identity.terminal, channel).to_string();
            SubscribeFilter::new(path, QoS::AtLeastOnce)
        };
        Poll {
            relay,
            eventloop,
            client,
            filters: [Channel::Command, Channel::Response].map(filter).to_vec(),
            identity,
            broker,
            tls: None,
            shared,
            tell,
            backoff: Backoff::new(settings.backoff),
            opened: None,
            patience: settings.connect_timeout,
            oversize: None,
            dropped: None,
        }
    }

    /// Runs until the main loop is gone or has said good-bye.
    pub fn run(mut self) {
        let mut alive = true;
        while alive {
            alive = match self.prepare() {
                Ok(()) => self.advance(),
                Err(error) => self.lost(&format!("{error:#}")),
            };
        }
        self.eventloop.network = None;
        self.relay.finish();
    }

    fn advance(&mut self) -> bool {
        match self.relay.block_on(self.eventloop.poll()) {
            Ok(MqttEvent::Incoming(packet)) => self.incoming(packet),
            // The keep-alive, at the latest.
            Ok(MqttEvent::Outgoing(_)) => self.check_subscription(),
            Err(ConnectionError::RequestsDone) => false,
            Err(error) => self.failed(&error),
        }
    }

    /// Connects to the broker, unless there is a connection. Our certificate and the station's CA
    /// are read before, since they may have been renewed; if the new ones cannot be used, those of
    /// the last connection are.
    fn prepare(&mut self) -> anyhow::Result<()> {
        if self.eventloop.network.is_some() {
            return Ok(());
        }
        match self.identity.mqtt() {
            Ok(connector) => self.tls = Some(connector),
            Err(error) => log::error!("{error:#}; read again at the next connection"),
        }
        let tls = self.tls.clone().context("no TLS files that can be used")?;
        let (host, port) = &self.broker;
        self.relay.connect((host, *port), tls, self.patience)
    }

    /// Passes an event on. Returns false if nobody listens any more.
    fn tell(&self, event: LinkEvent) -> bool {
        (self.tell)(event)
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
            Packet::SubAck(ack) => match self.denied(&ack) {
                None => self.subscribed(),
                Some(reason) => self.give_up(&reason),
            },
            Packet::PubComp(_) => self.tell(LinkEvent::Delivered),
            _ => true,
        }
    }

    fn connected(&mut self) -> bool {
        self.opened = Some(Instant::now());
        self.shared.connection.fetch_add(1, Ordering::Relaxed);
        // Each time: a session that the broker saved before it knew our topics would leave us deaf.
        let filters = self.filters.clone();
        if self.client.try_subscribe_many(filters).is_err() {
            log::error!("no room to subscribe");
        }
        // Answers to what the broker kept for us may go out at once.
        self.shared.open.store(true, Ordering::Relaxed);
        true
    }

    /// Returns a complaint if the broker denies us a topic.
    fn denied(&self, ack: &SubAck) -> Option<String> {
        let heard = |index| {
            let code = ack.return_codes.get(index);
            matches!(code, Some(SubscribeReasonCode::Success(_)))
        };
        let filters = self.filters.iter().enumerate();
        let denied: Vec<_> = filters
            .filter(|(index, _)| !heard(*index))
            .map(|(_, filter)| filter.path.as_str())
            .collect();
        (!denied.is_empty()).then(|| {
            format!(
                "the broker denies us {}: its access list must let '{}' read them, and our \
                 certificate must have that common name",
                denied.join(" and "),
                self.identity.terminal
            )
        })
    }

    fn subscribed(&mut self) -> bool {
        if self.shared.up.swap(true, Ordering::Relaxed) {
            return true;
        }
        let dropped = self.dropped.take().map(LinkEvent::Oversize);
        self.tell(LinkEvent::Connected) && dropped.is_none_or(|event| self.tell(event))
    }

    /// Gives up a connection whose broker never answers the subscription.
    fn check_subscription(&mut self) -> bool {
        let late = self.opened.is_some_and(|at| at.elapsed() > self.patience);
        if late && !self.shared.up.load(Ordering::Relaxed) {
            return self.give_up("the broker does not answer our subscription");
        }
        true
    }

    /// Ends a connection that is of no use.
    fn give_up(&mut self, reason: &str) -> bool {
        log::error!("{reason}");
        self.eventloop.clean();
        self.lost(reason)
    }

    /// Connects once more with a session that lasts, after one with a clean session.
    fn session_thrown_away(&mut self) -> bool {
        self.dropped = self.oversize.take();
        self.eventloop.mqtt_options.set_clean_session(false);
        self.eventloop.clean();
        true
    }

    fn failed(&mut self, error: &ConnectionError) -> bool {
        if let Some(length) = oversize(error) {
            // The broker would send it again on every connection, for ever.
            log::error!("a message of {length} bytes is too long: throwing the session away");
            self.oversize = Some(length);
            let options = &mut self.eventloop.mqtt_options;
            options.set_clean_session(true);
        }
        let reason = self.relay.ended_with();
        self.lost(&reason.unwrap_or_else(|| error.to_string()))
    }

    /// Pauses before the next connection.
    fn lost(&mut self, reason: &str) -> bool {
        if self.shared.stopping.load(Ordering::Relaxed) {
            return false;
        }
        self.relay.close();
        self.shared.open.store(false, Ordering::Relaxed);
        let was_up = self.shared.up.swap(false, Ordering::Relaxed);
        let opened = self.opened.take();
        if was_up && opened.is_some_and(|at| at.elapsed() >= GOOD_CONNECTION) {
            self.backoff.reset();
        }
        let pause = self.backoff.next();
        log::warn!(
            "no connection to the station: {}; again in {:.1} s",
            shortened(reason, MAX_REASON),
            pause.as_secs_f64()
        );
        if was_up && !self.tell(LinkEvent::Disconnected) {
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
