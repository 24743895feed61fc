//! An MQTT connection over TLS, for one terminal or for many.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use bytes::BytesMut;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Packet, PubAck, Publish, Subscribe, SubscribeFilter,
};
use rumqttc::mqttbytes::QoS;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at, Instant};
use tokio_openssl::SslStream;

/// Patience for a connection.
const PATIENCE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: u16 = 60;
/// Longest packet.
const LIMIT: usize = dau_protocol::MAX_PACKET;
/// Topics in one subscription.
const TOPICS: usize = 500;
/// Room for what is read at once.
const ROOM: usize = 4 << 10;

/// What reaches the broker.
#[derive(Clone)]
pub struct Dialer {
    tls: SslConnector,
    port: u16,
}

/// Certificate and key of a client of the broker.
#[derive(Clone)]
pub struct Identity {
    pub name: String,
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// Messages with QoS 1 that the broker has not acknowledged: they outlive a connection.
pub type Unacknowledged = BTreeMap<u16, (usize, Publish)>;

/// A connection.
pub struct Wire {
    reader: ReadHalf<SslStream<TcpStream>>,
    writer: WriteHalf<SslStream<TcpStream>>,
    incoming: BytesMut,
    outgoing: BytesMut,
    heard: Instant,
}

impl Dialer {
    /// Trusts the certificate authority `ca` for the broker at `port` of this machine.
    pub fn new(ca: &std::path::Path, port: u16) -> Result<Self> {
        let mut tls = SslConnector::builder(SslMethod::tls_client())?;
        tls.set_ca_file(ca)?;
        Ok(Dialer {
            tls: tls.build(),
            port,
        })
    }

    /// Connects to another port of this machine, without a client's certificate.
    pub async fn open(&self, port: u16) -> Result<SslStream<TcpStream>> {
        self.dial(port, None).await
    }

    async fn dial(&self, port: u16, identity: Option<&Identity>) -> Result<SslStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut ssl = self.tls.configure()?.into_ssl("localhost")?;
        if let Some(identity) = identity {
            ssl.set_certificate(&identity.certificate)?;
            ssl.set_private_key(&identity.key)?;
        }
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await?;
        Ok(stream)
    }
}

impl Wire {
    /// Connects with a session that lasts, and subscribes.
    pub async fn connect(
        dialer: &Dialer,
        identity: &Arc<Identity>,
        will: Option<(String, Vec<u8>)>,
        topics: &[String],
    ) -> Result<Self> {
        timeout(PATIENCE, Self::connected(dialer, identity, will, topics))
            .await
            .context("the broker does not answer")?
    }

    async fn connected(
        dialer: &Dialer,
        identity: &Arc<Identity>,
        will: Option<(String, Vec<u8>)>,
        topics: &[String],
    ) -> Result<Self> {
        let stream = dialer.dial(dialer.port, Some(identity)).await?;
        let (reader, writer) = tokio::io::split(stream);
        let mut wire = Wire {
            reader,
            writer,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            heard: Instant::now(),
        };
        let mut connect = Connect::new(&identity.name);
        connect.keep_alive = KEEP_ALIVE;
        connect.clean_session = false;
        connect.last_will = will.map(|(topic, message)| LastWill {
            topic,
            message: message.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
        });
        wire.push(&Packet::Connect(connect));
        let mut early = Vec::new();
        let mut welcomed = false;
        let mut granted = 0;
        let mut asked = 0;
        while !welcomed || granted < asked {
            for packet in wire.turn(None).await? {
                match packet {
                    Packet::ConnAck(ack) => {
                        let accepted = ack.code == ConnectReturnCode::Success;
                        ensure!(accepted, "the broker refuses: {:?}", ack.code);
                        welcomed = true;
                        for (number, topics) in (1..).zip(topics.chunks(TOPICS)) {
                            let filters = topics
                                .iter()
                                .map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce));
                            let mut subscribe = Subscribe::new_many(filters);
                            subscribe.pkid = number;
                            wire.push(&Packet::Subscribe(subscribe));
                            asked += 1;
                        }
                    }
                    Packet::SubAck(_) => granted += 1,
                    other => early.push(other),
                }
            }
        }
        // What the broker kept may come before the answer to the subscription.
        for packet in early.iter().rev() {
            let mut again = BytesMut::new();
            if packet.write(&mut again, LIMIT).is_ok() {
                again.extend_from_slice(&wire.incoming);
                wire.incoming = again;
            }
        }
        Ok(wire)
    }

    fn push(&mut self, packet: &Packet) {
        // Fails for packets only that are longer than the limit; none is.
        let _ = packet.write(&mut self.outgoing, LIMIT);
    }

    /// Sends a message, for the first time or again.
    pub fn publish(&mut self, message: &Publish) {
        self.push(&Packet::Publish(message.clone()));
    }

    /// Acknowledges a message.
    pub fn acknowledge(&mut self, packet: u16) {
        self.push(&Packet::PubAck(PubAck::new(packet)));
    }

    /// Says good-bye.
    pub async fn disconnect(mut self) {
        self.push(&Packet::Disconnect);
        let _ = timeout(PATIENCE, self.writer.write_all_buf(&mut self.outgoing)).await;
    }

    /// Writes what waits, and reads until something came or `until` is over.
    pub async fn turn(&mut self, until: Option<Instant>) -> Result<Vec<Packet>> {
        let packets = self.parse()?;
        if !packets.is_empty() {
            return Ok(packets);
        }
        let ping = self.heard + Duration::from_secs(u64::from(KEEP_ALIVE) / 2);
        let until = until.map_or(ping, |until| until.min(ping));
        match timeout_at(until, self.exchange()).await {
            Ok(done) => done?,
            Err(_) if Instant::now() >= ping => {
                self.heard = Instant::now();
                self.push(&Packet::PingReq);
            }
            Err(_) => {}
        }
        self.parse()
    }

    async fn exchange(&mut self) -> io::Result<()> {
        loop {
            self.incoming.reserve(ROOM);
            tokio::select! {
                biased;
                written = self.writer.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                    written?;
                }
                read = self.reader.read_buf(&mut self.incoming) => {
                    return match read? {
                        0 => Err(io::ErrorKind::UnexpectedEof.into()),
                        _ => {
                            self.heard = Instant::now();
                            Ok(())
                        }
                    };
                }
            }
        }
    }

    fn parse(&mut self) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            match Packet::read(&mut self.incoming, LIMIT) {
                Ok(packet) => packets.push(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => return Ok(packets),
                Err(error) => bail!("the broker sent what is no packet: {error}"),
            }
        }
    }
}
