//! The connection to the broker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use dau_protocol::{Channel, Topic, MAX_PACKET};
use log::{error, info, warn};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, SubAck, SubscribeReasonCode,
    Transport,
};
use tokio::sync::{mpsc, watch, Notify};

use super::inbox::{Inbox, Limits};
use super::tls;
use crate::config::Mqtt;
use crate::store::outbox::Outgoing;

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
}

/// Publishes messages.
#[derive(Debug, Clone)]
pub struct Link {
    client: AsyncClient,
    /// `None`: connected; else the reason why not.
    problem: watch::Receiver<Option<String>>,
}

impl Link {
    /// Tells whether the broker is connected and the subscriptions are active.
    pub fn is_up(&self) -> bool {
        self.problem.borrow().is_none()
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
    receipts: mpsc::UnboundedSender<Receipt>,
}

impl Shared {
    /// Locks the inbox.
    pub fn inbox(&self) -> MutexGuard<'_, Inbox<Received>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a message acknowledged to the broker.
    pub fn acknowledge(&self, receipt: Receipt) {
        let _ = self.receipts.send(receipt);
    }
}

/// Starts the connection, which runs for ever.
pub fn start(mqtt: &Mqtt) -> Result<(Link, Arc<Shared>)> {
    let (client, event_loop) = AsyncClient::new(options(mqtt)?, QUEUE);
    let (problem, watch) = watch::channel(Some("not connected yet".to_owned()));
    let link = Link {
        client: client.clone(),
        problem: watch,
    };
    let (receipts, received) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        inbox: Mutex::new(Inbox::new(Limits::default(), Instant::now())),
        filled: Notify::new(),
        connection: watch::channel(0).0,
        receipts,
    });
    tokio::spawn(acknowledge(client.clone(), Arc::clone(&shared), received));
    let poller = Poller {
        mqtt: mqtt.clone(),
        client,
        problem,
        shared: Arc::clone(&shared),
        pause: FIRST_PAUSE,
    };
    tokio::spawn(poller.run(event_loop));
    Ok((link, shared))
}

fn options(mqtt: &Mqtt) -> Result<MqttOptions> {
    let mut options = MqttOptions::new(&mqtt.client_id, &mqtt.host, mqtt.port);
    options
        .set_transport(Transport::tls_with_config(tls::connector(mqtt)?.into()))
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(Duration::from_secs(u64::from(mqtt.keep_alive_seconds)))
        .set_max_packet_size(MAX_PACKET, MAX_PACKET);
    Ok(options)
}

/// Sends acknowledgements to the broker. They come from the connection, which cannot wait for
/// itself, and from the intake; there are no more than MQTT has packet ids.
async fn acknowledge(
    client: AsyncClient,
    shared: Arc<Shared>,
    mut receipts: mpsc::UnboundedReceiver<Receipt>,
) {
    while let Some(receipt) = receipts.recv().await {
        // After a reconnection the broker sends unacknowledged messages again, maybe under other
        // packet ids.
        let same_connection = receipt.connection == *shared.connection.borrow();
        if receipt.publish.qos != QoS::AtMostOnce && same_connection {
            let _ = client.ack(&receipt.publish).await;
        }
    }
}

struct Poller {
    mqtt: Mqtt,
    client: AsyncClient,
    problem: watch::Sender<Option<String>>,
    shared: Arc<Shared>,
    pause: Duration,
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
                Ok(Event::Incoming(Packet::SubAck(ack))) => match refused(&ack) {
                    None => {
                        self.pause = FIRST_PAUSE;
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
        let filters = [Channel::Reply, Channel::Request, Channel::Data]
            .map(|channel| rumqttc::SubscribeFilter::new(Topic::filter(channel), QoS::AtLeastOnce));
        let client = self.client.clone();
        // Waits for the loop that calls this, hence in another task.
        tokio::spawn(async move {
            if let Err(error) = client.subscribe_many(filters).await {
                error!("cannot subscribe: {error}");
            }
        });
    }

    fn pass_on(&self, mut publish: Publish) {
        // Release the buffer, which is shared with other messages.
        let payload = std::mem::take(&mut publish.payload).to_vec();
        let topic = std::mem::take(&mut publish.topic);
        let receipt = Receipt {
            publish,
            connection: *self.shared.connection.borrow(),
        };
        let parsed: Result<Topic, _> = topic.parse();
        let terminal = match parsed {
            Ok(topic) => topic.device,
            Err(error) => {
                warn!("message ignored: {error}");
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
        let dropped = self
            .shared
            .inbox()
            .push(Instant::now(), &terminal, bytes, received);
        for received in dropped {
            self.shared.acknowledge(received.receipt);
        }
        self.shared.filled.notify_one();
    }
}

/// Returns the reason for a refused subscription, if any.
fn refused(ack: &SubAck) -> Option<String> {
    let granted =
        |code| matches!(code, &SubscribeReasonCode::Success(qos) if qos != QoS::AtMostOnce);
    let all = !ack.return_codes.is_empty() && ack.return_codes.iter().all(granted);
    (!all).then(|| {
        let codes = &ack.return_codes;
        format!(
            "the broker refuses the subscriptions to reply, request and data ({codes:?}): give the \
             station its rights there with QoS 1 (see the broker's acl)"
        )
    })
}

/// Returns a random time between half of `pause` and all of it, so that the clients of a restarted
/// broker do not all return at once.
fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    let _ = openssl::rand::rand_bytes(&mut byte);
    let [byte] = byte;
    pause.mul_f64(0.5 + f64::from(byte) / 510.0)
}
