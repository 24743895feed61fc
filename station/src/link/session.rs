//! The connection to the broker.

use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use dau_protocol::{Topic, Word, MAX_MESSAGE};
use log::{error, info, warn};
use native_tls::{Certificate, Identity, Protocol, TlsConnector};
use openssl::pkey::PKey;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode,
    Transport,
};
use tokio::sync::{mpsc, watch, Notify};

use super::{inbound, Outgoing};
use crate::clock;
use crate::config::{Config, Mqtt};
use crate::store::Store;

/// Messages taken in by one transaction: a commit waits for the disk, so at scale many must share one.
const BATCH: usize = 256;
/// Waiting messages beyond which those are dropped that the sender does not want acknowledged. The others are bounded
/// by the broker's own limit of messages in flight.
const MAX_UNACKNOWLEDGED: usize = 10_000;
/// Commands and acknowledgements that wait for the connection.
const QUEUE: usize = 1024;
/// MQTT's fixed header, topic and packet id around a message.
const PACKET_OVERHEAD: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A message and the connection it came by.
struct Received {
    publish: Publish,
    connection: u64,
}

/// Speaks to the broker.
#[derive(Debug, Clone)]
pub struct Link {
    client: AsyncClient,
    connected: watch::Receiver<bool>,
}

impl Link {
    /// Whether the broker is connected and the subscriptions stand.
    pub fn is_up(&self) -> bool {
        *self.connected.borrow()
    }

    /// Publishes with QoS 1; waits while the connection is busy.
    pub async fn publish(&self, message: Outgoing) {
        let Outgoing { topic, payload } = message;
        let sent = self.client.publish(topic, QoS::AtLeastOnce, false, payload);
        if let Err(error) = sent.await {
            // Only where the event loop is gone. Whatever matters is sent again after the next start.
            error!("cannot publish: {error}");
        }
    }
}

/// Starts the connection and the taking in of messages; both go on for ever.
pub fn start(config: Arc<Config>, store: Store, wake: Arc<Notify>) -> Result<Link> {
    let (client, event_loop) = AsyncClient::new(options(&config.mqtt)?, QUEUE);
    let (sender, receiver) = mpsc::unbounded_channel();
    let (connected, watch) = watch::channel(false);
    let connection = Arc::new(AtomicU64::new(0));
    let waiting = Arc::new(AtomicUsize::new(0));
    let link = Link {
        client,
        connected: watch,
    };
    let poller = Poller {
        client: link.client.clone(),
        sender,
        connected,
        connection: Arc::clone(&connection),
        waiting: Arc::clone(&waiting),
    };
    tokio::spawn(poller.run(event_loop));
    let intake = Intake {
        config,
        store,
        link: link.clone(),
        connection,
        waiting,
        wake,
    };
    tokio::spawn(intake.run(receiver));
    Ok(link)
}

fn options(mqtt: &Mqtt) -> Result<MqttOptions> {
    let mut options = MqttOptions::new(&mqtt.client_id, &mqtt.host, mqtt.port);
    options
        .set_transport(Transport::tls_with_config(tls(mqtt)?.into()))
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(Duration::from_secs(u64::from(mqtt.keep_alive_seconds)))
        .set_max_packet_size(MAX_MESSAGE + PACKET_OVERHEAD, MAX_MESSAGE + PACKET_OVERHEAD);
    Ok(options)
}

fn tls(mqtt: &Mqtt) -> Result<TlsConnector> {
    let read = |key: &str, path: &std::path::Path| {
        fs::read(path).with_context(|| format!("{key}: cannot read {}", path.display()))
    };
    let ca = read("mqtt.ca", &mqtt.ca)?;
    let certificate = read("mqtt.certificate", &mqtt.certificate)?;
    let key = read("mqtt.key", &mqtt.key)?;
    // native-tls takes PKCS#8 only; OpenSSL reads every form.
    let key = PKey::private_key_from_pem(&key)
        .and_then(|key| key.private_key_to_pem_pkcs8())
        .context("mqtt.key: not a private key in PEM without a passphrase")?;
    let identity = Identity::from_pkcs8(&certificate, &key)
        .context("mqtt.certificate and mqtt.key do not belong together")?;
    let mut builder = TlsConnector::builder();
    builder
        .disable_built_in_roots(true)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .identity(identity);
    for ca in Certificate::stack_from_pem(&ca).context("mqtt.ca: not PEM certificates")? {
        builder.add_root_certificate(ca);
    }
    builder.build().context("TLS cannot be set up")
}

