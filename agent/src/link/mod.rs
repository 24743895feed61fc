//! The MQTT connection: a thread polls it, the main loop publishes without ever waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dau_protocol::{message_type, Channel, Envelope, LinkDown, Topic, MAX_MESSAGE};
use rumqttc::{AsyncClient, LastWill, MqttOptions, Publish, QoS, Transport};

use crate::identity::Identity;
use crate::settings::Settings;
use crate::traffic::Traffic;

mod poll;
mod relay;

use relay::Relay;

/// Requests that may wait for the poll thread. The main loop never waits for room.
const QUEUE: usize = 32;
/// Room beyond the longest message, so that a message that is somewhat too long gets a reply rather
/// than a loop.
const PACKET_LIMIT: usize = 2 * MAX_MESSAGE;
/// Longest wait for the last messages to leave.
const PARTING: Duration = Duration::from_millis(500);
/// OpenSSL's handshake and glibc's resolver live on this stack.
const STACK: usize = 512 << 10;

/// Events from the poll thread.
#[derive(Debug)]
pub enum LinkEvent {
    /// The broker took us, and lets us hear what is for us.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// A message for us.
    Message(Message),
    /// The broker has taken over a message of QoS 2.
    Delivered,
    /// A message was longer than we read; the session was thrown away, so that it does not come for
    /// ever.
    Oversize(usize),
}

/// A message and the connection on which it may be acknowledged.
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
    /// Messages can be sent.
    open: AtomicBool,
    /// Messages for us are heard, too.
    up: AtomicBool,
    stopping: AtomicBool,
}

/// Another thread's view of the connection.
#[derive(Debug, Clone)]
pub struct LinkStatus(Arc<Shared>);

impl LinkStatus {
    /// Returns whether the station reaches us.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }
}

/// The main loop's end of the connection.
pub struct Link {
    client: AsyncClient,
    terminal: String,
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
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
    /// Starts to connect, for as long as the program runs or `tell` returns false: nobody listens
    /// any more. TLS files that cannot be used are told in the log, and read again at the next try.
    pub fn start(
        settings: &Settings,
        identity: &Identity,
        traffic: &Traffic,
        tell: impl Fn(LinkEvent) -> bool + Send + 'static,
    ) -> anyhow::Result<Self> {
        let terminal = identity.terminal.clone();
        let (relay, path) = Relay::new(traffic).context("no local socket can be made")?;
        let mut options = MqttOptions::new(&terminal, path, 0);
        options
            .set_transport(Transport::Unix)
            .set_keep_alive(settings.mqtt.keep_alive)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_max_packet_size(PACKET_LIMIT, PACKET_LIMIT)
            .set_last_will(last_will(&terminal));
        let (client, eventloop) = AsyncClient::new(options, QUEUE);
        let shared = Arc::new(Shared::default());
        let poll = poll::Poll::new(
            (relay, eventloop),
            client.clone(),
            identity.clone(),
            shared.clone(),
            Box::new(tell),
            settings,
        );
        let (alive, ended) = channel();
        std::thread::Builder::new()
            .name("mqtt".into())
            .stack_size(STACK)
            .spawn(move || {
                let _alive: Sender<()> = alive;
                poll.run();
            })
            .context("cannot start the MQTT thread")?;
        Ok(Link {
            client,
            terminal,
            shared,
            ended,
        })
    }

    /// Returns the view that another thread may keep.
    pub fn status(&self) -> LinkStatus {
        LinkStatus(self.shared.clone())
    }

    /// Hands a message over for sending. Returns false if there is no connection or no room, and
    /// the message is dropped.
    pub fn publish(&self, channel: Channel, message: &Envelope, qos: QoS) -> bool {
        let topic = Topic::new(&self.terminal, channel).to_string();
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
        let open = self.shared.open.load(Ordering::Relaxed);
        open && self.client.try_publish(topic, qos, false, bytes).is_ok()
    }

    /// Acknowledges a message to the broker. If its connection is over, the message comes again.
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
        if self.client.try_disconnect().is_ok() {
            let _ = self.ended.recv_timeout(PARTING);
        }
    }
}

fn last_will(terminal: &str) -> LastWill {
    let param = LinkDown {
        reason: "connection lost".to_owned(),
    };
    let now = dau_system::clock::now();
    let message = Envelope::request(0, terminal, now, message_type::LINK_DOWN, param);
    let topic = Topic::new(terminal, Channel::Request).to_string();
    LastWill::new(topic, message.to_bytes(), QoS::AtLeastOnce, false)
}
