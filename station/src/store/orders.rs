//! From a request for one or many terminals to jobs, and from waiting jobs to orders.

use rusqlite::{params, Connection, OptionalExtension, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::events::{self, kind, Subject};
use super::jobs;
use super::packages::Package;
use super::{outbox, Write};
use crate::job::{Ending, State};

/// What is ordered.
#[derive(Debug, Clone)]
pub struct Order {
    /// The request's id.
    pub id: i64,
    /// Whose REST token it came with.
    pub by: String,
    /// `kernel`, `rootfs`, `full` or `recovery`.
    pub upgrade_type: String,
    /// Seconds that each terminal waits at least.
    pub policy: u64,
    /// Seconds over which the terminals' starts are spread evenly.
    pub spread: u64,
    /// When it is void where it was not taken.
    pub expires_at: Option<i64>,
}

/// A job that answers a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ordered {
    /// The job.
    pub id: i64,
    /// Its terminal.
    pub terminal: String,
    /// Whether the same order was there already and has not ended.
    pub existing: bool,
}

/// Makes one job for each terminal; where the same is under way already, that is the job.
pub fn create(
    w: &Write<'_>,
    now: i64,
    order: &Order,
    package: &Package,
    terminals: &[String],
) -> Result<Vec<Ordered>> {
    let mut ordered = Vec::with_capacity(terminals.len());
    for (index, terminal) in terminals.iter().enumerate() {
        let same = w
            .prepare_cached(
                "SELECT id FROM jobs WHERE terminal = ? AND package = ? AND type = ? AND state != 'finished'",
            )?
            .query_row(params![terminal, package.id, order.upgrade_type], |row| row.get(0))
            .optional()?;
        let id = match same {
            Some(id) => id,
            None => {
                let wait = order.spread.saturating_mul(index as u64) / terminals.len() as u64;
                insert(w, now, order, package, terminal, order.policy + wait)?
            }
        };
        ordered.push(Ordered {
            id,
            terminal: terminal.clone(),
            existing: same.is_some(),
        });
    }
    Ok(ordered)
}

fn insert(
    w: &Write<'_>,
    now: i64,
    order: &Order,
    package: &Package,
    terminal: &str,
    policy: u64,
) -> Result<i64> {
    let id = w.next_id();
    w.prepare_cached(
        "INSERT INTO jobs (id, order_id, terminal, package, type, state, created_by, created_at, policy, expires_at) \
         VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
    )?
    .execute(params![
        id,
        order.id,
        terminal,
        package.id,
        order.upgrade_type,
        order.by,
        now,
        policy as i64,
        order.expires_at
    ])?;
    let detail = json!({
        "by": order.by, "order": order.id, "terminal": terminal, "type": order.upgrade_type, "package": package.id,
        "version": package.version, "fileSha256": package.file_sha256, "manifestSha256": package.manifest_sha256,
        "signer": package.signer, "signerFingerprint": package.signer_fingerprint, "policy": policy,
    });
    events::add(w, now, Subject::job(id), kind::CREATED, &detail)?;
    promote(w, now, terminal)?;
    Ok(id)
}

/// Orders the oldest waiting job of the terminal, unless another one is under way.
pub fn promote(w: &Write<'_>, now: i64, terminal: &str) -> Result<()> {
    let next: Option<i64> = w
        .prepare_cached(
            "SELECT id FROM jobs WHERE terminal = ?1 AND state = 'queued' AND coalesce(not_before, 0) <= ?2 \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE terminal = ?1 AND state NOT IN ('queued', 'finished')) \
             ORDER BY id LIMIT 1",
        )?
        .query_row(params![terminal, now], |row| row.get(0))
        .optional()?;
    if let Some(job) = next {
        w.prepare_cached("UPDATE jobs SET state = 'ordered', not_before = NULL WHERE id = ?")?
            .execute([job])?;
        outbox::put(w, now, job, terminal, outbox::Command::Order)?;
    }
    Ok(())
}

/// What became of a request to call a job off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// There is no such job.
    Unknown,
    /// It was over already.
    Over,
    /// It is over now.
    Ended,
    /// The terminal is asked.
    Asked,
}

