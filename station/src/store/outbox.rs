//! Commands to terminals; each is sent until it is answered.

use std::collections::hash_map::Entry;
use std::collections::HashMap;

use dau_model::Kind;
use dau_protocol::{message_type, Cancel, Channel, Envelope, File, Topic, Upgrade};
use serde_json::json;

use super::events::{self, kind, Subject};
use super::packages::Package;
use super::sql::{params, Row, ToValue, Value};
use super::times::Moment;
use super::tokens::{self, Grant, NewToken};
use super::{jobs, locks, times, Cause, Error, Read, Result, Write};
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

/// The order of a job that was never sent.
#[derive(Debug)]
pub struct New<'a> {
    pub mid: i64,
    pub job: i64,
    pub terminal: &'a str,
}

/// Sends orders now.
pub fn put_orders(w: &Write<'_>, now: i64, orders: &[New<'_>]) -> Result<()> {
    w.rows(
        orders,
        "(?, ?, ?, 'order', ?, ?)",
        |rows| {
            format!(
                "INSERT INTO outbox (mid, job, terminal, command, put_at, send_at) VALUES {rows} \
                 ON CONFLICT (job, terminal, command) DO NOTHING"
            )
        },
        |new| {
            [
                new.mid.to_value(),
                new.job.to_value(),
                new.terminal.to_value(),
                now.to_value(),
                now.to_value(),
            ]
        },
    )
}

/// Returns the time of the next attempt after one at `last`: at most the least pause from now,
/// whatever clock wrote `last`.
fn not_too_soon(now: i64, last: Option<i64>) -> i64 {
    let earliest = last.map_or(now, |last| last.saturating_add(times::LEAST_PAUSE));
    earliest.clamp(now, now.saturating_add(times::LEAST_PAUSE))
}

/// Sends the order again, as a new message with a new token, unless one is due already.
pub fn order_again(w: &Write<'_>, now: i64, job: i64, terminal: &str) -> Result<()> {
    w.run(
        "UPDATE outbox SET send_at = NULL WHERE job = ? AND terminal = ? AND command = \
         'order' AND sent > 0",
        params![job, terminal],
    )?;
    put(w, now, job, terminal, Command::Order)
}

/// Stops sending a command, as it was answered or is not needed any more.
pub fn hold(w: &Write<'_>, job: i64, terminal: &str, command: Command) -> Result<()> {
    w.run(
        "UPDATE outbox SET send_at = NULL WHERE job = ? AND terminal = ? AND command = ?",
        params![job, terminal, command.word()],
    )
}

/// Removes the job's commands to this terminal.
pub fn drop_all(w: &Write<'_>, job: i64, terminal: &str) -> Result<()> {
    w.run(FORGET, params![job, terminal])
}

const FORGET: &str = "DELETE FROM outbox WHERE job = ? AND terminal = ?";

/// Removes the job's commands to this terminal; returns whether there were any.
pub fn forget(w: &Write<'_>, job: i64, terminal: &str) -> Result<bool> {
    Ok(w.execute(FORGET, params![job, terminal])? > 0)
}

/// Handles a terminal's return: sends unanswered commands now, and asks soon if the terminal says
/// nothing of its job.
pub fn hurry(w: &Write<'_>, now: i64, terminal: &str, query_seconds: u64) -> Result<()> {
    w.run(
        "UPDATE outbox SET send_at = ?, sent = 0 WHERE terminal = ? AND send_at IS NOT NULL",
        params![now, terminal],
    )?;
    w.run(
        "UPDATE jobs SET query_at = ?, queries = 0 \
         WHERE terminal = ? AND query_at IS NOT NULL AND state NOT IN ('queued', 'finished')",
        params![times::after(now, query_seconds), terminal],
    )
}

/// Returns the jobs of commands and questions to terminals, by the ids of the messages.
pub fn jobs_of(r: &Read<'_>, mids: &[i64]) -> Result<HashMap<(i64, String), i64>> {
    let row = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get(2)?));
    let commands =
        |mids: &str| format!("SELECT mid, terminal, job FROM outbox WHERE mid IN ({mids})");
    let questions = |mids: &str| {
        format!("SELECT query_mid, terminal, id FROM jobs WHERE query_mid IN ({mids})")
    };
    let mut found: HashMap<_, _> = r
        .for_keys(mids, questions, params![], row)?
        .into_iter()
        .collect();
    found.extend(r.for_keys(mids, commands, params![], row)?);
    Ok(found)
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
    /// What an order says; `None`: there is no such job.
    order: Option<Order>,
}

struct Order {
    /// The package or delta package.
    file: i64,
    kind: String,
    policy: i64,
    budget: Option<i64>,
    expires_at: Option<i64>,
}

