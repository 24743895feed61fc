//! Makes the jobs of orders, in pieces: other work gets its turn between them, and an order that a
//! killed station left half made goes on.

use std::collections::HashMap;

use dau_protocol::MAX_POLICY;
use serde_json::{json, Value};

use super::select::{self, reason};
use super::{cancel, NewOrder};
use crate::store::events::{self, kind, Subject};
use crate::store::packages::{self, Package};
use crate::store::sql::{self, params, ToValue};
use crate::store::terminals::{self, Candidate};
use crate::store::{jobs, locks, outbox, saturated, Cause, Error, Read, Result, Write};

/// Terminals dealt with in one transaction.
pub const PIECE: usize = 1000;

/// Places an order; [`work_on`] makes its jobs. `terminals` is not empty, and names each once; `None`:
/// all terminals of the package's product.
pub fn place(
    w: &Write<'_>,
    now: i64,
    new: &NewOrder,
    package: &Package,
    terminals: Option<&[String]>,
) -> Result<i64> {
    let id = w.next_id()?;
    let count = match terminals {
        Some(named) => i64::try_from(named.len()).unwrap_or(i64::MAX),
        None => terminals::count_candidates(w, &package.product)?,
    };
    w.execute(
        "INSERT INTO orders (id, package, type, created_by, created_at, policy, spread, budget, \
         expires_at, expire, for_all, force, filter, state, terminals, done) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'making', ?, 0)",
        params![
            id,
            package.id,
            new.upgrade_type,
            new.by,
            now,
            saturated(new.policy),
            saturated(new.spread),
            new.budget.map(saturated),
            new.expires_at,
            new.expire,
            terminals.is_none(),
            new.force,
            new.filter,
            count
        ],
    )?;
    for (piece, terminals) in (0_i64..).zip(terminals.unwrap_or_default().chunks(PIECE)) {
        w.execute(
            "INSERT INTO order_pieces (order_id, piece, terminals) VALUES (?, ?, ?)",
            params![id, piece, json!(terminals).to_string()],
        )?;
    }
    let detail = json!({
        "by": new.by, "order": id, "type": new.upgrade_type, "terminals": count,
        "all": terminals.is_none(), "filter": new.filter, "force": new.force, "policy": new.policy, "spread": new.spread,
        "budget": new.budget, "expiresAt": new.expires_at,
    });
    let subject = Subject {
        package: Some(package.id),
        ..Subject::default()
    };
    events::add(w, now, subject, kind::ORDERED, &detail)?;
    Ok(id)
}

/// Adds terminals to an order whose jobs are made, each named once and at most [`PIECE`] of them; what
/// is said of when it expires holds for them. [`work_on`] makes their jobs.
pub fn add_to(w: &Write<'_>, id: i64, new: &NewOrder, terminals: &[String]) -> Result<()> {
    w.execute(
        "UPDATE orders SET state = 'making', terminals = terminals + ?, expires_at = ?, expire = ? \
         WHERE id = ? AND state = 'made'",
        params![
            i64::try_from(terminals.len()).unwrap_or(i64::MAX),
            new.expires_at,
            new.expire,
            id
        ],
    )?;
    w.execute(
        "INSERT INTO order_pieces (order_id, piece, terminals) VALUES (?, 0, ?)",
        params![id, json!(terminals).to_string()],
    )?;
    Ok(())
}

/// Returns the state of an order, held until the transaction ends.
pub fn state_of(w: &Write<'_>, id: i64) -> Result<Option<String>> {
    let sql = format!("SELECT state FROM orders WHERE id = ?{}", locks::hold(w));
    w.optional(&sql, params![id], |row| row.get(0))
}

/// An order that has something left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    state: String,
    pub id: i64,
}

/// Returns the first order after `after` that has jobs to cancel, else to make, oldest first.
pub fn next(r: &Read<'_>, after: Option<&Open>) -> Result<Option<Open>> {
    let (state, id) = after.map_or(("", 0), |open| (open.state.as_str(), open.id));
    r.optional(
        "SELECT state, id FROM orders WHERE state IN ('making', 'cancelling') \
         AND (state > ?1 OR (state = ?1 AND id > ?2)) ORDER BY state, id LIMIT 1",
        params![state, id],
        |row| {
            Ok(Open {
                state: row.get(0)?,
                id: row.get(1)?,
            })
        },
    )
}

