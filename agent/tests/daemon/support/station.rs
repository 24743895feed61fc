//! The station's end of the MQTT connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_package::make::Pki;
use dau_protocol::{message_type, Channel, Envelope, JobReport, Topic};
use md5::{Digest, Md5};
use native_tls::{Certificate, TlsConnector};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS, Transport};
use serde_json::{json, Value};

use super::broker::Broker;
use super::TERMINAL;

/// More than twice the longest pause before the terminal repeats something.
const QUIET: Duration = Duration::from_millis(1200);

/// A connected station that keeps all it hears.
pub struct Station {
    client: Client,
    heard: Receiver<(Channel, Envelope)>,
    kept: Vec<(Channel, Envelope)>,
    next_mid: i64,
    /// EVENT_LINKUP is answered.
    answers: Arc<AtomicBool>,
    /// Seconds over which these answers have EVENT_LINKUPs spread.
    spread: Arc<AtomicU64>,
}

impl Station {
    pub fn connect(broker: &Broker, pki: &Pki) -> Self {
        let (certificate, key) = pki.tls_identity("station-mqtt");
        let read = |path| std::fs::read(path).unwrap();
        let identity = native_tls::Identity::from_pkcs8(&read(certificate), &read(key)).unwrap();
        let connector = TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(Certificate::from_pem(&read(pki.tls_ca())).unwrap())
            .identity(identity)
            .build()
            .unwrap();
        let mut options = MqttOptions::new("station", "localhost", broker.port);
        options
            .set_max_packet_size(8 << 20, 8 << 20)
            .set_transport(Transport::tls_with_config(connector.into()));
        let (client, mut connection) = Client::new(options, 64);
        let (sender, heard) = channel();
        let (ready, is_ready) = channel();
        let subscriber = client.clone();
        let answers = Arc::new(AtomicBool::new(true));
        let answering = answers.clone();
        let spread = Arc::new(AtomicU64::new(0));
        let spreading = spread.clone();
        std::thread::spawn(move || loop {
            match connection.recv() {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    for word in [Channel::Reply, Channel::Request, Channel::Data] {
                        let filter = Topic::filter(word);
                        subscriber.try_subscribe(filter, QoS::ExactlyOnce).unwrap();
                    }
                }
                Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => drop(ready.send(())),
                Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                    let topic: Topic = publish.topic.parse().unwrap();
                    let message = Envelope::parse(&publish.payload).unwrap();
                    let link_up = message.message_type == message_type::LINK_UP;
                    if link_up && answering.load(Ordering::Relaxed) {
                        let spread = spreading.load(Ordering::Relaxed);
                        answer_link_up(&subscriber, message.mid, 200, spread);
                    }
                    if sender.send((topic.channel, message)).is_err() {
                        return;
                    }
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) => std::thread::sleep(Duration::from_millis(100)),
                Err(_) => return,
            }
        });
        for _ in 0..3 {
            is_ready.recv_timeout(super::PATIENCE).unwrap();
        }
        Station {
            client,
            heard,
            kept: Vec::new(),
            next_mid: 100,
            answers,
            spread,
        }
    }

    /// Whether EVENT_LINKUP is answered, as it is at first.
    pub fn answer_link_ups(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// Has EVENT_LINKUPs spread over these seconds.
    pub fn spread_link_ups(&self, seconds: u64) {
        self.spread.store(seconds, Ordering::Relaxed);
    }

    /// Asks for EVENT_LINKUP.
    pub fn ask_for_link_up(&self) {
        answer_link_up(&self.client, 0, 404, 0);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, channel: Channel, bytes: &[u8]) {
        let topic = Topic::new(TERMINAL, channel).to_string();
        self.client
            .publish(topic, QoS::AtLeastOnce, false, bytes)
            .unwrap();
    }

    /// Leaves bytes at the broker for whoever subscribes later.
    pub fn retain(&self, channel: Channel, bytes: &[u8]) {
        let topic = Topic::new(TERMINAL, channel).to_string();
        self.client
            .publish(topic, QoS::AtLeastOnce, true, bytes)
            .unwrap();
    }

    /// Sends a command; its `mid`.
    pub fn command(&mut self, message_type: &str, param: Value) -> i64 {
        self.next_mid += 1;
        let message = Envelope::request(self.next_mid, TERMINAL, now(), message_type, param);
        self.send_raw(Channel::Command, &message.to_bytes());
        self.next_mid
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&mut self, message_type: &str, param: Value) -> Envelope {
        let mid = self.command(message_type, param);
        let answer = |_: Channel, message: &Envelope| message.mid == mid && message.code.is_some();
        self.expect(&format!("an answer to {message_type}"), answer)
    }

    /// Orders and waits for the answer.
    pub fn order(&mut self, param: Value) -> Envelope {
        self.ask(message_type::UPGRADE, param)
    }

    /// Waits for a message, heard already or still to come; it is heard once.
    pub fn expect(&mut self, what: &str, matches: impl Fn(Channel, &Envelope) -> bool) -> Envelope {
        if let Some(index) = self
            .kept
            .iter()
            .position(|(word, message)| matches(*word, message))
        {
            return self.kept.remove(index).1;
        }
        loop {
            let heard = self.heard.recv_timeout(super::PATIENCE);
            let (word, message) =
                heard.unwrap_or_else(|_| panic!("in vain: {what}; heard {:#?}", self.kept));
            if matches(word, &message) {
                return message;
            }
            self.kept.push((word, message));
        }
    }

    pub fn expect_type(&mut self, message_type: &str) -> Envelope {
        self.expect(message_type, |_, message| {
            message.message_type == message_type && message.code.is_none()
        })
    }

    /// Waits for the result of a job.
    pub fn result(&mut self, id: i64) -> JobReport {
        let message = self.expect(&format!("the result of job {id}"), |word, message| {
            word == Channel::Data
                && message.message_type == message_type::JOB_RESULT
                && message.param["jobId"] == json!(id)
        });
        message.param().unwrap()
    }

    /// Takes note of a result.
    pub fn acknowledge(&self, id: i64) {
        let reply = Envelope::reply(id, TERMINAL, now(), message_type::JOB_RESULT, 200, "")
            .with_param(json!({"jobId": id}));
        self.send_raw(Channel::Response, &reply.to_bytes());
    }

    /// Waits until a job is in a state.
    pub fn progress(&mut self, id: i64, state: &str) -> Envelope {
        self.expect(&format!("job {id} {state}"), |_, message| {
            message.message_type == message_type::JOB_PROGRESS
                && message.param["jobId"] == json!(id)
                && message.param["state"] == json!(state)
        })
    }

    /// Waits until no more messages of a type come, although there was time for several.
    pub fn wait_for_quiet(&mut self, message_type: &str) {
        let mut heard = self.count(message_type);
        let mut last = Instant::now();
        let deadline = last + super::PATIENCE;
        while last.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.count(message_type);
            if now > heard {
                (heard, last) = (now, Instant::now());
            }
            assert!(last < deadline, "{message_type} comes again and again");
        }
    }

    /// All messages of a type that were heard and not yet looked at.
    pub fn count(&mut self, message_type: &str) -> usize {
        self.kept.extend(self.heard.try_iter());
        let of_type = |(_, message): &&(Channel, Envelope)| {
            message.message_type == message_type && message.code.is_none()
        };
        self.kept.iter().filter(of_type).count()
    }
}

fn answer_link_up(client: &Client, mid: i64, code: u16, spread: u64) {
    let reply = Envelope::reply(mid, TERMINAL, now(), message_type::LINK_UP, code, "")
        .with_param(json!({"spread": spread}));
    let topic = Topic::new(TERMINAL, Channel::Response).to_string();
    let _ = client.try_publish(topic, QoS::AtLeastOnce, false, reply.to_bytes());
}

/// An upgrade order.
pub fn order(id: i64, kind: u8, version: &str, url: &str) -> Value {
    json!({"jobId": id, "version": version, "upgradeType": kind, "policy": 0,
        "file": {"name": "x.dau", "url": url, "token": "token-1"}})
}

fn now() -> u64 {
    dau_system::clock::now()
}

/// Returns the MD5 of a file as orders name it.
pub fn md5_of(bytes: &[u8]) -> String {
    dau_model::hex::encode(Md5::digest(bytes))
}
