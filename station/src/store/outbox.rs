//! Commands that have to reach terminals: each is sent until it is answered.

use anyhow::Context;
use dau_protocol::{message_type, Cancel, Envelope, File, Topic, Upgrade, UpgradeType, Word};
use rusqlite::{params, Connection, OptionalExtension, Result};
use serde_json::json;

use super::events::{self, kind, Subject};
use super::tokens::{self, Grant};
use super::Write;
use crate::clock;
use crate::config::{Config, Jobs};
use crate::link::Outgoing;

/// Least seconds between two tokens for one job.
const ORDER_AGAIN_PAUSE: i64 = 5;

/// What is sent.
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

/// Has `command` sent at `at`. One that waits for its answer already is not doubled.
pub fn put(w: &Write<'_>, at: i64, job: i64, terminal: &str, command: Command) -> Result<()> {
    w.prepare_cached(
        "INSERT INTO outbox (mid, job, terminal, command, send_at) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (job, command) DO NOTHING",
    )?
    .execute(params![w.next_id(), job, terminal, command.word(), at])?;
    Ok(())
}

/// Has the order sent again, as a new message with a new token: at once, but not every second for one that asks so often.
pub fn order_again(w: &Write<'_>, now: i64, job: i64, terminal: &str) -> Result<()> {
    let last: Option<(i64, bool)> = w
        .prepare_cached(
            "SELECT mid, send_at IS NOT NULL AND sent = 0 FROM outbox WHERE job = ? AND command = 'order'",
        )?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let at = match last {
        Some((_, true)) => return Ok(()),
        Some((mid, false)) => now.max(clock::seconds_of_id(mid) + ORDER_AGAIN_PAUSE),
        None => now,
    };
    w.execute(
        "DELETE FROM outbox WHERE job = ? AND command = 'order'",
        [job],
    )?;
    put(w, at, job, terminal, Command::Order)
}

/// The command was answered, or shall not be sent any more.
pub fn hold(w: &Write<'_>, job: i64, command: Command) -> Result<()> {
    w.prepare_cached("UPDATE outbox SET send_at = NULL WHERE job = ? AND command = ?")?
        .execute(params![job, command.word()])?;
    Ok(())
}

/// The job needs no commands any more.
pub fn forget(w: &Write<'_>, job: i64) -> Result<()> {
    w.prepare_cached("DELETE FROM outbox WHERE job = ?")?
        .execute([job])?;
    Ok(())
}

/// The terminal is there: what it has not answered is sent now, and if it says nothing of its job, it is asked soon.
pub fn hurry(w: &Write<'_>, now: i64, terminal: &str, query_seconds: u64) -> Result<()> {
    w.prepare_cached(
        "UPDATE outbox SET send_at = ?, sent = 0 WHERE terminal = ? AND send_at IS NOT NULL",
    )?
    .execute(params![now, terminal])?;
    w.prepare_cached(
        "UPDATE jobs SET query_at = ?, queries = 0 \
         WHERE terminal = ? AND query_at IS NOT NULL AND state NOT IN ('queued', 'finished')",
    )?
    .execute(params![now + query_seconds as i64, terminal])?;
    Ok(())
}

/// The job that a command or question was about.
pub fn job_of(connection: &Connection, mid: i64) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT job FROM outbox WHERE mid = ?1 UNION ALL SELECT id FROM jobs WHERE query_mid = ?1",
        )?
        .query_row([mid], |row| row.get(0))
        .optional()
}

/// Seconds until the next sending after `sent` sendings.
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
}

/// The messages that are due, at most `limit`, and notes when to send them again. Whoever calls publishes them after the
/// commit: should the station die in between, they are sent again anyway.
pub fn take_due(
    w: &Write<'_>,
    now: i64,
    config: &Config,
    limit: u32,
) -> anyhow::Result<Vec<Outgoing>> {
    let due: Vec<Due> = w
        .prepare_cached(
            "SELECT o.mid, o.job, o.terminal, o.command, o.sent, t.link = 'down' FROM outbox o \
             JOIN terminals t ON t.id = o.terminal WHERE o.send_at <= ? ORDER BY o.send_at LIMIT ?",
        )?
        .query_map(params![now, limit], |row| {
            let command: String = row.get(3)?;
            Ok(Due {
                mid: row.get(0)?,
                job: row.get(1)?,
                terminal: row.get(2)?,
                command: Command::from_word(&command),
                sent: row.get(4)?,
                down: row.get(5)?,
            })
        })?
        .collect::<Result<_>>()?;
    let mut messages = Vec::with_capacity(due.len());
    for due in due {
        // The broker keeps one copy for a terminal that is away, and EVENT_LINKUP brings the next: more would only pile up.
        if due.down && due.sent > 0 {
            note(w, &due, now + config.jobs.resend_most_seconds as i64, false)?;
            continue;
        }
        messages.push(message(w, now, config, &due)?);
        note(w, &due, now + pause(&config.jobs, due.sent) as i64, true)?;
        let detail = json!({"command": due.command.word(), "mid": due.mid});
        events::add(w, now, Subject::job(due.job), kind::SENT, &detail)?;
    }
    Ok(messages)
}

fn note(w: &Write<'_>, due: &Due, send_at: i64, was_sent: bool) -> Result<()> {
    w.prepare_cached("UPDATE outbox SET sent = sent + ?, send_at = ? WHERE mid = ?")?
        .execute(params![was_sent, send_at, due.mid])?;
    Ok(())
}

fn message(w: &Write<'_>, now: i64, config: &Config, due: &Due) -> anyhow::Result<Outgoing> {
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
        Topic::new(&due.terminal, Word::Command),
        &envelope,
    ))
}

fn order(w: &Write<'_>, now: i64, config: &Config, due: &Due) -> anyhow::Result<Envelope> {
    w.prepare_cached("UPDATE jobs SET ordered_at = coalesce(ordered_at, ?) WHERE id = ?")?
        .execute(params![now, due.job])?;
    let (package, upgrade_type, policy, expires_at): (i64, String, i64, Option<i64>) = w
        .prepare_cached("SELECT package, type, policy, expires_at FROM jobs WHERE id = ?")?
        .query_row([due.job], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    let package = super::packages::get(w, package)?.context("the job's package is gone")?;
    let grant = Grant {
        terminal: due.terminal.clone(),
        package: package.id,
        job: due.job,
    };
    let expiry = now + config.downloads.token_seconds as i64;
    let upgrade = Upgrade {
        job_id: due.job,
        policy: policy as u64,
        version: package.version,
        upgrade_type: match upgrade_type.as_str() {
            "kernel" => UpgradeType::Kernel,
            "rootfs" => UpgradeType::Rootfs,
            "recovery" => UpgradeType::Recovery,
            _ => UpgradeType::Full,
        },
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
    };
    let clock = u64::try_from(now).unwrap_or(0);
    Ok(Envelope {
        expire: expires_at.map(|at| (at - now).max(0)),
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