/// An order as the database has it.
struct Row {
    id: i64,
    package: i64,
    new: NewOrder,
    for_all: bool,
    cancelling: bool,
    terminals: u64,
    done: u64,
    after: String,
}

impl Row {
    fn read(row: &sql::Row<'_>) -> Result<Self> {
        let count = |index| {
            let count: i64 = row.get(index)?;
            Ok::<_, Error>(u64::try_from(count).unwrap_or(0))
        };
        let budget: Option<i64> = row.get(6)?;
        Ok(Row {
            id: row.get(0)?,
            package: row.get(1)?,
            new: NewOrder {
                upgrade_type: row.get(2)?,
                by: row.get(3)?,
                policy: count(4)?,
                spread: count(5)?,
                budget: budget.and_then(|bytes| u64::try_from(bytes).ok()),
                expires_at: row.get(7)?,
                expire: row.get(14)?,
                force: row.get(8)?,
                filter: row.get(15)?,
            },
            for_all: row.get(9)?,
            cancelling: row.get::<String>(10)? == "cancelling",
            terminals: count(11)?,
            done: count(12)?,
            after: row.get(13)?,
        })
    }
}

/// Makes or cancels some jobs of an order. Returns false if it has none left, or another station has
/// it in hand.
pub fn work_on(w: &Write<'_>, now: i64, id: i64) -> Result<bool> {
    let claim = locks::claim(w, "orders");
    let order = w.optional(
        &format!(
            "SELECT id, package, type, created_by, policy, spread, budget, expires_at, force, \
             for_all, state, terminals, done, after, expire, filter FROM orders \
             WHERE id = ? AND state IN ('making', 'cancelling'){claim}"
        ),
        params![id],
        Row::read,
    )?;
    match order {
        None => Ok(false),
        Some(order) if order.cancelling => cancel::cancel_piece(w, now, id).map(|()| true),
        Some(order) => make_piece(w, now, &order).map(|()| true),
    }
}

fn make_piece(w: &Write<'_>, now: i64, order: &Row) -> Result<()> {
    let package = packages::keep(w, order.package)?.ok_or_else(|| {
        let message = format!("its package {} is gone", order.package);
        Error::new(Cause::Data, message)
    })?;
    let piece = match order.for_all {
        true => next_of_product(w, order, &package)?,
        false => next_named(w, now, order, &package)?,
    };
    locks::terminals(w, piece.iter().map(|(terminal, _)| terminal.as_str()))?;
    let mut same = same_jobs(w, order, &package, &piece)?;
    let mut new = Vec::with_capacity(piece.len());
    for (index, (terminal, skip)) in (order.done..).zip(&piece) {
        match (skip, same.remove(terminal)) {
            (Some(reason), _) => skip_terminal(w, order.id, terminal, reason, None)?,
            (None, Some(job)) => {
                raise(w, now, job, terminal, order.new.budget)?;
                skip_terminal(w, order.id, terminal, reason::IN_PROGRESS, Some(job))?;
            }
            (None, None) => {
                let wait = share(order.new.spread, index, order.terminals);
                // Terminals refuse a longer wait.
                let policy = order.new.policy.saturating_add(wait).min(MAX_POLICY);
                new.push((w.next_id()?, terminal.as_str(), policy));
            }
        }
    }
    insert(w, now, order, &package, &new)?;
    let more = match order.for_all {
        true => piece.len() == PIECE,
        false => w.exists(
            "SELECT 1 FROM order_pieces WHERE order_id = ? LIMIT 1",
            params![order.id],
        )?,
    };
    w.run(
        "UPDATE orders SET done = done + ?, after = coalesce(?, after), state = ? WHERE id = ?",
        params![
            i64::try_from(piece.len()).unwrap_or(i64::MAX),
            piece.last().map(|(terminal, _)| terminal),
            if more { "making" } else { "made" },
            order.id
        ],
    )
}

