//! The connection to the broker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use dau_protocol::{Topic, MAX_PACKET};
use log::{error, info, warn};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, Transport};
use tokio::sync::{mpsc, watch, Notify};

use super::heard::{self, Heard};
use super::inbox::{Inbox, Limits};
use super::order::InOrder;
use super::{tls, topics};
use crate::config::Mqtt;
use crate::store::outbox::Outgoing;

/// EVENT_LINKUPs that a station takes in within a second, beside other work.
const LINK_UPS: u64 = 5000;
/// Most commands and acknowledgements waiting for the connection.
const QUEUE: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A received message.
#[derive(Debug)]
pub struct Received {
    pub topic: String,
    /// Its content, copied out of the network buffer.
    pub payload: Vec<u8>,
    /// Its acknowledgement.
    pub receipt: Receipt,
}

/// Acknowledges a message if it needs that.
#[derive(Debug)]
pub struct Receipt {
    publish: Publish,
    connection: u64,
    /// Its place among the messages of the connection that need an acknowledgement.
    place: u64,
}

/// Publishes messages.
#[derive(Debug, Clone)]
pub struct Link {
    client: AsyncClient,
    /// Topic of its messages to itself.
    own: Arc<str>,
    /// `None`: connected; else the reason why not.
    problem: watch::Receiver<Option<String>>,
    heard: Arc<Mutex<Heard>>,
    /// Seconds over which terminals spread their EVENT_LINKUPs.
    spread: Arc<AtomicU64>,
}

impl Link {
    /// Returns the seconds over which terminals spread their EVENT_LINKUPs.
    pub fn spread(&self) -> u64 {
        self.spread.load(Ordering::Relaxed)
    }

    /// Sets it for so many terminals. A power of two: it changes seldom, as terminals keep it.
    pub fn spread_for(&self, terminals: u64) {
        let seconds = terminals.checked_div(LINK_UPS).unwrap_or(0);
        let power = seconds.checked_ilog2().map_or(0, |log| 1_u64 << log.min(9));
        self.spread.store(power, Ordering::Relaxed);
    }

    /// Tells whether the broker is connected and the subscriptions are active.
    pub fn is_up(&self) -> bool {
        self.problem.borrow().is_none()
    }

    /// Returns how long ago it is up to when terminals have been heard.
    pub fn lag(&self) -> Duration {
        lock(&self.heard).lag(Instant::now())
    }

    /// Publishes with QoS 1; waits while the connection is busy.
    pub async fn publish(&self, message: Outgoing) {
        let Outgoing { topic, payload } = message;
        let sent = self.client.publish(topic, QoS::AtLeastOnce, false, payload);
        if let Err(error) = sent.await {
            // Only if the event loop has ended. Everything that matters is sent again after the
            // next start.
            error!("cannot publish: {error}");
        }
    }
}

/// State shared by connection and intake.
#[derive(Debug)]
pub struct Shared {
    inbox: Mutex<Inbox<Received>>,
    /// Notified when there is a message in the inbox.
    pub filled: Notify,
    /// Changes with every connection.
    connection: watch::Sender<u64>,
    heard: Arc<Mutex<Heard>>,
    receipts: mpsc::UnboundedSender<Receipt>,
}

