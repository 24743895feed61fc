//! Handles messages from terminals.

use std::collections::{BTreeSet, HashMap};

use dau_model::State;
use dau_protocol::{
    code, message_type, Channel, Envelope, Heartbeat, JobProgress, JobReport, JobStatus, LinkDown,
    LinkUp, LinkUpAnswer, ParseError, StatusQuery, Topic,
};
use log::{debug, info, warn};
use serde_json::{json, Value};

use super::Outgoing;
use crate::config::Jobs;
use crate::job::{decide, Ending, Heard, Step};
use crate::store::events::{self, kind, Subject};
use crate::store::jobs::{self, Figures, Known};
use crate::store::seen::{self, Seen};
use crate::store::terminals::life;
use crate::store::times::{self, RESULT_AFTER_REFUSAL};
use crate::store::{orders, outbox, terminals, Result, Write};

/// Longest param of a reply that is recorded, bytes.
const MAX_PARAM: usize = 1 << 10;

/// The handling of messages in one transaction; replies are published after the commit. All errors are
/// the database's: any message of a terminal can be handled.
#[derive(Debug)]
struct Inbound<'a> {
    w: &'a Write<'a>,
    now: i64,
    patience: &'a Jobs,
    spread: u64,
    /// The terminal in the topic; the broker lets no other publish there.
    device: &'a str,
    /// What is known of the terminals.
    seen: HashMap<String, Seen>,
    /// The jobs that replies are about.
    asked: HashMap<(i64, String), i64>,
    replies: Vec<Outgoing>,
}

/// A message and its topic.
type Message = (Topic, std::result::Result<Envelope, ParseError>);

/// Handles messages and returns the replies. `spread`: the seconds over which terminals spread their
/// EVENT_LINKUPs.
pub fn take(
    w: &Write<'_>,
    now: i64,
    (patience, spread): (&Jobs, u64),
    messages: &[(String, Vec<u8>)],
) -> Result<Vec<Outgoing>> {
    let messages: Vec<Message> = messages.iter().filter_map(parsed).collect();
    let seen = seen::heard(
        w,
        now,
        messages.iter().map(|(topic, _)| topic.device.as_str()),
    )?;
    let mut inbound = Inbound {
        w,
        now,
        patience,
        spread,
        device: "",
        seen,
        asked: known(w, &messages)?,
        replies: Vec::new(),
    };
    for (topic, message) in &messages {
        inbound.device = &topic.device;
        let seen = inbound.seen.get(inbound.device);
        if seen.is_some_and(|seen| seen.is_barred) {
            life::refuse(w, now, inbound.device)?;
            continue;
        }
        match message {
            Ok(envelope) => {
                if !envelope.device_id.is_empty() && envelope.device_id != topic.device {
                    warn!(
                        "{}: a message names '{}' as its sender; the topic counts",
                        topic.device, envelope.device_id
                    );
                }
                inbound.message(topic.channel, envelope)?;
            }
            Err(error) => {
                warn!("{}: {error}", topic.device);
                if let (Some(mid), Some(message_type)) = (error.mid, &error.message_type) {
                    let (code, reason) = (code::BAD_REQUEST, &error.reason);
                    inbound.respond(mid, message_type, code, reason, json!({}));
                }
            }
        }
    }
    Ok(inbound.replies)
}

fn parsed((topic, payload): &(String, Vec<u8>)) -> Option<Message> {
    match topic.parse() {
        Ok(topic) => Some((topic, Envelope::parse(payload))),
        Err(error) => {
            warn!("message ignored: {error}");
            None
        }
    }
}

/// Reads the jobs that these messages are about, all at once; returns those of replies.
fn known(w: &Write<'_>, messages: &[Message]) -> Result<HashMap<(i64, String), i64>> {
    let envelopes = || {
        messages
            .iter()
            .filter_map(|(_, message)| message.as_ref().ok())
    };
    let replies = envelopes().filter(|envelope| envelope.code.is_some());
    let mids: BTreeSet<i64> = replies.map(|reply| reply.mid).collect();
    let asked = outbox::jobs_of(w, &mids.into_iter().collect::<Vec<_>>())?;
    let named = envelopes().filter_map(|envelope| {
        let param = &envelope.param;
        let job = param
            .get("jobId")
            .or_else(|| param.pointer("/dau/job/jobId"));
        job.and_then(job_id)
    });
    let jobs: BTreeSet<i64> = named.chain(asked.values().copied()).collect();
    jobs::load(w, jobs)?;
    Ok(asked)
}

/// Returns the param of a reply, or its length if it is too long to record.
fn short(param: &Value) -> Value {
    match param.to_string().len() {
        ..=MAX_PARAM => param.clone(),
        length => json!({ "bytes": length }),
    }
}

