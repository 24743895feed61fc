//! The terminals and their properties as they report them.

use std::collections::HashMap;

use dau_model::Slot;
use dau_package::version::sort_key;
use dau_protocol::report::Upgradeable;
use dau_protocol::LinkUp;
use serde_json::{json, Value};

use super::orders::Asked;
use super::sql::{params, Row, ToValue};
use super::{locks, rollouts, saturated, Read, Result, Write};

pub mod life;
mod view;

pub(super) use view::LIFE;
pub use view::{get, ids, select, Terminal};

/// Adds a terminal before it links up.
pub fn register(w: &Write<'_>, now: i64, id: &str) -> Result<bool> {
    let added = w.execute(
        "INSERT INTO terminals (id, registered_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        params![id, now],
    )?;
    Ok(added == 1)
}

/// Adds terminals before they link up.
pub fn register_all(w: &Write<'_>, now: i64, ids: &[String]) -> Result<()> {
    let sql = |rows: &str| {
        format!(
            "INSERT INTO terminals (id, registered_at) VALUES {rows} \
             ON CONFLICT (id) DO UPDATE SET registered_at = terminals.registered_at"
        )
    };
    // Locks those that are known, too, in the order of their ids: see `locks`.
    let mut ids: Vec<&String> = ids.iter().collect();
    ids.sort();
    w.rows(&ids, "(?, ?)", sql, |id| [id.to_value(), now.to_value()])
}

/// Returns the number of terminals.
pub fn count(r: &Read<'_>) -> Result<u64> {
    let count: i64 = r.one("SELECT count(*) FROM terminals", params![], |row| {
        row.get(0)
    })?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Longest EVENT_LINKUP that is stored as received, bytes; of a longer one, only the known fields.
const MAX_LINK_UP: usize = 4 << 10;
/// Seconds until a terminal is asked again for its properties; doubles each time.
const ASK_PAUSE: i64 = 60;
/// Longest time between two such questions.
pub const LONGEST_ASK_PAUSE: i64 = 3600;
/// Most questions to a terminal that sends nothing at all.
const MOST_ASKS: u32 = 5;

/// Stores an EVENT_LINKUP; `raw` is the message as received. Call [`super::seen::heard`] first.
pub fn link_up(w: &Write<'_>, id: &str, link_up: &LinkUp, raw: &Value) -> Result<()> {
    let mut text = raw.to_string();
    if text.len() > MAX_LINK_UP {
        text = json!(link_up).to_string();
    }
    let version = match link_up.os.version.is_empty() {
        true => &link_up.dau.version,
        false => &link_up.os.version,
    };
    w.run(
        "UPDATE terminals SET product = ?, version = ?, version_key = ?, kernel = ?, \
         kernel_key = ?, kernel_slot = ?, recovery_version = ?, recovery_key = ?, \
         rollback_index = ?, free_bytes = ?, packages = ?, \
         link = 'up', link_up = ?, ask_at = NULL, asks = 0 WHERE id = ?",
        params![
            link_up.dau.product,
            version,
            key(version),
            link_up.os.kernel,
            key(&link_up.os.kernel),
            link_up.dau.kernel_slot.map_or("", Slot::word),
            link_up.dau.recovery_version,
            key(&link_up.dau.recovery_version),
            saturated(link_up.dau.rollback_index),
            saturated(link_up.dau.free_bytes),
            digests(&link_up.dau),
            text,
            id
        ],
    )?;
    rollouts::back(w, id)
}

/// Notes a heartbeat with the terminal's properties; returns whether the terminal had counted as
/// offline. If the heartbeat differs from what is known, an EVENT_LINKUP was lost, and the terminal
/// is asked.
pub fn alive(w: &Write<'_>, now: i64, id: &str, said: &Upgradeable) -> Result<bool> {
    let was_down = w.one(
        "SELECT link != 'up' FROM terminals WHERE id = ?",
        params![id],
        |row| row.get(0),
    )?;
    w.execute(
        "UPDATE terminals SET link = 'up', free_bytes = ? WHERE id = ?",
        params![saturated(said.free_bytes), id],
    )?;
    if was_down {
        rollouts::back(w, id)?;
        ask(w, now, id)?;
    }
    if said.product.is_empty() || said.version.is_empty() {
        return Ok(was_down);
    }
    w.execute(
        "UPDATE terminals SET packages = ?1 WHERE id = ?2 AND packages != ?1",
        params![digests(said), id],
    )?;
    let changed = w.execute(
        "UPDATE terminals SET product = ?2, version = ?3, kernel_slot = ?4, rollback_index = ?5, \
         version_key = ?6 WHERE id = ?1 AND (product, version, kernel_slot, rollback_index) != (?2, ?3, ?4, ?5)",
        params![
            id,
            said.product,
            said.version,
            said.kernel_slot.map_or("", Slot::word),
            saturated(said.rollback_index),
            key(&said.version)
        ],
    )?;
    if changed > 0 {
        ask(w, now, id)?;
    }
    Ok(was_down)
}

/// Returns what a version is ordered by in the database; an unknown one has no order.
pub(super) fn key(version: &str) -> String {
    match version {
        "" => String::new(),
        version => sort_key(version),
    }
}

/// Returns the digests among the packages that a terminal names, as stored.
fn digests(said: &Upgradeable) -> String {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_digest = |text: &&String| text.len() == 64 && text.bytes().all(is_digit);
    json!(said.packages.iter().filter(is_digest).collect::<Vec<_>>()).to_string()
}

/// Has the terminal asked for its properties, unless that is due already.
pub fn ask(w: &Write<'_>, now: i64, id: &str) -> Result<()> {
    w.run(
        "UPDATE terminals SET ask_at = ?, asks = 0 WHERE id = ? AND ask_at IS NULL",
        params![now, id],
    )
}

/// Has the terminal asked for its properties if it never reported them, as its EVENT_LINKUP was
/// lost.
pub fn ask_unknown(w: &Write<'_>, now: i64, id: &str) -> Result<()> {
    w.run(
        "UPDATE terminals SET ask_at = ? WHERE id = ? AND link_up IS NULL AND ask_at IS NULL",
        params![now, id],
    )
}

/// Has all connected terminals asked that sent nothing since `since`.
pub fn ask_stale(w: &Write<'_>, now: i64, since: i64) -> Result<()> {
    w.execute(
        "UPDATE terminals SET ask_at = ? WHERE link = 'up' AND last_seen < ? AND ask_at \
         IS NULL AND asks = 0",
        params![now, since],
    )?;
    Ok(())
}

/// Returns at most `limit` terminals to be asked now; each is asked half as often each time. One
/// that sent nothing since `since` is given up in the end.
pub fn take_unknown(w: &Write<'_>, now: i64, since: i64, limit: u32) -> Result<Asked<String>> {
    let claim = locks::claim(w, "terminals");
    let due: Vec<(String, u32, bool, bool)> = w.all(
        &format!(
            "SELECT id, asks, link = 'down', coalesce(last_seen, 0) < ? FROM terminals \
             WHERE ask_at <= ? AND barred IS NULL LIMIT ?{claim}"
        ),
        params![since, now, limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let mut asked = Vec::with_capacity(due.len());
    let taken = u32::try_from(due.len()).unwrap_or(limit);
    for (id, asks, down, silent) in due {
        let pause = ASK_PAUSE.saturating_mul(1_i64.checked_shl(asks.min(6)).unwrap_or(1));
        let next = now.saturating_add(pause.min(LONGEST_ASK_PAUSE));
        let given_up = down || (silent && asks >= MOST_ASKS);
        w.execute(
            "UPDATE terminals SET ask_at = ?, asks = ? WHERE id = ?",
            params![(!given_up).then_some(next), asks.saturating_add(1), id],
        )?;
        if !given_up {
            asked.push(id);
        }
    }
    Ok(Asked { asked, taken })
}

/// Notes that the terminal has disconnected.
pub fn link_down(w: &Write<'_>, id: &str) -> Result<()> {
    w.run(
        "UPDATE terminals SET link = 'down' WHERE id = ?",
        params![id],
    )
}

/// Notes the job that keeps the terminal busy, which may be another station's.
pub fn set_busy_with(w: &Write<'_>, id: &str, job: Option<i64>) -> Result<()> {
    w.run(
        "UPDATE terminals SET busy_with = ?1 WHERE id = ?2 AND busy_with IS DISTINCT FROM ?1",
        params![job, id],
    )
}

/// Notes the end of that job; returns whether the terminal had been busy with it.
pub fn not_busy_with(w: &Write<'_>, id: &str, job: i64) -> Result<bool> {
    let cleared = w.execute(
        "UPDATE terminals SET busy_with = NULL WHERE id = ? AND busy_with = ?",
        params![id, job],
    )?;
    Ok(cleared == 1)
}

/// The part of a terminal that shows whether a package fits it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub id: String,
    /// Empty: it has not reported it.
    pub product: String,
    /// Version of the OS.
    pub version: String,
    /// Version of RecoveryOS.
    pub recovery: String,
    pub rollback_index: u64,
    /// Whether it is blocked or decommissioned.
    pub barred: bool,
}

const CANDIDATE: &str = "id, product, version, \
    recovery_version, rollback_index, barred IS NOT NULL";

impl Candidate {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Candidate {
            id: row.get(0)?,
            product: row.get(1)?,
            version: row.get(2)?,
            recovery: row.get(3)?,
            rollback_index: u64::try_from(row.get::<i64>(4)?).unwrap_or(0),
            barred: row.get(5)?,
        })
    }
}