impl Shared {
    /// Locks the inbox.
    pub fn inbox(&self) -> MutexGuard<'_, Inbox<Received>> {
        lock(&self.inbox)
    }

    /// Notes that so many messages have been handled or dropped.
    pub fn handled(&self, count: usize) {
        lock(&self.heard).handled(count);
    }

    /// Has a message acknowledged to the broker.
    pub fn acknowledge(&self, receipt: Receipt) {
        let _ = self.receipts.send(receipt);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the connection, which runs for ever.
pub fn start(mqtt: &Mqtt) -> Result<(Link, Arc<Shared>)> {
    let (client, event_loop) = AsyncClient::new(options(mqtt)?, QUEUE);
    let (problem, watch) = watch::channel(Some("not connected yet".to_owned()));
    let heard = Arc::new(Mutex::new(Heard::default()));
    let link = Link {
        client: client.clone(),
        own: topics::own(mqtt).into(),
        problem: watch,
        heard: Arc::clone(&heard),
        spread: Arc::default(),
    };
    let (receipts, received) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        inbox: Mutex::new(Inbox::new(Limits::default(), Instant::now())),
        filled: Notify::new(),
        connection: watch::channel(0).0,
        heard,
        receipts,
    });
    tokio::spawn(probe(link.clone()));
    tokio::spawn(acknowledge(client.clone(), Arc::clone(&shared), received));
    let poller = Poller {
        mqtt: mqtt.clone(),
        own: topics::own(mqtt),
        client,
        problem,
        shared: Arc::clone(&shared),
        pause: FIRST_PAUSE,
        count: 0,
    };
    tokio::spawn(poller.run(event_loop));
    Ok((link, shared))
}

fn options(mqtt: &Mqtt) -> Result<MqttOptions> {
    let mut options = MqttOptions::new(&mqtt.client_id, &mqtt.host, mqtt.port);
    options
        .set_transport(Transport::tls_with_config(tls::connector(mqtt)?.into()))
        // What the broker keeps for one of several stations, no other gets.
        .set_clean_session(mqtt.share.is_some())
        .set_manual_acks(true)
        .set_keep_alive(Duration::from_secs(u64::from(mqtt.keep_alive_seconds)))
        .set_max_packet_size(MAX_PACKET, MAX_PACKET);
    Ok(options)
}

