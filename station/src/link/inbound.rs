//! What terminals say.

use dau_protocol::{
    code, message_type, Envelope, Heartbeat, JobProgress, JobReport, JobStatus, LinkUp,
    StatusQuery, Topic, Word,
};
use log::{debug, info, warn};
use rusqlite::Result;
use serde_json::{json, Value};

use super::Outgoing;
use crate::config::Jobs;
use crate::job::{decide, Heard, Step};
use crate::store::events::{self, kind, Subject};
use crate::store::jobs::{self, Figures, Known};
use crate::store::{outbox, terminals, Write};

/// Seconds within which a terminal that refuses an order sends the result of the job, if it had ended it earlier.
const RESULT_AFTER_REFUSAL: i64 = 3;

/// One message's effects on the database; the replies are published after the commit. Errors are the database's only:
/// whatever a terminal says is dealt with.
#[derive(Debug)]
pub struct Inbound<'a> {
    w: &'a Write<'a>,
    now: i64,
    patience: &'a Jobs,
    /// The terminal, by the topic: the broker lets no other publish there.
    device: &'a str,
    replies: Vec<Outgoing>,
}

/// Takes in one message.
pub fn take(
    w: &Write<'_>,
    now: i64,
    patience: &Jobs,
    topic: &str,
    payload: &[u8],
) -> Result<Vec<Outgoing>> {
    let topic: Topic = match topic.parse() {
        Ok(topic) => topic,
        Err(error) => {
            warn!("message passed over: {error}");
            return Ok(Vec::new());
        }
    };
    let mut inbound = Inbound {
        w,
        now,
        patience,
        device: &topic.device,
        replies: Vec::new(),
    };
    terminals::heard(w, now, &topic.device)?;
    match Envelope::parse(payload) {
        Ok(envelope) => {
            if !envelope.device_id.is_empty() && envelope.device_id != topic.device {
                warn!(
                    "{}: a message names '{}' as its sender; the topic counts",
                    topic.device, envelope.device_id
                );
            }
            inbound.message(topic.word, &envelope)?;
        }
        Err(error) => {
            warn!("{}: {error}", topic.device);
            if let (Some(mid), Some(message_type)) = (error.mid, &error.message_type) {
                inbound.respond(
                    mid,
                    message_type,
                    code::BAD_REQUEST,
                    &error.reason,
                    json!({}),
                );
            }
        }
    }
    Ok(inbound.replies)
}