/// Calls a job off. `abandon` ends it here whatever the terminal does: for terminals that are gone.
pub fn cancel(w: &Write<'_>, now: i64, id: i64, by: &str, abandon: bool) -> Result<Cancelled> {
    let Some(job) = jobs::known(w, id)? else {
        return Ok(Cancelled::Unknown);
    };
    if job.state == State::Finished {
        return Ok(Cancelled::Over);
    }
    w.execute(
        "UPDATE jobs SET cancel_requested_by = coalesce(cancel_requested_by, ?1), \
         cancel_requested_at = coalesce(cancel_requested_at, ?2) WHERE id = ?3",
        params![by, now, id],
    )?;
    let detail = json!({"by": by, "abandon": abandon});
    events::add(w, now, Subject::job(id), kind::CANCEL, &detail)?;
    if abandon {
        jobs::finish(w, now, &job, &abandoned(by), false)?;
        return Ok(Cancelled::Ended);
    }
    if job.state == State::Queued || !was_sent(w, id)? {
        jobs::finish(w, now, &job, &Ending::cancelled(), false)?;
        return Ok(Cancelled::Ended);
    }
    outbox::hold(w, id, outbox::Command::Order)?;
    outbox::put(w, now, id, &job.terminal, outbox::Command::Cancel)?;
    Ok(Cancelled::Asked)
}

fn abandoned(by: &str) -> Ending {
    Ending::by_station(
        crate::job::outcome::FAILED,
        dau_protocol::code::FAILED,
        "abandoned",
        &format!("{by} gave the job up without waiting for the terminal"),
    )
}

fn was_sent(connection: &Connection, job: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT ordered_at IS NOT NULL FROM jobs WHERE id = ?")?
        .query_row([job], |row| row.get(0))
}

/// Ends jobs that were not taken in time; at most `limit` at once.
pub fn expire(w: &Write<'_>, now: i64, limit: u32) -> Result<usize> {
    let due: Vec<i64> = w
        .prepare_cached(
            "SELECT id FROM jobs WHERE state IN ('queued', 'ordered') AND expires_at < ? LIMIT ?",
        )?
        .query_map(params![now, limit], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for id in &due {
        let Some(job) = jobs::known(w, *id)? else {
            continue;
        };
        let ending = match job.cancel_requested {
            true => Ending::cancelled(),
            false => Ending::expired(),
        };
        jobs::finish(w, now, &job, &ending, false)?;
    }
    Ok(due.len())
}

/// Orders again what waited for a busy terminal.
pub fn retry_busy(w: &Write<'_>, now: i64, limit: u32) -> Result<()> {
    let due: Vec<(i64, String)> = w
        .prepare_cached(
            "SELECT id, terminal FROM jobs WHERE state = 'queued' AND not_before <= ? LIMIT ?",
        )?
        .query_map(params![now, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    for (id, terminal) in due {
        w.execute("UPDATE jobs SET not_before = NULL WHERE id = ?", [id])?;
        promote(w, now, &terminal)?;
    }
    Ok(())
}

/// A terminal that is silent about its job.
#[derive(Debug)]
pub struct Silent {
    /// Correlates the answer to the question.
    pub mid: i64,
    /// The job.
    pub job: i64,
    /// The terminal.
    pub terminal: String,
}

/// Jobs whose terminals are to be asked now; each is asked half as often each time, and not while its link is down:
/// [`outbox::hurry`] brings that up again.
pub fn silent(w: &Write<'_>, now: i64, query_seconds: u64, limit: u32) -> Result<Vec<Silent>> {
    let due: Vec<(i64, String, u32, bool)> = w
        .prepare_cached(
            "SELECT j.id, j.terminal, j.queries, t.link = 'down' FROM jobs j \
             JOIN terminals t ON t.id = j.terminal WHERE j.query_at <= ? LIMIT ?",
        )?
        .query_map(params![now, limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_>>()?;
    let mut asked = Vec::with_capacity(due.len());
    for (job, terminal, queries, down) in due {
        let wait = query_seconds.saturating_mul(1 << (queries + 1).min(6)) as i64;
        let mid = w.next_id();
        w.execute(
            "UPDATE jobs SET query_at = ?, query_mid = ?, queries = queries + 1 WHERE id = ?",
            params![now + wait, mid, job],
        )?;
        if !down {
            asked.push(Silent { mid, job, terminal });
        }
    }
    Ok(asked)
}

/// How the jobs of a request stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The request.
    pub order: i64,
    /// Jobs in all.
    pub jobs: u64,
    /// Jobs by state; finished ones by outcome.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// Jobs that are over.
    pub finished: u64,
}

/// How the jobs of `order` stand; `None` where there are none.
pub fn summary(connection: &Connection, order: i64) -> Result<Option<Summary>> {
    let mut summary = Summary {
        order,
        ..Summary::default()
    };
    let mut statement = connection.prepare_cached(
        "SELECT state, outcome, count(*) FROM jobs WHERE order_id = ? GROUP BY state, outcome",
    )?;
    let mut rows = statement.query([order])?;
    while let Some(row) = rows.next()? {
        let (state, outcome): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let count = row.get::<_, i64>(2)? as u64;
        summary.jobs += count;
        if outcome.is_some() {
            summary.finished += count;
        }
        summary.counts.insert(outcome.unwrap_or(state), count);
    }
    Ok((summary.jobs > 0).then_some(summary))
}
