//! What the station says, and what it gets for an answer.

use std::time::{Duration, Instant};

use dau_handoff::Job;
use dau_protocol::{
    code, message_type, Cancel, Envelope, JobReport, StatusQuery, Topic, Upgrade, Word,
};
use dau_system::clock;
use rumqttc::{Publish, QoS};

use super::Daemon;
use crate::ending::Ending;
use crate::orders::{self, Known, Verdict};
use crate::report;

impl Daemon {
    /// Handles a message. When this returns, whatever must outlive a power cut is on the medium.
    pub(super) fn message(&mut self, publish: &Publish) {
        let word = publish.topic.parse::<Topic>().map(|topic| topic.word);
        match (word, Envelope::parse(&publish.payload)) {
            (Ok(Word::Command), Ok(message)) if message.code.is_none() => {
                if publish.retain {
                    let text = "a retained command is refused: it would come again for ever";
                    self.reply(message.mid, &message.message_type, code::REFUSED, text);
                    return;
                }
                self.command(&message);
            }
            (Ok(Word::Command), Err(error)) => {
                log::warn!("a command is refused: {error}");
                let message_type = error.message_type.clone().unwrap_or_default();
                let mid = error.mid.unwrap_or(0);
                self.reply(mid, &message_type, code::BAD_REQUEST, &error.to_string());
            }
            (Ok(Word::Response), Ok(message)) => self.response(&message),
            (_, parsed) => log::debug!("passed over on {}: {parsed:?}", publish.topic),
        }
    }

    fn command(&mut self, message: &Envelope) {
        match message.message_type.as_str() {
            message_type::UPGRADE => self.order(message),
            message_type::STATUS_QUERY => self.status_query(message),
            message_type::JOB_CANCEL => self.cancel(message),
            other => {
                log::warn!("unknown command {other}");
                let text = format!("'{other}' is no command of this terminal");
                self.reply(message.mid, other, code::BAD_REQUEST, &text);
            }
        }
    }

    /// Answers a command.
    pub(super) fn reply(&self, mid: i64, message_type: &str, code: u16, text: &str) {
        let device = &self.identity.terminal;
        let reply = Envelope::reply(mid, device, clock::now(), message_type, code, text);
        self.link.publish(Word::Reply, &reply, QoS::AtLeastOnce);
    }

    fn order(&mut self, message: &Envelope) {
        let id = Upgrade::job_id(message);
        let finished = id.and_then(|id| self.outbox.result(id));
        let known = Known {
            current: self.job.as_ref(),
            finished,
            now: clock::now(),
            allow_http: self.settings.download.allow_http,
        };
        let verdict = orders::judge(message, known);
        let (code, text) = match verdict {
            Verdict::Accept(_) if self.worker.is_some() => {
                let text = "this OS is still on trial: send the order again later";
                self.busy(message, id, 0, text);
                return;
            }
            Verdict::Busy(other, text) => {
                log::warn!("an order is refused: {text}");
                self.busy(message, id, other, &text);
                return;
            }
            Verdict::Accept(job) => self.accept(*job),
            Verdict::Again(order) => {
                log::info!("the order of the current job came again");
                if let (Some(job), Some(worker)) = (&mut self.job, &self.worker) {
                    worker.control.renew(&order.url, order.token.as_deref());
                    (job.order.url, job.order.token) = (order.url, order.token);
                } else if let Some(job) = &mut self.job {
                    (job.order.url, job.order.token) = (order.url, order.token);
                }
                self.save_job();
                (code::ACCEPTED, String::new())
            }
            Verdict::Known(code, text) => {
                self.reply(message.mid, &message.message_type, code, &text);
                if let Some(id) = id {
                    self.send_result(id);
                }
                return;
            }
            Verdict::Refuse(code, text) => {
                log::warn!("an order is refused: {text}");
                (code, text)
            }
        };
        self.reply(message.mid, &message.message_type, code, &text);
        self.advance();
    }