/// Returns at most `limit` terminals of a product, and those that have not reported theirs, in the
/// order of their ids, after `after`.
pub fn candidates(
    r: &Read<'_>,
    product: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Candidate>> {
    // In the order of ids: the index of products would have all that are left sorted for each piece.
    let sql = format!(
        "SELECT {CANDIDATE} FROM terminals WHERE product || '' IN (?, '') AND id > ? \
         ORDER BY id LIMIT ?"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    r.all(&sql, params![product, after, limit], Candidate::from_row)
}

/// Returns the number of these terminals.
pub fn count_candidates(r: &Read<'_>, product: &str) -> Result<i64> {
    let sql = "SELECT count(*) FROM terminals WHERE product IN (?, '')";
    r.one(sql, params![product], |row| row.get(0))
}

/// Tells whether a terminal of this product is known.
pub fn has_product(r: &Read<'_>, product: &str) -> Result<bool> {
    r.exists(
        "SELECT 1 FROM terminals WHERE product = ? LIMIT 1",
        params![product],
    )
}

/// Returns the terminal with this id.
pub fn candidate(r: &Read<'_>, id: &str) -> Result<Option<Candidate>> {
    let sql = format!("SELECT {CANDIDATE} FROM terminals WHERE id = ?");
    r.optional(&sql, params![id], Candidate::from_row)
}

/// Returns those of these terminals that are known.
pub fn candidates_named(r: &Read<'_>, ids: &[String]) -> Result<HashMap<String, Candidate>> {
    let sql = |ids: &str| format!("SELECT {CANDIDATE} FROM terminals WHERE id IN ({ids})");
    let found = r.for_keys(ids, sql, params![], Candidate::from_row)?;
    let named = found.into_iter().map(|known| (known.id.clone(), known));
    Ok(named.collect())
}