impl Inbound<'_> {
    fn message(&mut self, word: Word, envelope: &Envelope) -> Result<()> {
        match (word, envelope.message_type.as_str()) {
            (Word::Request, message_type::LINK_UP) => self.link_up(envelope),
            (Word::Request | Word::Data, message_type::HEARTBEAT) => self.heartbeat(envelope),
            (Word::Request | Word::Data, message_type::LINK_DOWN) => {
                info!("{}: link down ({})", self.device, envelope.param["reason"]);
                terminals::link_down(self.w, self.device)
            }
            (Word::Data, message_type::JOB_PROGRESS) => match envelope.param::<JobProgress>() {
                Ok(progress) => self.progress(&progress),
                Err(error) => self.refuse(envelope, &error),
            },
            (Word::Data, message_type::JOB_RESULT) => match envelope.param::<JobReport>() {
                Ok(report) => self.result(envelope, &report),
                Err(error) => self.refuse(envelope, &error),
            },
            (Word::Reply, _) if envelope.code.is_some() => self.reply(envelope),
            (_, other) => {
                debug!("{}: {other} is of no interest here", self.device);
                Ok(())
            }
        }
    }

    fn link_up(&mut self, envelope: &Envelope) -> Result<()> {
        let link: LinkUp = match envelope.param() {
            Ok(link) => link,
            Err(error) => return self.refuse(envelope, &error),
        };
        info!(
            "{}: link up, {} {}, kernel {}",
            self.device, link.dau.product, link.os.version, link.os.kernel
        );
        terminals::link_up(self.w, self.device, &link, &envelope.param)?;
        self.respond(envelope.mid, message_type::LINK_UP, code::OK, "", json!({}));
        outbox::hurry(self.w, self.now, self.device, self.patience.query_seconds)?;
        link.dau.job.map_or(Ok(()), |job| self.progress(&job))
    }

    fn heartbeat(&mut self, envelope: &Envelope) -> Result<()> {
        let heartbeat: Heartbeat = envelope.param().unwrap_or_default();
        let was_down = terminals::alive(self.w, self.device, heartbeat.dau.free_bytes)?;
        if was_down {
            outbox::hurry(self.w, self.now, self.device, self.patience.query_seconds)?;
        }
        self.respond(
            envelope.mid,
            message_type::HEARTBEAT,
            code::OK,
            "",
            json!({}),
        );
        heartbeat.dau.job.map_or(Ok(()), |job| self.progress(&job))
    }

    fn progress(&mut self, progress: &JobProgress) -> Result<()> {
        let Some(job) = self.own_job(progress.job_id)? else {
            return Ok(());
        };
        let figures = Figures {
            progress: progress.progress,
            bytes: progress.bytes,
            total: progress.total,
        };
        self.apply(&job, Heard::Progress(progress), Some(figures))
    }

    fn result(&mut self, envelope: &Envelope, report: &JobReport) -> Result<()> {
        let id = report.job_id;
        match jobs::known(self.w, id)? {
            Some(job) if job.terminal == self.device => {
                info!(
                    "{}: job {id} ended with {}: {}",
                    self.device, report.code, report.msg
                );
                self.apply(&job, Heard::Result(report), None)?;
            }
            Some(job) => {
                warn!(
                    "{}: reports job {id}, which is {}'s: refused",
                    self.device, job.terminal
                );
                let text = "the job is another terminal's";
                self.respond(
                    envelope.mid,
                    message_type::JOB_RESULT,
                    code::REFUSED,
                    text,
                    json!({ "jobId": id }),
                );
                return Ok(());
            }
            // Another station's, or of before this database: acknowledged all the same, or it would be reported for ever.
            None => {
                warn!("{}: reports job {id}, which is not known here", self.device);
                let subject = Subject {
                    terminal: Some(self.device),
                    ..Subject::default()
                };
                events::add(
                    self.w,
                    self.now,
                    subject,
                    kind::UNKNOWN_JOB,
                    &envelope.param,
                )?;
            }
        }
        self.respond(
            envelope.mid,
            message_type::JOB_RESULT,
            code::OK,
            "",
            json!({ "jobId": id }),
        );
        Ok(())
    }

    /// Answers to commands are matched by `mid`, and by the job's id where a terminal got that wrong.
    fn reply(&mut self, envelope: &Envelope) -> Result<()> {
        let code = envelope.code.unwrap_or(code::FAILED);
        let named: Option<StatusQuery> = envelope.param().ok();
        let id = outbox::job_of(self.w, envelope.mid)?.or(named.map(|named| named.job_id));
        let job = id.map_or(Ok(None), |id| self.own_job(id))?;
        let Some(job) = job else {
            debug!("{}: reply {} fits no job", self.device, envelope.mid);
            return Ok(());
        };
        let heard = match envelope.message_type.as_str() {
            message_type::UPGRADE => {
                outbox::hold(self.w, job.id, outbox::Command::Order)?;
                Heard::OrderReply {
                    code,
                    msg: &envelope.msg,
                    busy: envelope
                        .param
                        .get("busyWith")
                        .is_some_and(|other| !other.is_null()),
                }
            }
            message_type::JOB_CANCEL => {
                outbox::hold(self.w, job.id, outbox::Command::Cancel)?;
                Heard::CancelReply { code }
            }
            message_type::STATUS_QUERY => {
                let status: Option<JobStatus> = envelope.param().ok();
                let figures = status.as_ref().map(|status| Figures {
                    progress: status.progress,
                    bytes: None,
                    total: None,
                });
                let heard = Heard::QueryReply {
                    code,
                    status: status.as_ref(),
                };
                return self.apply(&job, heard, figures);
            }
            _ => return Ok(()),
        };
        let detail = json!({
            "type": envelope.message_type, "mid": envelope.mid, "code": code, "message": envelope.msg,
            "param": envelope.param,
        });
        let subject = Subject::job(job.id);
        events::add(self.w, self.now, subject, kind::ANSWERED, &detail)?;
        self.apply(&job, heard, None)
    }

    /// Carries out what [`decide`] says.
    fn apply(&mut self, job: &Known, heard: Heard<'_>, figures: Option<Figures>) -> Result<()> {
        let (w, now) = (self.w, self.now);
        let reported = matches!(heard, Heard::Result(_));
        match decide(job.standing(), heard) {
            Step::Stay => {}
            Step::Enter(state) => jobs::enter(w, now, job, state)?,
            Step::Wait => {
                let until = now + self.patience.busy_seconds as i64;
                let detail = json!({"why": "the terminal is busy with another job"});
                jobs::wait(w, now, job, until, &detail)?;
            }
            Step::OrderAgain(state) => {
                if let Some(state) = state {
                    jobs::enter(w, now, job, state)?;
                }
                events::add(
                    w,
                    now,
                    Subject::job(job.id),
                    kind::ORDER_AGAIN,
                    &Value::Null,
                )?;
                outbox::order_again(w, now, job.id, self.device)?;
            }
            Step::Finish(ending) => jobs::finish(w, now, job, &ending, reported)?,
            Step::FinishSoon(ending) => {
                jobs::finish_soon(w, job, &ending, now + RESULT_AFTER_REFUSAL)?;
            }
            Step::CallOff => outbox::put(w, now, job.id, self.device, outbox::Command::Cancel)?,
            Step::Late => {
                if let Heard::Result(report) = heard {
                    let subject = Subject::job(job.id);
                    events::add(w, now, subject, kind::LATE_RESULT, &json!(report))?;
                }
            }
        }
        if let Some(figures) = figures {
            jobs::set_figures(w, job.id, figures)?;
        }
        jobs::heard(w, now, job.id, self.patience.query_seconds)
    }

    fn own_job(&self, id: i64) -> Result<Option<Known>> {
        let job = jobs::known(self.w, id)?;
        if job.as_ref().is_none_or(|job| job.terminal != self.device) {
            debug!("{}: job {id} is not its own", self.device);
            return Ok(None);
        }
        Ok(job)
    }

    fn refuse(&mut self, envelope: &Envelope, error: &serde_json::Error) -> Result<()> {
        let text = format!("{} is malformed: {error}", envelope.message_type);
        warn!("{}: {text}", self.device);
        self.respond(
            envelope.mid,
            &envelope.message_type,
            code::BAD_REQUEST,
            &text,
            json!({}),
        );
        Ok(())
    }

    fn respond(&mut self, mid: i64, message_type: &str, code: u16, text: &str, param: Value) {
        let clock = u64::try_from(self.now).unwrap_or(0);
        let envelope =
            Envelope::reply(mid, self.device, clock, message_type, code, text).with_param(param);
        let topic = Topic::new(self.device, Word::Response);
        self.replies.push(Outgoing::new(topic, &envelope));
    }
}
