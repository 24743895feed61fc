//! Orders as REST shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::sql::{params, Row};
use crate::store::{Error, Read, Result};
use crate::{clock, words};

/// An order, with the state of its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The order's id.
    pub id: i64,
    /// The package's id.
    pub package: i64,
    /// Version of the package.
    pub version: String,
    /// The word of its [`dau_model::Kind`].
    #[serde(rename = "type")]
    #[schema(schema_with = words::kinds)]
    pub upgrade_type: String,
    /// Name of the REST token that ordered it.
    pub created_by: String,
    /// RFC 3339, like the other times.
    pub created_at: String,
    /// Least seconds that each terminal waits.
    pub policy: u64,
    /// Seconds over which the terminals' starts are spread.
    pub spread: u64,
    /// Bytes that each terminal may spend on it; null: no limit.
    pub budget: Option<u64>,
    /// Time when it expires for terminals that have not accepted it.
    pub expires_at: Option<String>,
    /// `making`: its jobs are being made; `made`; `cancelling`: its jobs are being cancelled;
    /// `cancelled`.
    #[schema(pattern = "^(making|made|cancelling|cancelled)$")]
    pub state: String,
    /// The filter that found its terminals when it was placed; null if they were named, or all.
    #[serde(default)]
    pub filter: Option<String>,
    /// Number of terminals that it is for.
    pub terminals: u64,
    /// Number of jobs that were made.
    pub jobs: u64,
    /// Number of jobs by state; of finished jobs by outcome.
    pub counts: BTreeMap<String, u64>,
    /// Number of finished jobs.
    pub finished: u64,
    /// Number of terminals that got no job, by reason; see the list of them.
    pub skipped: BTreeMap<String, u64>,
    /// Name of the REST token that cancelled it.
    pub cancelled_by: Option<String>,
}

const COLUMNS: &str = "o.id, o.package, p.version, o.type, o.created_by, o.created_at, o.policy, \
    o.spread, o.budget, o.expires_at, o.state, o.terminals, o.cancelled_by, o.filter";
const FROM: &str = "FROM orders o JOIN packages p ON p.id = o.package";

impl Order {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let count = |index| {
            let count: Option<i64> = row.get(index)?;
            Ok::<_, Error>(count.and_then(|count| u64::try_from(count).ok()))
        };
        Ok(Order {
            id: row.get(0)?,
            package: row.get(1)?,
            version: row.get(2)?,
            upgrade_type: row.get(3)?,
            created_by: row.get(4)?,
            created_at: clock::text(row.get(5)?),
            policy: count(6)?.unwrap_or(0),
            spread: count(7)?.unwrap_or(0),
            budget: count(8)?,
            expires_at: row.get::<Option<i64>>(9)?.map(clock::text),
            state: row.get(10)?,
            terminals: count(11)?.unwrap_or(0),
            jobs: 0,
            counts: BTreeMap::new(),
            finished: 0,
            skipped: BTreeMap::new(),
            cancelled_by: row.get(12)?,
            filter: row.get(13)?,
        })
    }

    fn counted(mut self, r: &Read<'_>) -> Result<Self> {
        let counts: Vec<(String, String, i64)> = r.all(
            "SELECT what, word, number FROM order_counts WHERE order_id = ? AND number > 0",
            params![self.id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        for (what, word, count) in counts {
            let count = u64::try_from(count).unwrap_or(0);
            if what == "skipped" {
                self.skipped.insert(word, count);
                continue;
            }
            self.jobs = self.jobs.saturating_add(count);
            if word.parse::<dau_model::Outcome>().is_ok() {
                self.finished = self.finished.saturating_add(count);
            }
            self.counts.insert(word, count);
        }
        Ok(self)
    }

    /// Tells whether it does nothing more: all its jobs are made, and have ended.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "made" | "cancelled") && self.finished >= self.jobs
    }
}

/// Returns the order with this id.
pub fn get(r: &Read<'_>, id: i64) -> Result<Option<Order>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE o.id = ?");
    let order = r.optional(&sql, params![id], Order::from_row)?;
    order.map(|order| order.counted(r)).transpose()
}

/// Returns at most `limit` orders with smaller ids than `before`, newest first.
pub fn list(r: &Read<'_>, before: Option<i64>, limit: u32) -> Result<Vec<Order>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE o.id < ? ORDER BY o.id DESC LIMIT ?");
    let before = before.unwrap_or(i64::MAX);
    let orders = r.all(&sql, params![before, limit], Order::from_row)?;
    orders.into_iter().map(|order| order.counted(r)).collect()
}

/// A terminal that got no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The terminal.
    pub terminal: String,
    /// `in-progress`: it has this job already; `already-there`: it runs the package's version;
    /// `rollback`: the package is older than its OS; `product-mismatch`: it is of another product;
    /// `unknown-product`: it has not reported its product yet; `unknown`: it is not known; `blocked`:
    /// it is blocked or decommissioned.
    pub reason: String,
    /// The job in progress.
    pub job: Option<i64>,
}

/// Returns at most `limit` skipped terminals of an order, in the order of their ids, after `after`.
pub fn skipped(r: &Read<'_>, order: i64, after: &str, limit: u32) -> Result<Vec<Skipped>> {
    r.all(
        "SELECT terminal, reason, job FROM order_skipped WHERE order_id = ? AND terminal > ? \
         ORDER BY terminal LIMIT ?",
        params![order, after, limit],
        |row| {
            Ok(Skipped {
                terminal: row.get(0)?,
                reason: row.get(1)?,
                job: row.get(2)?,
            })
        },
    )
}
