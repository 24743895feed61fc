//! What the terminal says unasked.

use std::time::Instant;

use dau_handoff::Job;
use dau_protocol::report::Upgradeable;
use dau_protocol::{message_type, Envelope, Heartbeat, JobReport, LinkDown, Word};
use dau_system::clock;
use rumqttc::QoS;
use serde::Serialize;

use super::Daemon;
use crate::report;
use crate::settings::Acknowledgement;

impl Daemon {
    fn mid(&mut self) -> i64 {
        self.next_mid = self.next_mid.wrapping_add(1);
        self.next_mid
    }

    fn send(&mut self, word: Word, message_type: &str, param: impl Serialize, qos: QoS) -> bool {
        let mid = self.mid();
        let terminal = &self.identity.terminal;
        let message = Envelope::request(mid, terminal, clock::now(), message_type, param);
        self.link.publish(word, &message, qos)
    }

    /// After each connect: who is here, what runs, and what was not taken note of.
    pub(super) fn greet(&mut self) {
        log::info!("connected to the station");
        let terminal = &self.identity.terminal;
        let dau = self.upgradeable();
        let param = report::link_up(terminal, &self.settings.device, &self.running, dau);
        self.send(
            Word::Request,
            message_type::LINK_UP,
            param,
            QoS::AtLeastOnce,
        );
        self.undelivered = 0;
        self.repeat.reset();
        self.send_results();
    }

    pub(super) fn send_heartbeat(&mut self) {
        let param = Heartbeat {
            dau: self.upgradeable(),
        };
        self.send(
            Word::Request,
            message_type::HEARTBEAT,
            param,
            QoS::AtLeastOnce,
        );
    }

    fn upgradeable(&self) -> Upgradeable {
        let free = crate::space::free(self.settings.layout.root()).unwrap_or(0);
        let job = self.job.as_ref();
        let job = job.map(|job| report::job_progress(job, self.bytes, false));
        report::upgradeable(&self.running, free, job)
    }

    /// Tells how far the job is.
    pub(super) fn send_progress(&mut self, order_again: bool, qos: QoS) {
        let Some(job) = &self.job else { return };
        let param = report::job_progress(job, self.bytes, order_again);
        self.send(Word::Data, message_type::JOB_PROGRESS, param, qos);
    }

    /// Says that the connection ends on purpose, and ends it.
    pub(super) fn say_goodbye(&mut self, reason: &str) {
        let param = LinkDown {
            reason: reason.to_owned(),
        };
        self.send(
            Word::Request,
            message_type::LINK_DOWN,
            param,
            QoS::AtLeastOnce,
        );
        self.link.disconnect();
    }

    /// Reports every result that the station has not taken note of, and again later.
    pub(super) fn send_results(&mut self) {
        for id in self.outbox.unreported().to_vec() {
            self.send_result(id);
        }
        let again = !self.outbox.unreported().is_empty();
        self.timers.result = again.then(|| Instant::now() + self.repeat.next());
    }

    /// Reports the result of a job that cannot be kept.
    pub(super) fn send_report(&mut self, job: &Job) {
        if let Some(result) = job.result() {
            self.publish_report(job.id, report::job_report(job, result));
        }
    }

    /// Reports the result of a job that is over.
    pub(super) fn send_result(&mut self, id: i64) {
        let job = self.outbox.job(id);
        let report = match job.as_ref().and_then(|job| Some((job, job.result()?))) {
            Some((job, result)) => report::job_report(job, result),
            None => match self.outbox.result(id) {
                Some(result) => report::remembered_report(id, result),
                None => return,
            },
        };
        self.publish_report(id, report);
    }

    /// `mid` is the job's id, each time the same.
    fn publish_report(&mut self, id: i64, report: JobReport) {
        let qos = match self.settings.mqtt.acknowledgement {
            Acknowledgement::Station => QoS::AtLeastOnce,
            Acknowledgement::Broker => QoS::ExactlyOnce,
        };
        let terminal = &self.identity.terminal;
        let now = clock::now();
        let message = Envelope::request(id, terminal, now, message_type::JOB_RESULT, report);
        if self.link.publish(Word::Data, &message, qos) && qos == QoS::ExactlyOnce {
            self.undelivered += 1;
        }
    }

    /// The broker took over a message of QoS 2, and only results are sent so.
    pub(super) fn delivered(&mut self) {
        self.undelivered = self.undelivered.saturating_sub(1);
        if self.undelivered == 0 {
            for id in self.outbox.unreported().to_vec() {
                self.acknowledged(id);
            }
        }
    }

    pub(super) fn acknowledged(&mut self, id: i64) {
        match self.outbox.acknowledge(id) {
            Ok(true) => log::info!("the station has taken note of the result of job {id}"),
            Ok(false) => {}
            Err(error) => log::error!("cannot keep that job {id} is acknowledged: {error:#}"),
        }
        if self.outbox.unreported().is_empty() {
            self.timers.result = None;
        }
    }

    /// Keeps the job as it is now; a failure is said, and shows again where it matters.
    pub(super) fn save_job(&mut self) -> bool {
        let path = self.settings.layout.job();
        let saved = self
            .job
            .as_ref()
            .map_or(Ok(()), |job: &Job| job.save(&path));
        if let Err(error) = &saved {
            log::error!("{error}");
        }
        saved.is_ok()
    }
}