struct Poller {
    client: AsyncClient,
    sender: mpsc::UnboundedSender<Received>,
    connected: watch::Sender<bool>,
    connection: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

impl Poller {
    /// Never waits for anything but the network: whoever publishes or acknowledges waits for this loop.
    async fn run(self, mut event_loop: EventLoop) {
        let mut pause = FIRST_PAUSE;
        loop {
            match event_loop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    info!("broker connected (session kept: {})", ack.session_present);
                    self.subscribe();
                }
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                        error!("the broker refuses the subscriptions: give the station its rights there (see acl)");
                        continue;
                    }
                    pause = FIRST_PAUSE;
                    self.connected.send_replace(true);
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.pass_on(publish),
                Ok(_) => {}
                Err(error) => {
                    self.connection.fetch_add(1, Ordering::SeqCst);
                    self.connected.send_replace(false);
                    let wait = with_jitter(pause);
                    warn!(
                        "broker not connected: {error}; next try in {:.1} s",
                        wait.as_secs_f64()
                    );
                    tokio::time::sleep(wait).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn subscribe(&self) {
        let filters = [Word::Reply, Word::Request, Word::Data]
            .map(|word| rumqttc::SubscribeFilter::new(Topic::filter(word), QoS::AtLeastOnce));
        let client = self.client.clone();
        // Waits for the loop that calls this, so not here.
        tokio::spawn(async move {
            if let Err(error) = client.subscribe_many(filters).await {
                error!("cannot subscribe: {error}");
            }
        });
    }

    fn pass_on(&self, publish: Publish) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if publish.qos == QoS::AtMostOnce && waiting > MAX_UNACKNOWLEDGED {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let connection = self.connection.load(Ordering::SeqCst);
        let _ = self.sender.send(Received {
            publish,
            connection,
        });
    }
}

/// Takes messages in, a batch at a time, and acknowledges them to the broker once they are on disk.
struct Intake {
    config: Arc<Config>,
    store: Store,
    link: Link,
    connection: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    wake: Arc<Notify>,
}

impl Intake {
    async fn run(self, mut receiver: mpsc::UnboundedReceiver<Received>) {
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            for reply in self.store_batch(&batch).await {
                self.link.publish(reply).await;
            }
            self.wake.notify_one();
            for received in batch.drain(..) {
                self.acknowledge(&received).await;
            }
        }
    }

    /// Stores the messages, however long that takes: the broker keeps those that follow. Returns the replies.
    async fn store_batch(&self, batch: &[Received]) -> Vec<Outgoing> {
        let messages: Vec<Publish> = batch.iter().map(|one| one.publish.clone()).collect();
        let messages = Arc::new(messages);
        loop {
            let (messages, config) = (Arc::clone(&messages), Arc::clone(&self.config));
            let stored = self.store.write(move |w| {
                let now = clock::now();
                let mut replies = Vec::new();
                for message in messages.iter() {
                    let (topic, payload) = (&message.topic, &message.payload);
                    replies.extend(inbound::take(w, now, &config.jobs, topic, payload)?);
                }
                Ok::<_, rusqlite::Error>(replies)
            });
            match stored.await {
                Ok(replies) => return replies,
                Err(error) => {
                    error!("messages cannot be stored, next try in 5 s: {error}");
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        }
    }

    async fn acknowledge(&self, received: &Received) {
        // After a reconnection the broker sends again what was not acknowledged, maybe under other packet ids.
        let same_connection = received.connection == self.connection.load(Ordering::SeqCst);
        if received.publish.qos != QoS::AtMostOnce && same_connection {
            let _ = self.link.client.ack(&received.publish).await;
        }
    }
}

/// Between half of `pause` and all of it, so that the clients of a broker that was down do not come back as one.
fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    let _ = openssl::rand::rand_bytes(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}