type Piece = Vec<(String, Option<&'static str>)>;

fn next_of_product(r: &Read<'_>, order: &Row, package: &Package) -> Result<Piece> {
    let candidates = terminals::candidates(r, &package.product, &order.after, PIECE)?;
    let judged = |candidate: Candidate| {
        let skip = select::skip_reason(&candidate, package, order.new.force);
        (candidate.id, skip)
    };
    Ok(candidates.into_iter().map(judged).collect())
}

fn next_named(w: &Write<'_>, now: i64, order: &Row, package: &Package) -> Result<Piece> {
    let named: Option<String> = w.optional(
        "DELETE FROM order_pieces WHERE order_id = ?1 AND piece = \
         (SELECT min(piece) FROM order_pieces WHERE order_id = ?1) RETURNING terminals",
        params![order.id],
        |row| row.get(0),
    )?;
    let named: Vec<String> = match named {
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            let message = format!("its list of terminals cannot be read: {error}");
            Error::new(Cause::Data, message)
        })?,
        None => Vec::new(),
    };
    let (force, by_filter) = (order.new.force, order.new.filter.is_some());
    if force && !by_filter {
        terminals::register_all(w, now, &named)?;
    }
    let known = terminals::candidates_named(w, &named)?;
    let judged = |terminal: String| {
        let known = known.get(&terminal);
        let skip = match (by_filter, known) {
            (true, _) => select::found(known, package, force),
            (false, _) if !force => select::misfit(known, package),
            (false, Some(known)) if known.barred => Some(reason::BLOCKED),
            (false, _) => None,
        };
        (terminal, skip)
    };
    Ok(named.into_iter().map(judged).collect())
}

fn skip_terminal(
    w: &Write<'_>,
    order: i64,
    terminal: &str,
    reason: &str,
    job: Option<i64>,
) -> Result<()> {
    w.counts().skipped(order, reason);
    w.run(
        "INSERT INTO order_skipped (order_id, terminal, reason, job) VALUES (?, ?, ?, ?)",
        params![order, terminal, reason, job],
    )
}

/// Returns the same jobs that are in progress already, by their terminals.
fn same_jobs(
    r: &Read<'_>,
    order: &Row,
    package: &Package,
    piece: &Piece,
) -> Result<HashMap<String, i64>> {
    let fitting = piece.iter().filter(|(_, skip)| skip.is_none());
    let terminals: Vec<&str> = fitting.map(|(terminal, _)| terminal.as_str()).collect();
    let sql = |terminals: &str| {
        format!(
            "SELECT terminal, id FROM jobs WHERE terminal IN ({terminals}) AND package = ? \
             AND type = ? AND state != 'finished'"
        )
    };
    let same = params![package.id, order.new.upgrade_type];
    let found = r.for_keys(&terminals, sql, same, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.into_iter().collect())
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
fn share(spread: u64, index: u64, count: u64) -> u64 {
    let before = u128::from(spread).saturating_mul(index.into());
    let before = before.checked_div(count.into()).unwrap_or(0);
    u64::try_from(before).map_or(spread, |before| before.min(spread))
}

/// Adds jobs: their ids, terminals and policies.
fn insert(
    w: &Write<'_>,
    now: i64,
    order: &Row,
    package: &Package,
    jobs: &[(i64, &str, u64)],
) -> Result<()> {
    let new = &order.new;
    let budget = new.budget.map(saturated);
    w.rows(
        jobs,
        "(?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
        |rows| {
            format!(
                "INSERT INTO jobs (id, order_id, terminal, package, type, state, created_by, \
                 created_at, policy, budget, expires_at, expire) VALUES {rows}"
            )
        },
        |(id, terminal, policy)| {
            [
                id.to_value(),
                order.id.to_value(),
                terminal.to_value(),
                package.id.to_value(),
                new.upgrade_type.to_value(),
                new.by.to_value(),
                now.to_value(),
                sql::Value::Integer(saturated(*policy)),
                budget.map_or(sql::Value::Null, sql::Value::Integer),
                new.expires_at.to_value(),
                new.expire.to_value(),
            ]
        },
    )?;
    for (id, terminal, policy) in jobs {
        w.counts().job(order.id, None, "queued");
        let detail = json!({
            "by": new.by, "order": order.id, "terminal": terminal, "type": new.upgrade_type,
            "package": package.id,
            "version": package.version, "fileSha256": package.file_sha256,
            "manifestSha256": package.manifest_sha256,
            "signer": package.signer, "signerFingerprint": package.signer_fingerprint, "policy": policy,
            "budget": new.budget,
        });
        events::add(w, now, Subject::job(*id), kind::CREATED, &detail)?;
        jobs::promote(w, now, terminal)?;
    }
    Ok(())
}
