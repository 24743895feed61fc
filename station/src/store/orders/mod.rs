//! Makes jobs from an order for one or many terminals.

use dau_protocol::MAX_POLICY;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use utoipa::ToSchema;

use super::events::{self, kind, Subject};
use super::packages::Package;
use super::sql::params;
use super::{jobs, outbox, saturated, Read, Result, Write};

mod cancel;
mod due;

pub use cancel::{cancel, cancel_at, not_busy, Cancelled};
pub use due::{expire, retry_busy, silent, Silent};

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    pub id: i64,
    /// Name of the REST token that ordered it.
    pub by: String,
    /// The word of its [`dau_model::Kind`].
    pub upgrade_type: String,
    /// Least seconds that each terminal waits.
    pub policy: u64,
    /// Seconds over which the terminals' starts are spread evenly.
    pub spread: u64,
    /// Bytes that each terminal may spend on it; `None`: no limit.
    pub budget: Option<u64>,
    /// Time when it expires for terminals that have not accepted it.
    pub expires_at: Option<i64>,
}

/// A job that an order made or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ordered {
    pub id: i64,
    /// The order it belongs to.
    pub order: i64,
    pub terminal: String,
    /// Whether the job existed already and has not ended.
    pub existing: bool,
}

/// Makes a job for each terminal, unless the same job is in progress there already.
pub fn create(
    w: &Write<'_>,
    now: i64,
    order: &Order,
    package: &Package,
    terminals: &[String],
) -> Result<Vec<Ordered>> {
    let mut ordered = Vec::with_capacity(terminals.len());
    for (index, terminal) in terminals.iter().enumerate() {
        let same: Option<(i64, i64)> = w.optional(
            "SELECT id, order_id FROM jobs WHERE terminal = ? AND package = ? AND type = ? AND \
             state != 'finished'",
            params![terminal, package.id, order.upgrade_type],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (id, of_order) = match same {
            Some(found) => {
                raise(w, now, found.0, terminal, order.budget)?;
                found
            }
            None => {
                let wait = share(order.spread, index, terminals.len());
                // Terminals refuse a longer wait.
                let policy = order.policy.saturating_add(wait).min(MAX_POLICY);
                (insert(w, now, order, package, terminal, policy)?, order.id)
            }
        };
        ordered.push(Ordered {
            id,
            order: of_order,
            terminal: terminal.clone(),
            existing: same.is_some(),
        });
    }
    Ok(ordered)
}

/// Raises the budget of a job that has not ended, and tells its terminal; a lower one changes nothing,
/// at the terminal either.
fn raise(w: &Write<'_>, now: i64, job: i64, terminal: &str, budget: Option<u64>) -> Result<()> {
    let state: Option<String> = w.optional(
        "UPDATE jobs SET budget = ?1 WHERE id = ?2 AND budget < ?1 RETURNING state",
        params![budget.map(saturated), job],
        |row| row.get(0),
    )?;
    match state {
        Some(state) if state != "queued" => {
            events::add(w, now, Subject::job(job), kind::ORDER_AGAIN, &Value::Null)?;
            outbox::order_again(w, now, job, terminal)
        }
        _ => Ok(()),
    }
}

/// Returns the part of `spread` before the start of the terminal with this index.
fn share(spread: u64, index: usize, count: usize) -> u64 {
    let before = u128::from(spread).saturating_mul(index as u128);
    let before = before.checked_div(count as u128).unwrap_or(0);
    u64::try_from(before).unwrap_or(u64::MAX)
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
    w.execute(
        "INSERT INTO jobs (id, order_id, terminal, package, type, state, created_by, created_at, \
         policy, budget, expires_at, \
         expire) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
        params![
            id,
            order.id,
            terminal,
            package.id,
            order.upgrade_type,
            order.by,
            now,
            i64::try_from(policy).unwrap_or(i64::MAX),
            order.budget.map(saturated),
            order.expires_at,
            order.expires_at.map(|at| at.saturating_sub(now))
        ],
    )?;
    let detail = json!({
        "by": order.by, "order": order.id, "terminal": terminal, "type": order.upgrade_type,
        "package": package.id,
        "version": package.version, "fileSha256": package.file_sha256,
        "manifestSha256": package.manifest_sha256,
        "signer": package.signer, "signerFingerprint": package.signer_fingerprint, "policy": policy,
        "budget": order.budget,
    });
    events::add(w, now, Subject::job(id), kind::CREATED, &detail)?;
    jobs::promote(w, now, terminal)?;
    Ok(id)
}

/// Summary of an order's jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The order.
    pub order: i64,
    /// Number of jobs.
    pub jobs: u64,
    /// Number of jobs by state; of finished jobs by outcome.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// Number of finished jobs.
    pub finished: u64,
}

/// Returns the summary of an order; `None` if it has no jobs.
pub fn summary(r: &Read<'_>, order: i64) -> Result<Option<Summary>> {
    let mut summary = Summary {
        order,
        ..Summary::default()
    };
    let counts: Vec<(String, Option<String>, i64)> = r.all(
        "SELECT state, outcome, count(*) FROM jobs WHERE order_id = ? GROUP BY state, outcome",
        params![order],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    for (state, outcome, count) in counts {
        let count = u64::try_from(count).unwrap_or(0);
        summary.jobs = summary.jobs.saturating_add(count);
        if outcome.is_some() {
            summary.finished = summary.finished.saturating_add(count);
        }
        summary.counts.insert(outcome.unwrap_or(state), count);
    }
    Ok((summary.jobs > 0).then_some(summary))
}