impl Due {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let (command, file): (String, Option<i64>) = (row.get(3)?, row.get(7)?);
        let order = match file {
            Some(file) => Some(Order {
                file,
                kind: row.get(8)?,
                policy: row.get(9)?,
                budget: row.get(10)?,
                expires_at: row.get(11)?,
            }),
            None => None,
        };
        Ok(Due {
            mid: row.get(0)?,
            job: row.get(1)?,
            terminal: row.get(2)?,
            command: Command::from_word(&command),
            sent: row.get(4)?,
            down: row.get(5)?,
            needed: row.get::<Option<bool>>(6)?.unwrap_or(false),
            order,
        })
    }

    /// Returns the file that an order names.
    fn file(&self) -> Option<i64> {
        match (self.command, &self.order) {
            (Command::Order, Some(order)) => Some(order.file),
            _ => None,
        }
    }
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
             j.state != 'finished', coalesce(j.offered, j.package), j.type, j.policy, j.budget, \
             j.expires_at FROM outbox o JOIN terminals t ON t.id = o.terminal \
             LEFT JOIN jobs j ON j.id = o.job AND j.terminal = o.terminal \
             WHERE o.send_at <= ?1 \
             AND (o.sent = 0 OR o.send_at <= ?2) AND t.barred IS NULL ORDER BY o.send_at LIMIT ?3{claim}"
        ),
        params![now, heard, limit],
        Due::from_row,
    )?;
    jobs::load(w, due.iter().map(|due| due.job))?;
    let taken = u32::try_from(due.len()).unwrap_or(limit);
    let mut packages = Packages::default();
    let (mut messages, mut tokens) = (Vec::with_capacity(due.len()), Vec::new());
    // Message, seconds until the next attempt, and whether this is one.
    let mut notes: Vec<(i64, i64, bool)> = Vec::with_capacity(due.len());
    for due in due {
        if !due.needed && due.sent >= MOST_SENDINGS {
            drop_all(w, due.job, &due.terminal)?;
            continue;
        }
        // The broker keeps one copy for an absent terminal, and EVENT_LINKUP causes the next; more
        // copies would only pile up.
        if due.down && due.sent > 0 {
            let next = times::after(now, config.jobs.resend_most_seconds);
            notes.push((due.mid, next, false));
            continue;
        }
        let envelope = match due.command {
            Command::Order => order(w, now, config, &due, (&mut packages, &mut tokens))?,
            Command::Cancel => cancel(now, &due),
        };
        let topic = Topic::new(&due.terminal, Channel::Command);
        messages.push(Outgoing::new(topic, &envelope));
        let next = times::after(now, pause(&config.jobs, due.sent));
        notes.push((due.mid, next, true));
        let detail = json!({"command": due.command.word(), "mid": due.mid, "file": due.file()});
        let subject = Subject {
            terminal: (!due.needed).then_some(&due.terminal),
            ..Subject::job(due.job)
        };
        events::add(w, now, subject, kind::SENT, &detail)?;
    }
    tokens::issue(w, &tokens)?;
    note(w, &notes)?;
    Ok(Taken { messages, taken })
}

fn note(w: &Write<'_>, notes: &[(i64, i64, bool)]) -> Result<()> {
    w.rows(
        notes,
        "(CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))",
        |rows| {
            format!(
                "UPDATE outbox SET sent = sent + CAST(v.column3 AS INTEGER), send_at = v.column2 \
                 FROM (VALUES {rows}) AS v WHERE mid = v.column1"
            )
        },
        |(mid, next, was_sent)| {
            [
                mid.to_value(),
                next.to_value(),
                Value::Integer((*was_sent).into()),
            ]
        },
    )
}

fn cancel(now: i64, due: &Due) -> Envelope {
    let clock = u64::try_from(now).unwrap_or(0);
    let param = Cancel { job_id: due.job };
    Envelope::request(
        due.mid,
        &due.terminal,
        clock,
        message_type::JOB_CANCEL,
        param,
    )
}

/// Packages that were read already.
type Packages = HashMap<i64, Package>;

fn order(
    w: &Write<'_>,
    now: i64,
    config: &Config,
    due: &Due,
    (packages, tokens): (&mut Packages, &mut Vec<NewToken>),
) -> Result<Envelope> {
    let gone = || Error::new(Cause::Data, format!("the file of job {} is gone", due.job));
    let order = due.order.as_ref().ok_or_else(gone)?;
    jobs::ordered(w, now, due.job)?;
    let package = match packages.entry(order.file) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let found = super::packages::get(w, order.file)?;
            place.insert(found.ok_or_else(gone)?)
        }
    };
    let grant = Grant {
        terminal: due.terminal.clone(),
        package: package.id,
        job: due.job,
    };
    let expiry = times::after(now, config.downloads.token_seconds);
    let (token, new) = tokens::generate(grant, expiry)?;
    tokens.push(new);
    let upgrade = Upgrade {
        job_id: due.job,
        policy: u64::try_from(order.policy).unwrap_or(0),
        version: package.version.clone(),
        kind: order.kind.parse().unwrap_or(Kind::Full),
        file: File {
            url: format!(
                "{}/packages/{}/{}",
                config.https.public_url, package.id, package.name
            ),
            name: package.name.clone(),
            size: i64::try_from(package.size).ok(),
            md5: Some(package.file_md5.clone()),
            token: Some(token),
        },
        budget: order.budget.and_then(|bytes| u64::try_from(bytes).ok()),
    };
    let clock = u64::try_from(now).unwrap_or(0);
    Ok(Envelope {
        expire: order.expires_at.map(|at| at.saturating_sub(now).max(0)),
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
