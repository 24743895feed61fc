//! Commands and answers of the station.

use std::time::{Duration, Instant};

use dau_handoff::Job;
use dau_model::Word;
use dau_protocol::{
    code, message_type, Cancel, Channel, Envelope, JobReport, StatusQuery, Topic, Upgrade,
};
use dau_system::clock;
use rumqttc::{Publish, QoS};

use super::Daemon;
use crate::failure::Failure;
use crate::orders::{self, Known, Verdict};
use crate::report;

/// Room on mnt for a job, its result and the history.
const LEAST_ROOM: u64 = 256 << 10;

/// The wait for a worker that was asked to stop. Work that hangs longer is left to itself.
const CANCELLED_AFTER: Duration = Duration::from_secs(20);

impl Daemon {
    /// Handles a message. When this returns, whatever must outlive a power cut is on the medium.
    pub(super) fn message(&mut self, publish: &Publish) {
        let channel = publish.topic.parse::<Topic>().map(|topic| topic.channel);
        if publish.retain {
            log::error!(
                "a retained message is passed over, since it would come again for ever: take it \
                 off the broker ({})",
                publish.topic
            );
            return;
        }
        match (channel, Envelope::parse(&publish.payload)) {
            (Ok(Channel::Command), Ok(message)) if message.code.is_none() => {
                self.command(&message);
            }
            (Ok(Channel::Command), Err(error)) => {
                log::warn!("a command is refused: {error}");
                let message_type = error.message_type.clone().unwrap_or_default();
                let mid = error.mid.unwrap_or(0);
                self.reply(mid, &message_type, code::BAD_REQUEST, &error.to_string());
            }
            (Ok(Channel::Response), Ok(message)) => self.response(&message),
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
        self.link.publish(Channel::Reply, &reply, QoS::AtLeastOnce);
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
        let verdict = orders::check_order(message, known);
        let (code, text) = match verdict {
            // Without a job only an OS on trial has work, or something to try again.
            Verdict::Accept(_) if self.worker.is_some() || self.timers.retry.is_some() => {
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
                if let Some(job) = &mut self.job {
                    job.order.budget = order.budget;
                    (job.order.url, job.order.token) = (order.url, order.token);
                    let order = &job.order;
                    if let Some(worker) = &self.worker {
                        worker.renew(&order.url, order.token.as_deref());
                    }
                }
                self.count_for_job();
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
            Verdict::Refuse(code, reason) => {
                log::warn!("an order is refused: {reason}");
                let param = serde_json::json!({"jobId": id, "word": reason.word});
                self.reply_with(message, code, &reason.message, param);
                return;
            }
        };
        self.reply(message.mid, &message.message_type, code, &text);
        self.proceed();
    }

    /// Refuses an order for now; the station sends it again later. `other` is the job in the way, 0
    /// where it has no id any more.
    fn busy(&self, message: &Envelope, id: Option<i64>, other: i64, text: &str) {
        let param = serde_json::json!({"jobId": id, "busyWith": other});
        self.reply_with(message, code::REFUSED, text, param);
    }

    fn reply_with(&self, message: &Envelope, code: u16, text: &str, param: serde_json::Value) {
        let device = &self.identity.terminal;
        let (mid, message_type, now) = (message.mid, &message.message_type, clock::now());
        let reply = Envelope::reply(mid, device, now, message_type, code, text).with_param(param);
        self.link.publish(Channel::Reply, &reply, QoS::AtLeastOnce);
    }

    /// Writes a new job down and returns the answer to its order.
    fn accept(&mut self, mut job: Job) -> (u16, String) {
        job.version_before = self.running.release.version.clone();
        job.kernel_before = self.running.kernel.clone();
        let layout = &self.settings.layout;
        // A job is not begun whose result may not be kept.
        let kept = match crate::space::free(layout.root()) {
            Ok(free) if free < LEAST_ROOM => Err(format!("No space left on mnt: {free} bytes")),
            _ => job.save(&layout.job()).map_err(|error| error.to_string()),
        };
        if let Err(error) = kept {
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
        self.set_start(job.order.start_at);
        self.job = Some(job);
        (code::ACCEPTED, String::new())
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
            Some(job) if job.id == id => report::job_status(id, Some(job.state()), self.bytes),
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
        self.link.publish(Channel::Reply, &reply, QoS::AtLeastOnce);
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
        let failure = Failure::cancelled(Word::Cancelled, "called off by the station");
        match &self.job {
            Some(job) if job.id == id && job.state().is_preparing() => {
                log::info!("job {id} is called off");
                match &self.worker {
                    Some(worker) => {
                        worker.handle.cancel(failure);
                        self.timers.cancelled = Instant::now().checked_add(CANCELLED_AFTER);
                    }
                    None => {
                        self.finish(failure.result());
                        self.proceed();
                    }
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

    /// Takes an answer of the station, which ends the repeating of the message that it answers.
    fn response(&mut self, message: &Envelope) {
        match message.message_type.as_str() {
            message_type::JOB_RESULT => self.result_answered(message),
            message_type::LINK_UP => self.link_up_answered(message),
            _ => {}
        }
    }

    fn result_answered(&mut self, message: &Envelope) {
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