    /// Refuses an order for now; `other` is the job in the way, 0 where it has no id any more. The station sends the order
    /// again later.
    fn busy(&self, message: &Envelope, id: Option<i64>, other: i64, text: &str) {
        let device = &self.identity.terminal;
        let (mid, message_type, now) = (message.mid, &message.message_type, clock::now());
        let reply = Envelope::reply(mid, device, now, message_type, code::REFUSED, text)
            .with_param(serde_json::json!({"jobId": id, "busyWith": other}));
        self.link.publish(Word::Reply, &reply, QoS::AtLeastOnce);
    }

    /// Writes a new job down; the answer to its order.
    fn accept(&mut self, mut job: Job) -> (u16, String) {
        job.version_before = self.running.release.version.clone();
        job.kernel_before = self.running.kernel.clone();
        if let Err(error) = job.save(&self.settings.layout.job()) {
            log::error!("the order cannot be kept: {error}");
            return (code::FAILED, format!("the order cannot be kept: {error}"));
        }
        log::info!(
            "job {}: {} {} from {}",
            job.id,
            job.order.kind,
            job.order.version,
            job.order.url
        );
        self.clean_up(Some(job.id));
        self.set_start(&job);
        self.job = Some(job);
        (code::ACCEPTED, String::new())
    }

    /// When a job starts, by a clock that does not jump.
    pub(super) fn set_start(&mut self, job: &Job) {
        let wait = job.order.start_at.saturating_sub(clock::now());
        self.timers.job_start = Instant::now().checked_add(Duration::from_secs(wait));
    }

    fn status_query(&mut self, message: &Envelope) {
        let refuse = |text: &str| {
            self.reply(
                message.mid,
                message_type::STATUS_QUERY,
                code::BAD_REQUEST,
                text,
            )
        };
        let id = match message.param::<StatusQuery>() {
            Ok(query) => query.job_id,
            Err(error) => return refuse(&format!("the query is malformed: {error}")),
        };
        let status = match &self.job {
            Some(job) if job.id == id => report::job_status(id, Some(&job.state), self.bytes),
            _ if self.outbox.result(id).is_some() => report::job_status(id, None, None),
            _ => return refuse(&format!("job {id} is not known here")),
        };
        let device = &self.identity.terminal;
        let now = clock::now();
        let reply = Envelope::reply(
            message.mid,
            device,
            now,
            message_type::STATUS_QUERY,
            code::OK,
            "",
        )
        .with_param(status);
        self.link.publish(Word::Reply, &reply, QoS::AtLeastOnce);
    }

    fn cancel(&mut self, message: &Envelope) {
        let (code, text) = match message.param::<Cancel>() {
            Ok(cancel) => self.cancel_job(cancel.job_id),
            Err(error) => (
                code::BAD_REQUEST,
                format!("the cancel order is malformed: {error}"),
            ),
        };
        self.reply(message.mid, message_type::JOB_CANCEL, code, &text);
    }

    fn cancel_job(&mut self, id: i64) -> (u16, String) {
        let ending = Ending::cancelled("cancelled", "called off by the station");
        match &self.job {
            Some(job) if job.id == id && orders::is_cancellable(&job.state) => {
                log::info!("job {id} is called off");
                match &self.worker {
                    Some(worker) => worker.control.cancel(ending),
                    None => self.finish(ending.result()),
                }
                (code::OK, "called off; the result follows".to_owned())
            }
            Some(job) if job.id == id => {
                let text = format!("job {id} is past the point of no return: wait for its result");
                (code::REFUSED, text)
            }
            _ if self.outbox.result(id).is_some() => (code::REFUSED, format!("job {id} is over")),
            _ => (code::BAD_REQUEST, format!("job {id} is not known here")),
        }
    }

    /// An answer of the station. The one to a result ends the reporting of it.
    fn response(&mut self, message: &Envelope) {
        if message.message_type != message_type::JOB_RESULT {
            return;
        }
        let named = message
            .param::<JobReport>()
            .ok()
            .map(|report| report.job_id);
        // Stations that do not repeat the job's id repeat the message's, which is the same.
        let unreported = self.outbox.unreported();
        let id = named.or_else(|| unreported.iter().copied().find(|id| *id == message.mid));
        match (id, message.code) {
            (Some(id), Some(code::OK)) => self.acknowledged(id),
            (id, code) => log::warn!(
                "the station answers the result of job {id:?} with {code:?}: {}",
                message.msg
            ),
        }
    }
}
