//! The MQTT connection: a thread polls it, the main loop publishes without ever waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::Arc;

use anyhow::Context;
use dau_protocol::{message_type, Envelope, LinkDown, Topic, Word, MAX_MESSAGE};
use rumqttc::{Client, LastWill, MqttOptions, Publish, QoS, Transport};

use crate::event::Event;
use crate::identity::Identity;
use crate::settings::Settings;

pub mod backoff;
mod poll;

/// Requests that may wait for the poll thread. The main loop never waits for room.
const QUEUE: usize = 32;
/// Room beyond the longest message, so that a message that is somewhat too long gets a reply rather than a loop.
const PACKET_LIMIT: usize = 2 * MAX_MESSAGE;
/// OpenSSL's handshake and glibc's resolver live on this stack.
const STACK: usize = 512 << 10;

/// What the poll thread tells the main loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// The broker took us.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// A message for us.
    Message(Message),
    /// The broker has taken over a message of QoS 2.
    Delivered,
    /// A message was longer than we read; the session was thrown away, so that it does not come for ever.
    Oversize(usize),
}

/// A message, and the connection on which its acknowledgement makes sense.
#[derive(Debug)]
pub struct Message {
    /// As received.
    pub publish: Publish,
    connection: u32,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts connections.
    connection: AtomicU32,
    up: AtomicBool,
    stopping: AtomicBool,
}

/// Another thread's view of the connection.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }
}

/// The main loop's end of the connection.
pub struct Link {
    client: Client,
    terminal: String,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Link");
        debug
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Starts to connect, for as long as the program runs.
    pub fn start(
        settings: &Settings,
        identity: &Identity,
        events: SyncSender<Event>,
    ) -> anyhow::Result<Self> {
        let terminal = identity.terminal.clone();
        let mut options = MqttOptions::new(&terminal, &settings.host, settings.port);
        options
            .set_keep_alive(settings.mqtt.keep_alive)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_max_packet_size(PACKET_LIMIT, PACKET_LIMIT)
            .set_last_will(last_will(&terminal))
            .set_transport(Transport::tls_with_config(identity.connector()?.into()));
        let (client, connection) = Client::new(options, QUEUE);
        let shared = Arc::new(Shared::default());
        let poll = poll::Poll::new(
            connection,
            client.clone(),
            &terminal,
            shared.clone(),
            events,
            &settings.mqtt,
        );
        // Before the handshake adds its own.
        crate::memory::release_code();
        std::thread::Builder::new()
            .name("mqtt".into())
            .stack_size(STACK)
            .spawn(move || poll.run())
            .context("cannot start the MQTT thread")?;
        Ok(Link {
            client,
            terminal,
            shared,
        })
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Relaxed)
    }

    /// Lets another thread see whether there is a connection.
    pub fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }

    /// Hands a message over for sending; false where there is no connection or no room, and the message is dropped.
    pub fn publish(&self, word: Word, message: &Envelope, qos: QoS) -> bool {
        let topic = Topic::new(&self.terminal, word).to_string();
        let bytes = message.to_bytes();
        log::debug!("> {topic} {}", String::from_utf8_lossy(&bytes));
        if bytes.len() > MAX_MESSAGE {
            log::error!(
                "{} of {} bytes is too long to send",
                message.message_type,
                bytes.len()
            );
            return false;
        }
        self.is_up() && self.client.try_publish(topic, qos, false, bytes).is_ok()
    }

    /// Tells the broker that a message needs not come again. Its connection may be over: then it does come again.
    pub fn acknowledge(&self, message: &Message) {
        let current = self.shared.connection.load(Ordering::Relaxed);
        if message.connection == current && self.client.try_ack(&message.publish).is_err() {
            log::warn!("an acknowledgement found no room; the message will come again");
        }
    }

    /// Says good-bye, so that the broker does not send the last will.
    pub fn disconnect(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // No room means that the connection hangs: the last will tells the station the same.
        let _ = self.client.try_disconnect();
    }
}

fn last_will(terminal: &str) -> LastWill {
    let param = LinkDown {
        reason: "connection lost".to_owned(),
    };
    let now = dau_system::clock::now();
    let message = Envelope::request(0, terminal, now, message_type::LINK_DOWN, param);
    let topic = Topic::new(terminal, Word::Request).to_string();
    LastWill::new(topic, message.to_bytes(), QoS::AtLeastOnce, false)
}
