//! A simulated terminal: TLS with its own certificate, MQTT, and the messages of `dau_protocol`.

use std::fs;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use dau_protocol::report::{Device, JobDetails, Os, Upgradeable};
use dau_protocol::{
    message_type, Channel, Envelope, JobProgress, JobReport, LinkUp, Topic, Upgrade, MAX_MESSAGE,
};
use native_tls::{Certificate, Identity, TlsConnector};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS, SubscribeFilter, Transport};
use serde_json::{json, Value};

use crate::site::{Site, PATIENCE, PRODUCT};

/// A simulated terminal.
pub struct Terminal {
    pub id: String,
    client: Client,
    inbox: Receiver<Heard>,
    mid: i64,
}

enum Heard {
    Message(Topic, Envelope),
    Acknowledged,
    Lost(String),
}

impl Terminal {
    /// Connects with its own certificate and client id, and subscribes to its own topics.
    pub fn connect(site: &Site, id: &str) -> Self {
        Self::connect_as(site, id, id, id, false)
    }

    /// Connects with the certificate of `holder` and the client id `client_id`, listening to the
    /// topics of `listen`.
    pub fn connect_as(
        site: &Site,
        holder: &str,
        client_id: &str,
        listen: &str,
        clean: bool,
    ) -> Self {
        let (certificate, key) = site.pki.tls_identity(&format!("terminals/{holder}"));
        let identity =
            Identity::from_pkcs8(&fs::read(certificate).unwrap(), &fs::read(key).unwrap()).unwrap();
        let ca = fs::read(site.pki.tls_ca()).unwrap();
        let tls = TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(Certificate::from_pem(&ca).unwrap())
            .identity(identity)
            .build()
            .unwrap();
        let mut options = MqttOptions::new(client_id, "localhost", site.mqtt_port);
        options
            .set_transport(Transport::tls_with_config(tls.into()))
            .set_clean_session(clean)
            .set_max_packet_size(2 * MAX_MESSAGE, 2 * MAX_MESSAGE);
        let (client, mut connection) = Client::new(options, 100);
        let filters = [Channel::Command, Channel::Response].map(|channel| {
            SubscribeFilter::new(Topic::new(listen, channel).to_string(), QoS::AtLeastOnce)
        });
        let (sender, inbox) = channel();
        let (ready, subscribed) = channel();
        let subscriber = client.clone();
        thread::spawn(move || {
            for event in connection.iter() {
                let heard = match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        let _ = subscriber.try_subscribe_many(filters.clone());
                        continue;
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        let _ = ready.send(());
                        continue;
                    }
                    Ok(Event::Incoming(Packet::PubAck(_))) => Heard::Acknowledged,
                    Ok(Event::Incoming(Packet::Publish(publish))) => Heard::Message(
                        publish.topic.parse().unwrap(),
                        Envelope::parse(&publish.payload).unwrap(),
                    ),
                    Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
                    Ok(_) => continue,
                    Err(error) => {
                        // rumqttc would retry without a pause.
                        thread::sleep(Duration::from_millis(100));
                        Heard::Lost(error.to_string())
                    }
                };
                if sender.send(heard).is_err() {
                    return;
                }
            }
        });
        subscribed
            .recv_timeout(PATIENCE)
            .expect("subscribed in time");
        Terminal {
            id: holder.to_owned(),
            client,
            inbox,
            mid: 0,
        }
    }

    /// Publishes and waits for the broker's acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .unwrap();
    }

    fn send(&mut self, channel: Channel, envelope: &Envelope) {
        let topic = Topic::new(&self.id, channel).to_string();
        self.publish(&topic, envelope.to_bytes());
    }

    /// Waits until the broker has acknowledged a message.
    pub fn wait_acknowledged(&self) {
        let end = Instant::now() + PATIENCE;
        while let Ok(heard) = self.inbox.recv_timeout(end - Instant::now()) {
            if matches!(heard, Heard::Acknowledged) {
                return;
            }
        }
        panic!("{}: the broker did not acknowledge", self.id);
    }

    /// Sends a request of this type on `word`.
    pub fn tell(&mut self, channel: Channel, message_type: &str, param: Value) -> i64 {
        self.mid += 1;
        let envelope = Envelope::request(self.mid, &self.id, 1_800_000_000, message_type, param);
        self.send(channel, &envelope);
        self.mid
    }

    /// Sends EVENT_LINKUP and waits for the station's answer.
    pub fn link_up(&mut self) {
        self.say_link_up("1.0.0");
        self.expect(Channel::Response, message_type::LINK_UP);
    }

    /// Sends EVENT_LINKUP with the digests of the packages that it keeps.
    pub fn keep(&mut self, packages: &[&str]) {
        let mut link_up = link_up("1.0.0");
        link_up.dau.packages = packages.iter().map(|digest| (*digest).to_owned()).collect();
        self.tell(Channel::Request, message_type::LINK_UP, json!(link_up));
        self.expect(Channel::Response, message_type::LINK_UP);
    }

    pub fn say_link_up(&mut self, version: &str) {
        let param = json!(link_up(version));
        self.tell(Channel::Request, message_type::LINK_UP, param);
    }

    /// Returns the next message, if one arrives within `patience`.
    pub fn next(&self, patience: Duration) -> Option<(Topic, Envelope)> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Heard::Message(topic, envelope)) => return Some((topic, envelope)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("{}: no connection", self.id),
            }
        }
    }

    /// Returns the next message on `word` of this type, ignoring others.
    pub fn expect(&self, channel: Channel, message_type: &str) -> Envelope {
        let end = Instant::now() + PATIENCE;
        while let Some((topic, envelope)) = self.next(end.saturating_duration_since(Instant::now()))
        {
            if topic.channel == channel && envelope.message_type == message_type {
                return envelope;
            }
        }
        panic!("{}: no {message_type} came", self.id);
    }

    /// Returns the next order and its `mid`.
    pub fn order(&self) -> (i64, Upgrade) {
        let envelope = self.expect(Channel::Command, message_type::UPGRADE);
        (envelope.mid, Upgrade::from_envelope(&envelope).unwrap())
    }

    /// Accepts the next order.
    pub fn take_order(&mut self) -> Upgrade {
        let (mid, upgrade) = self.order();
        self.reply(mid, message_type::UPGRADE, 202, json!({}));
        upgrade
    }

    pub fn reply(&mut self, mid: i64, message_type: &str, code: u16, param: Value) {
        let envelope = Envelope::reply(mid, &self.id, 1_800_000_000, message_type, code, "said so");
        self.send(Channel::Reply, &envelope.with_param(param));
    }

    pub fn progress(&mut self, job: i64, state: &str, progress: u8, order_again: bool) {
        let progress = JobProgress {
            job_id: job,
            state: state.to_owned(),
            progress,
            bytes: Some(u64::from(progress) * 10),
            total: Some(1000),
            order_again,
            bytes_used: Some(u64::from(progress) * 11),
        };
        self.tell(Channel::Data, message_type::JOB_PROGRESS, json!(progress));
    }

    /// Sends REP_JOB_RESULT once and returns its `mid`.
    pub fn report(&mut self, job: i64, code: u16, outcome: &str) -> i64 {
        let report = JobReport {
            job_id: job,
            code,
            msg: format!("it is a {outcome}"),
            details: Some(JobDetails {
                outcome: outcome.to_owned(),
                word: outcome.to_owned(),
                version_before: "1.0.0".to_owned(),
                version_after: "1.1.0".to_owned(),
                bytes_used: Some(1234),
                ..JobDetails::default()
            }),
        };
        self.tell(Channel::Data, message_type::JOB_RESULT, json!(report))
    }

    /// Sends REP_JOB_RESULT until the station acknowledges it.
    pub fn finish(&mut self, job: i64, code: u16, outcome: &str) {
        for _ in 0..60 {
            self.report(job, code, outcome);
            let end = Instant::now() + Duration::from_secs(2);
            while let Some((_, envelope)) = self.next(end.saturating_duration_since(Instant::now()))
            {
                let acknowledged = envelope.code == Some(200) && envelope.param["jobId"] == job;
                if envelope.message_type == message_type::JOB_RESULT && acknowledged {
                    return;
                }
            }
        }
        panic!(
            "{}: the result of job {job} was never acknowledged",
            self.id
        );
    }

    /// Disconnects without a last will; the broker keeps the session.
    pub fn leave(self) {
        let _ = self.client.disconnect();
    }

    /// Returns the reason for a disconnection since the last call.
    pub fn lost(&self) -> Option<String> {
        let found = self.inbox.try_iter().find_map(|heard| match heard {
            Heard::Lost(error) => Some(error),
            _ => None,
        });
        found
    }
}

fn link_up(version: &str) -> LinkUp {
    LinkUp {
        dev: Device {
            dev_type: "DTU".to_owned(),
            ..Device::default()
        },
        os: Os {
            version: version.to_owned(),
            kernel: "6.1.0-test".to_owned(),
            ..Os::default()
        },
        dau: Upgradeable {
            version: version.to_owned(),
            product: PRODUCT.to_owned(),
            rollback_index: 4,
            free_bytes: 1_000_000_000,
            kernel_slot: Some(dau_model::Slot::A),
            recovery_version: "1.0.0".to_owned(),
            recovery_slot: Some(dau_model::Slot::A),
            packages: Vec::new(),
            job: None,
        },
    }
}
