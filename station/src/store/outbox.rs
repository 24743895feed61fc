//! Commands to terminals; each is sent until it is answered.

use dau_model::Kind;
use dau_protocol::{message_type, Cancel, Channel, Envelope, File, Topic, Upgrade};
use serde_json::json;

use super::events::{self, kind, Subject};
use super::sql::params;
use super::times::Moment;
use super::tokens::{self, Grant};
use super::{locks, times, Cause, Error, Read, Result, Write};
use crate::config::{Config, Jobs};

/// Attempts after which a command is given up if no unfinished job waits for it: about a day.
const MOST_SENDINGS: u32 = 30;

/// A message to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub payload: Vec<u8>,
}

impl Outgoing {
    /// Encodes `envelope` for `topic`.
    pub fn new(topic: Topic, envelope: &Envelope) -> Self {
        Outgoing {
            topic: topic.to_string(),
            payload: envelope.to_bytes(),
        }
    }
}

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// CMD_SYS_UPGRADE
    Order,
    /// CMD_JOB_CANCEL
    Cancel,
}

impl Command {
    fn word(self) -> &'static str {
        match self {
            Command::Order => "order",
            Command::Cancel => "cancel",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "cancel" => Command::Cancel,
            _ => Command::Order,
        }
    }
}

/// Sends `command` now, as a new message. One that waits for an answer is not repeated; one that
/// was answered is sent again, but not every second to a terminal that causes it so often.
pub fn put(w: &Write<'_>, now: i64, job: i64, terminal: &str, command: Command) -> Result<()> {
    let last: Option<i64> = w.optional(
        "DELETE FROM outbox WHERE job = ? AND terminal = ? AND command = ? AND send_at IS NULL \
         RETURNING put_at",
        params![job, terminal, command.word()],
        |row| row.get(0),
    )?;
    w.execute(
        "INSERT INTO outbox (mid, job, terminal, command, put_at, send_at) VALUES (?, \
         ?, ?, ?, ?, ?) ON CONFLICT (job, terminal, command) DO NOTHING",
        params![
            w.next_id()?,
            job,
            terminal,
            command.word(),
            now,
            not_too_soon(now, last)
        ],
    )?;
    Ok(())
}

/// Returns the time of the next attempt after one at `last`: at most the least pause from now,
/// whatever clock wrote `last`.
fn not_too_soon(now: i64, last: Option<i64>) -> i64 {
    let earliest = last.map_or(now, |last| last.saturating_add(times::LEAST_PAUSE));
    earliest.clamp(now, now.saturating_add(times::LEAST_PAUSE))
}

/// Sends the order again, as a new message with a new token, unless one is due already.
pub fn order_again(w: &Write<'_>, now: i64, job: i64, terminal: &str) -> Result<()> {
    w.execute(
        "UPDATE outbox SET send_at = NULL WHERE job = ? AND terminal = ? AND command = \
         'order' AND sent > 0",
        params![job, terminal],
    )?;
    put(w, now, job, terminal, Command::Order)
}

/// Stops sending a command, as it was answered or is not needed any more.
pub fn hold(w: &Write<'_>, job: i64, terminal: &str, command: Command) -> Result<()> {
    w.execute(
        "UPDATE outbox SET send_at = NULL WHERE job = ? AND terminal = ? AND command = ?",
        params![job, terminal, command.word()],
    )?;
    Ok(())
}

/// Removes the job's commands to this terminal; returns whether there were any.
pub fn forget(w: &Write<'_>, job: i64, terminal: &str) -> Result<bool> {
    let gone = w.execute(
        "DELETE FROM outbox WHERE job = ? AND terminal = ?",
        params![job, terminal],
    )?;
    Ok(gone > 0)
}

/// Handles a terminal's return: sends unanswered commands now, and asks soon if the terminal says
/// nothing of its job.
pub fn hurry(w: &Write<'_>, now: i64, terminal: &str, query_seconds: u64) -> Result<()> {
    w.execute(
        "UPDATE outbox SET send_at = ?, sent = 0 WHERE terminal = ? AND send_at IS NOT NULL",
        params![now, terminal],
    )?;
    w.execute(
        "UPDATE jobs SET query_at = ?, queries = 0 \
         WHERE terminal = ? AND query_at IS NOT NULL AND state NOT IN ('queued', 'finished')",
        params![times::after(now, query_seconds), terminal],
    )?;
    Ok(())
}

/// Returns the job of a command or question to this terminal.
pub fn job_of(r: &Read<'_>, mid: i64, terminal: &str) -> Result<Option<i64>> {
    r.optional(
        "SELECT job FROM outbox WHERE mid = ?1 AND terminal = ?2 \
         UNION ALL SELECT id FROM jobs WHERE query_mid = ?1 AND terminal = ?2",
        params![mid, terminal],
        |row| row.get(0),
    )
}

/// Returns the seconds until the next attempt after `sent` attempts.
fn pause(jobs: &Jobs, sent: u32) -> u64 {
    let doubled = jobs.resend_seconds.saturating_mul(1 << sent.min(20));
    doubled.min(jobs.resend_most_seconds)
}

struct Due {
    mid: i64,
    job: i64,
    terminal: String,
    command: Command,
    sent: u32,
    down: bool,
    needed: bool,
}

/// What was due.
#[derive(Debug)]
pub struct Taken {
    pub messages: Vec<Outgoing>,
    /// Number of commands, those included that were given up or put off.
    pub taken: u32,
}

