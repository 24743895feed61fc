//! Messages that the terminal sends unasked.

use std::time::Instant;

use dau_handoff::Job;
use dau_protocol::report::Upgradeable;
use dau_protocol::{
    code, message_type, Channel, Envelope, Heartbeat, JobReport, LinkDown, LinkUpAnswer,
};
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

    fn send(
        &mut self,
        channel: Channel,
        message_type: &str,
        param: impl Serialize,
        qos: QoS,
    ) -> bool {
        let mid = self.mid();
        let terminal = &self.identity.terminal;
        let message = Envelope::request(mid, terminal, clock::now(), message_type, param);
        self.link.publish(channel, &message, qos)
    }

    /// Greets the station after each connect: identity, running versions, unreported results.
    pub(super) fn greet(&mut self) {
        log::info!("connected to the station");
        self.repeat_link_up.reset();
        // With a job the station is waiting for this terminal.
        match self.spread.due(Instant::now()) {
            Some(due) if self.job.is_none() => self.timers.link_up = Some(due),
            _ => self.send_link_up(),
        }
        self.undelivered = 0;
        self.repeat.reset();
        self.send_results();
    }

    /// Sends EVENT_LINKUP, and again later until it is answered: a broker drops messages beyond its
    /// queue.
    pub(super) fn send_link_up(&mut self) {
        let terminal = &self.identity.terminal;
        let dau = self.upgradeable();
        let param = report::link_up(terminal, &self.settings.device, &self.running, dau);
        let sent = self.send(
            Channel::Request,
            message_type::LINK_UP,
            param,
            QoS::AtLeastOnce,
        );
        if sent {
            self.spread.sent();
        }
        let now = Instant::now();
        self.greeted = Some(now);
        self.timers.link_up = now.checked_add(self.repeat_link_up.next());
    }

    /// Takes the station's answer to EVENT_LINKUP: 200 ends the repeating, 404 asks for it again,
    /// though not as fast as the station likes.
    pub(super) fn link_up_answered(&mut self, answer: &Envelope) {
        match answer.code {
            Some(code::OK) => {
                self.timers.link_up = None;
                let answer: LinkUpAnswer = answer.param().unwrap_or_default();
                self.spread.set(answer.spread);
            }
            Some(code::NOT_FOUND) => {
                self.repeat_link_up.reset();
                let pause = self.settings.mqtt.result_repeat.min;
                let soonest = self.greeted.and_then(|last| last.checked_add(pause));
                self.timers.link_up = soonest.or_else(|| Some(Instant::now()));
            }
            _ => {}
        }
    }

    pub(super) fn send_heartbeat(&mut self) {
        let param = Heartbeat {
            dau: self.upgradeable(),
        };
        self.send(
            Channel::Request,
            message_type::HEARTBEAT,
            param,
            QoS::AtLeastOnce,
        );
    }

    fn upgradeable(&self) -> Upgradeable {
        let free = crate::space::free(self.settings.layout.root()).unwrap_or(0);
        let job = self.job.as_ref();
        let job = job.map(|job| report::job_progress(job, self.bytes, false));
        report::upgradeable(&self.running, free, self.packages.clone(), job)
    }

    /// Reports how far the job is.
    pub(super) fn send_progress(&mut self, order_again: bool, qos: QoS) {
        self.note_spent();
        let Some(job) = &self.job else { return };
        let param = report::job_progress(job, self.bytes, order_again);
        self.send(Channel::Data, message_type::JOB_PROGRESS, param, qos);
    }

    /// Ends the connection and says that this is on purpose.
    pub(super) fn say_goodbye(&mut self, reason: &str) {
        let param = LinkDown {
            reason: reason.to_owned(),
        };
        self.send(
            Channel::Request,
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
        self.timers.result = match again {
            true => Instant::now().checked_add(self.repeat.next()),
            false => None,
        };
    }

    /// Reports the result of a job that is kept, but not yet in the outbox.
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

    /// Publishes a result. Its `mid` is the job's id, each time the same.
    fn publish_report(&mut self, id: i64, report: JobReport) {
        let qos = match self.settings.mqtt.acknowledgement {
            Acknowledgement::Station => QoS::AtLeastOnce,
            Acknowledgement::Broker => QoS::ExactlyOnce,
        };
        let terminal = &self.identity.terminal;
        let now = clock::now();
        let message = Envelope::request(id, terminal, now, message_type::JOB_RESULT, report);
        if self.link.publish(Channel::Data, &message, qos) && qos == QoS::ExactlyOnce {
            self.undelivered = self.undelivered.saturating_add(1);
        }
    }

    /// Notes that the broker took over a message of QoS 2: only results are sent so.
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

    /// Notes what the job has spent.
    pub(super) fn note_spent(&mut self) {
        if let Some(job) = &mut self.job {
            job.bytes_used = self.traffic.spent(job.id).unwrap_or(job.bytes_used);
        }
    }

    /// Saves the job as it is now. Returns whether that worked; a failure is logged.
    pub(super) fn save_job(&mut self) -> bool {
        self.note_spent();
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