/// Sends messages to itself, while there is a connection.
async fn probe(link: Link) {
    let mut ticks = tokio::time::interval(heard::PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut warned = false;
    loop {
        ticks.tick().await;
        if link.is_up() {
            let (number, denied) = {
                let (mut heard, now) = (lock(&link.heard), Instant::now());
                (heard.probe(now), heard.is_denied(now))
            };
            if denied && !warned {
                warn!(
                    "the broker does not pass on what the station sends to itself on {}: let it \
                     write there (see the broker's acl), or it cannot tell answers that wait at a \
                     busy broker from answers that do not come",
                    link.own
                );
            }
            warned = denied;
            link.publish(Outgoing {
                topic: link.own.to_string(),
                payload: number.to_string().into_bytes(),
            })
            .await;
        }
    }
}

/// Sends acknowledgements to the broker. They come from the connection, which cannot wait for
/// itself, and from the intake; there are no more than MQTT has packet ids.
async fn acknowledge(
    client: AsyncClient,
    shared: Arc<Shared>,
    mut receipts: mpsc::UnboundedReceiver<Receipt>,
) {
    let mut order = InOrder::default();
    while let Some(receipt) = receipts.recv().await {
        // After a reconnection the broker sends unacknowledged messages again, maybe under other
        // packet ids.
        let connection = *shared.connection.borrow();
        if receipt.publish.qos == QoS::AtMostOnce || receipt.connection != connection {
            continue;
        }
        for publish in order.next(connection, receipt.place, receipt.publish) {
            let _ = client.ack(&publish).await;
        }
    }
}

struct Poller {
    mqtt: Mqtt,
    own: String,
    client: AsyncClient,
    problem: watch::Sender<Option<String>>,
    shared: Arc<Shared>,
    pause: Duration,
    /// Messages of this connection that need an acknowledgement.
    count: u64,
}

impl Poller {
    /// Waits for nothing but the network, as publishers and acknowledgements wait for this loop.
    async fn run(mut self, mut event_loop: EventLoop) {
        loop {
            match event_loop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    info!("broker connected (session kept: {})", ack.session_present);
                    self.subscribe();
                }
                Ok(Event::Incoming(Packet::SubAck(ack))) => match topics::refused(&ack) {
                    None => {
                        self.pause = FIRST_PAUSE;
                        lock(&self.shared.heard).connected(Instant::now());
                        self.problem.send_replace(None);
                    }
                    Some(reason) => {
                        error!("{reason}");
                        event_loop.clean();
                        self.lost(&mut event_loop, reason).await;
                    }
                },
                Ok(Event::Incoming(Packet::Publish(publish))) => self.pass_on(publish),
                Ok(_) => {}
                Err(error) => self.lost(&mut event_loop, error.to_string()).await,
            }
        }
    }

    /// Waits before the next connection, and reads the certificates again for it.
    async fn lost(&mut self, event_loop: &mut EventLoop, reason: String) {
        self.shared
            .connection
            .send_modify(|connection| *connection = connection.wrapping_add(1));
        self.count = 0;
        lock(&self.shared.heard).disconnected();
        let wait = with_jitter(self.pause);
        let seconds = wait.as_secs_f64();
        warn!("broker not connected: {reason}; next try in {seconds:.1} s");
        self.problem.send_replace(Some(reason));
        tokio::time::sleep(wait).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        match tls::connector(&self.mqtt) {
            Ok(connector) => {
                let transport = Transport::tls_with_config(connector.into());
                event_loop.mqtt_options.set_transport(transport);
            }
            Err(error) => error!("certificates not read again, the old ones stay: {error:#}"),
        }
    }

    fn subscribe(&self) {
        let filters = topics::filters(&self.mqtt)
            .into_iter()
            .map(|filter| rumqttc::SubscribeFilter::new(filter, QoS::AtLeastOnce));
        let client = self.client.clone();
        // Waits for the loop that calls this, hence in another task.
        tokio::spawn(async move {
            if let Err(error) = client.subscribe_many(filters).await {
                error!("cannot subscribe: {error}");
            }
        });
    }

    fn pass_on(&mut self, mut publish: Publish) {
        // Release the buffer, which is shared with other messages.
        let payload = std::mem::take(&mut publish.payload).to_vec();
        let topic = std::mem::take(&mut publish.topic);
        let receipt = Receipt {
            publish,
            connection: *self.shared.connection.borrow(),
            place: self.count,
        };
        if receipt.publish.qos != QoS::AtMostOnce {
            self.count = self.count.wrapping_add(1);
        }
        if topic == *self.own {
            let number = std::str::from_utf8(&payload)
                .ok()
                .and_then(|text| text.parse().ok());
            if let Some(number) = number {
                lock(&self.shared.heard).returned(number);
            }
            self.shared.acknowledge(receipt);
            return;
        }
        lock(&self.shared.heard).received(Instant::now());
        let parsed: Result<Topic, _> = topic.parse();
        let terminal = match parsed {
            Ok(topic) => topic.device,
            Err(error) => {
                warn!("message ignored: {error}");
                self.shared.handled(1);
                self.shared.acknowledge(receipt);
                return;
            }
        };
        let received = Received {
            topic,
            payload,
            receipt,
        };
        let bytes = received.payload.len();
        let mut inbox = self.shared.inbox();
        // Progress within a state: nothing in the broker bounds how much of it waits here.
        if received.receipt.publish.qos == QoS::AtMostOnce && inbox.is_busy() {
            drop(inbox);
            self.shared.handled(1);
            return;
        }
        let dropped = inbox.push(Instant::now(), &terminal, bytes, received);
        drop(inbox);
        self.shared.handled(dropped.len());
        for received in dropped {
            self.shared.acknowledge(received.receipt);
        }
        self.shared.filled.notify_one();
    }
}

/// Returns a random time between half of `pause` and all of it, so that the clients of a restarted
/// broker do not all return at once.
fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    let _ = openssl::rand::rand_bytes(&mut byte);
    let [byte] = byte;
    pause.mul_f64(0.5 + f64::from(byte) / 510.0)
}