/// Parses a job's id, a number or its decimal text.
fn job_id(value: &Value) -> Option<i64> {
    let named: Result<StatusQuery, _> = serde_json::from_value(json!({ "jobId": value }));
    named.ok().map(|named| named.job_id)
}

impl Inbound<'_> {
    fn message(&mut self, channel: Channel, envelope: &Envelope) -> Result<()> {
        let is_unknown = self
            .seen
            .get(self.device)
            .is_some_and(|seen| seen.is_unknown);
        if is_unknown && envelope.message_type != message_type::LINK_UP {
            terminals::ask_unknown(self.w, self.now, self.device)?;
        }
        match (channel, envelope.message_type.as_str()) {
            (Channel::Request, message_type::LINK_UP) => self.link_up(envelope),
            (Channel::Request | Channel::Data, message_type::HEARTBEAT) => self.heartbeat(envelope),
            (Channel::Request | Channel::Data, message_type::LINK_DOWN) => {
                let link: LinkDown = envelope.param().unwrap_or_default();
                info!("{}: link down ({})", self.device, link.reason);
                terminals::link_down(self.w, self.device)
            }
            (Channel::Data, message_type::JOB_PROGRESS) => match envelope.param::<JobProgress>() {
                Ok(progress) => self.progress(&progress),
                Err(error) => self.refuse(envelope, &error),
            },
            (Channel::Data, message_type::JOB_RESULT) => match envelope.param::<JobReport>() {
                Ok(report) => self.result(envelope, &report),
                Err(error) => self.refuse(envelope, &error),
            },
            (Channel::Reply, _) if envelope.code.is_some() => self.reply(envelope),
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
        let answer = json!(LinkUpAnswer {
            spread: self.spread,
        });
        self.respond(envelope.mid, message_type::LINK_UP, code::OK, "", answer);
        outbox::hurry(self.w, self.now, self.device, self.patience.query_seconds)?;
        self.current_job(link.dau.job.as_ref())
    }

    fn heartbeat(&mut self, envelope: &Envelope) -> Result<()> {
        let heartbeat: Heartbeat = envelope.param().unwrap_or_default();
        let was_down = terminals::alive(self.w, self.now, self.device, &heartbeat.dau)?;
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
        self.current_job(heartbeat.dau.job.as_ref())
    }

    /// Handles the terminal's report of its current job, if any.
    fn current_job(&mut self, job: Option<&JobProgress>) -> Result<()> {
        match job {
            Some(job) => self.progress(job),
            None => self.busy_with(None),
        }
    }

    /// Notes a job that keeps the terminal from accepting this station's orders; own jobs are
    /// tracked anyway.
    fn busy_with(&mut self, id: Option<i64>) -> Result<()> {
        let foreign = match id {
            Some(id) => jobs::known(self.w, id)?
                .is_none_or(|job| job.terminal != self.device || job.state == State::Finished),
            None => false,
        };
        let busy_with = id.filter(|_| foreign);
        match self.seen.get_mut(self.device) {
            Some(seen) if seen.busy_with == busy_with => return Ok(()),
            Some(seen) => seen.busy_with = busy_with,
            None => {}
        }
        terminals::set_busy_with(self.w, self.device, busy_with)
    }

    /// Notes that the terminal has finished this job.
    fn not_busy(&mut self, id: i64) -> Result<()> {
        match self.seen.get_mut(self.device) {
            Some(seen) if seen.busy_with != Some(id) => return Ok(()),
            Some(seen) => seen.busy_with = None,
            None => {}
        }
        orders::not_busy(self.w, self.now, self.device, id)
    }

    fn progress(&mut self, progress: &JobProgress) -> Result<()> {
        let Some(job) = self.own_job(progress.job_id)? else {
            return self.busy_with(Some(progress.job_id));
        };
        let figures = Figures {
            progress: progress.progress,
            bytes: progress.bytes,
            total: progress.total,
            used: progress.bytes_used,
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
                self.lost_states(&job, report)?;
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
            // Another station's job, or one older than this database: acknowledged, or it would be
            // reported for ever.
            None => {
                outbox::forget(self.w, id, self.device)?;
                let (w, now) = (self.w, self.now);
                if events::add_unknown(w, now, self.device, id, &json!(report))? {
                    warn!("{}: reports job {id}, which is not known here", self.device);
                }
            }
        }
        self.not_busy(id)?;
        self.respond(
            envelope.mid,
            message_type::JOB_RESULT,
            code::OK,
            "",
            json!({ "jobId": id }),
        );
        Ok(())
    }

    /// Records the states whose reports were lost with a connection, or with the broker's memory.
    fn lost_states(&self, job: &Known, report: &JobReport) -> Result<()> {
        let named = report.details.iter().flat_map(|details| &details.states);
        let is_state = |word: &&String| {
            let state: Option<State> = word.parse().ok();
            state.is_some_and(|state| state.is_reportable() && state != State::Finished)
        };
        let named: Vec<String> = named.filter(is_state).cloned().collect();
        if job.state == State::Finished || named.is_empty() {
            return Ok(());
        }
        for state in events::missing_states(self.w, job.id, &named)? {
            let detail = json!({ "state": state });
            events::add(self.w, self.now, Subject::job(job.id), kind::STATE, &detail)?;
        }
        Ok(())
    }

    /// Handles a reply to a command, matched by `mid`, or by the job's id if the terminal got `mid`
    /// wrong.
    fn reply(&mut self, envelope: &Envelope) -> Result<()> {
        let code = envelope.code.unwrap_or(code::FAILED);
        let named: Option<StatusQuery> = envelope.param().ok();
        let asked = self.asked.get(&(envelope.mid, self.device.to_owned()));
        let id = asked.copied().or(named.map(|named| named.job_id));
        let job = id.map_or(Ok(None), |id| self.own_job(id))?;
        let Some(job) = job else {
            return match id {
                Some(id) if envelope.message_type == message_type::JOB_CANCEL => {
                    self.foreign_cancelled(envelope, id, code)
                }
                _ => {
                    debug!("{}: reply {} fits no job", self.device, envelope.mid);
                    Ok(())
                }
            };
        };
        let heard = match envelope.message_type.as_str() {
            message_type::UPGRADE => {
                outbox::hold(self.w, job.id, self.device, outbox::Command::Order)?;
                let busy_with = envelope.param.get("busyWith");
                self.busy_with(busy_with.and_then(job_id))?;
                Heard::OrderReply {
                    code,
                    msg: &envelope.msg,
                    busy: busy_with.is_some_and(|other| !other.is_null()),
                }
            }
            message_type::JOB_CANCEL => {
                outbox::hold(self.w, job.id, self.device, outbox::Command::Cancel)?;
                Heard::CancelReply { code }
            }
            message_type::STATUS_QUERY => {
                let status: Option<JobStatus> = envelope.param().ok();
                let figures = status.as_ref().map(|status| Figures {
                    progress: status.progress,
                    bytes: None,
                    total: None,
                    used: None,
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
            "param": short(&envelope.param),
        });
        let subject = Subject::job(job.id);
        events::add(self.w, self.now, subject, kind::ANSWERED, &detail)?;
        self.apply(&job, heard, None)
    }

    /// Handles the reply to the cancellation of a job that this station does not know, see
    /// [`orders::cancel_at`].
    fn foreign_cancelled(&mut self, envelope: &Envelope, id: i64, code: u16) -> Result<()> {
        if !outbox::forget(self.w, id, self.device)? {
            return Ok(());
        }
        let detail = json!({
            "type": envelope.message_type, "mid": envelope.mid, "code": code, "message": envelope.msg,
        });
        let subject = Subject {
            terminal: Some(self.device),
            ..Subject::job(id)
        };
        events::add(self.w, self.now, subject, kind::ANSWERED, &detail)?;
        match code {
            code::OK | code::BAD_REQUEST | code::NOT_FOUND => self.not_busy(id),
            // Too late; its result will follow.
            _ => Ok(()),
        }
    }

    /// Applies the decision of [`decide`].
    fn apply(&mut self, job: &Known, heard: Heard<'_>, figures: Option<Figures>) -> Result<()> {
        let (w, now) = (self.w, self.now);
        let reported = matches!(heard, Heard::Result(_));
        match decide(job.standing(), heard) {
            Step::Stay => {}
            Step::Enter(state) => jobs::enter(w, now, job, state)?,
            Step::Wait => {
                let until = times::after(now, self.patience.busy_seconds);
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
                let ends_at = now.saturating_add(RESULT_AFTER_REFUSAL);
                jobs::finish_soon(w, job, &ending, ends_at)?;
            }
            Step::Cancel => outbox::put(w, now, job.id, self.device, outbox::Command::Cancel)?,
            Step::Late => {
                if let Heard::Result(report) = heard {
                    if !jobs::is_result(w, job.id, &Ending::reported(report, job.cancel_requested))?
                    {
                        events::add_late_result(w, now, job.id, &json!(report))?;
                    }
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
        let topic = Topic::new(self.device, Channel::Response);
        self.replies.push(Outgoing::new(topic, &envelope));
    }
}

#[cfg(test)]
mod tests;