/// Returns at most `limit` due messages, and notes their next attempts. The caller publishes them
/// after the commit; if the station dies in between, they are sent again. None is repeated while its
/// answer may wait at the broker.
pub fn take_due(w: &Write<'_>, at: Moment, config: &Config, limit: u32) -> Result<Taken> {
    let Moment { now, heard } = at;
    let claim = locks::claim(w, "o, t");
    let due: Vec<Due> = w.all(
        &format!(
            "SELECT o.mid, o.job, o.terminal, o.command, o.sent, t.link = 'down', \
             j.id IS NOT NULL FROM outbox o JOIN terminals t ON t.id = o.terminal \
             LEFT JOIN jobs j ON j.id = o.job AND j.terminal = o.terminal \
             AND j.state != 'finished' WHERE o.send_at <= ?1 \
             AND (o.sent = 0 OR o.send_at <= ?2) ORDER BY o.send_at LIMIT ?3{claim}"
        ),
        params![now, heard, limit],
        |row| {
            let command: String = row.get(3)?;
            Ok(Due {
                mid: row.get(0)?,
                job: row.get(1)?,
                terminal: row.get(2)?,
                command: Command::from_word(&command),
                sent: row.get(4)?,
                down: row.get(5)?,
                needed: row.get(6)?,
            })
        },
    )?;
    let mut messages = Vec::with_capacity(due.len());
    let taken = u32::try_from(due.len()).unwrap_or(limit);
    for due in due {
        if !due.needed && due.sent >= MOST_SENDINGS {
            forget(w, due.job, &due.terminal)?;
            continue;
        }
        // The broker keeps one copy for an absent terminal, and EVENT_LINKUP causes the next; more
        // copies would only pile up.
        if due.down && due.sent > 0 {
            let next = times::after(now, config.jobs.resend_most_seconds);
            note(w, &due, next, false)?;
            continue;
        }
        messages.push(message(w, now, config, &due)?);
        let next = times::after(now, pause(&config.jobs, due.sent));
        note(w, &due, next, true)?;
        let detail = json!({"command": due.command.word(), "mid": due.mid, "file": file(w, &due)?});
        let subject = Subject {
            terminal: (!due.needed).then_some(&due.terminal),
            ..Subject::job(due.job)
        };
        events::add(w, now, subject, kind::SENT, &detail)?;
    }
    Ok(Taken { messages, taken })
}

/// Returns the package or delta package that an order names.
fn file(r: &Read<'_>, due: &Due) -> Result<Option<i64>> {
    match due.command {
        Command::Cancel => Ok(None),
        Command::Order => r.one(
            "SELECT coalesce(offered, package) FROM jobs WHERE id = ?",
            params![due.job],
            |row| row.get(0),
        ),
    }
}

fn note(w: &Write<'_>, due: &Due, send_at: i64, was_sent: bool) -> Result<()> {
    w.execute(
        "UPDATE outbox SET sent = sent + ?, send_at = ? WHERE mid = ?",
        params![i64::from(was_sent), send_at, due.mid],
    )?;
    Ok(())
}

fn message(w: &Write<'_>, now: i64, config: &Config, due: &Due) -> Result<Outgoing> {
    let clock = u64::try_from(now).unwrap_or(0);
    let envelope = match due.command {
        Command::Order => order(w, now, config, due)?,
        Command::Cancel => {
            let param = Cancel { job_id: due.job };
            Envelope::request(
                due.mid,
                &due.terminal,
                clock,
                message_type::JOB_CANCEL,
                param,
            )
        }
    };
    Ok(Outgoing::new(
        Topic::new(&due.terminal, Channel::Command),
        &envelope,
    ))
}

fn order(w: &Write<'_>, now: i64, config: &Config, due: &Due) -> Result<Envelope> {
    w.execute(
        "UPDATE jobs SET ordered_at = coalesce(ordered_at, ?) WHERE id = ?",
        params![now, due.job],
    )?;
    let (package, kind, policy, budget, expires_at): (i64, String, i64, Option<i64>, Option<i64>) =
        w.one(
            "SELECT coalesce(offered, package), type, policy, budget, expires_at FROM jobs \
             WHERE id = ?",
            params![due.job],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )?;
    let package = super::packages::get(w, package)?
        .ok_or_else(|| Error::new(Cause::Data, format!("the file of job {} is gone", due.job)))?;
    let grant = Grant {
        terminal: due.terminal.clone(),
        package: package.id,
        job: due.job,
    };
    let expiry = times::after(now, config.downloads.token_seconds);
    let upgrade = Upgrade {
        job_id: due.job,
        policy: u64::try_from(policy).unwrap_or(0),
        version: package.version,
        kind: kind.parse().unwrap_or(Kind::Full),
        file: File {
            url: format!(
                "{}/packages/{}/{}",
                config.https.public_url, package.id, package.name
            ),
            name: package.name,
            size: i64::try_from(package.size).ok(),
            md5: Some(package.file_md5),
            token: Some(tokens::issue(w, &grant, expiry)?),
        },
        budget: budget.and_then(|bytes| u64::try_from(bytes).ok()),
    };
    let clock = u64::try_from(now).unwrap_or(0);
    Ok(Envelope {
        expire: expires_at.map(|at| at.saturating_sub(now).max(0)),
        ..Envelope::request(
            due.mid,
            &due.terminal,
            clock,
            message_type::UPGRADE,
            upgrade.to_param(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most() {
        let jobs = Jobs {
            resend_seconds: 30,
            resend_most_seconds: 3600,
            ..Jobs::default()
        };
        let pauses: Vec<u64> = (0..9).map(|sent| pause(&jobs, sent)).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause(&jobs, u32::MAX), 3600);
    }
}
