//! The terminals and what they said of themselves.

use dau_protocol::LinkUp;
use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Write;
use crate::clock;

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Terminal {
    /// Its id, as in topics and in its certificate.
    pub id: String,
    /// Which packages fit.
    pub product: String,
    /// Version of the OS that runs.
    pub version: String,
    /// Kernel release that runs.
    pub kernel: String,
    /// `a` or `b`, empty if unknown.
    pub kernel_slot: String,
    /// Packages with a lower index are refused.
    pub rollback_index: u64,
    /// Free bytes for packages.
    pub free_bytes: u64,
    /// Whether it is linked: said so, and was heard of lately.
    pub online: bool,
    /// When it was heard of last, RFC 3339.
    pub last_seen: Option<String>,
    /// Its job under way, if there is one.
    pub job: Option<i64>,
    /// Its last EVENT_LINKUP as received; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_up: Option<Value>,
}

const COLUMNS: &str =
    "t.id, t.product, t.version, t.kernel, t.kernel_slot, t.rollback_index, t.free_bytes, \
    t.link = 'up' AND t.last_seen >= ?1, t.last_seen, \
    (SELECT id FROM jobs WHERE terminal = t.id AND state NOT IN ('queued', 'finished'))";

impl Terminal {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Terminal {
            id: row.get(0)?,
            product: row.get(1)?,
            version: row.get(2)?,
            kernel: row.get(3)?,
            kernel_slot: row.get(4)?,
            rollback_index: row.get::<_, i64>(5)? as u64,
            free_bytes: row.get::<_, i64>(6)? as u64,
            online: row.get::<_, Option<bool>>(7)?.unwrap_or(false),
            last_seen: row.get::<_, Option<i64>>(8)?.map(clock::text),
            job: row.get(9)?,
            link_up: None,
        })
    }
}

/// Makes a terminal known before it links up.
pub fn register(w: &Write<'_>, now: i64, id: &str) -> Result<bool> {
    let added = w
        .prepare_cached("INSERT OR IGNORE INTO terminals (id, registered_at) VALUES (?, ?)")?
        .execute(params![id, now])?;
    Ok(added == 1)
}

/// A message came from it.
pub fn heard(w: &Write<'_>, now: i64, id: &str) -> Result<()> {
    w.prepare_cached(
        "INSERT INTO terminals (id, registered_at, last_seen) VALUES (?1, ?2, ?2) \
         ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen",
    )?
    .execute(params![id, now])?;
    Ok(())
}

/// Its link came up; `link_up` is as received in `raw`. Call [`heard`] first.
pub fn link_up(w: &Write<'_>, id: &str, link_up: &LinkUp, raw: &Value) -> Result<()> {
    w.prepare_cached(
        "UPDATE terminals SET product = ?, version = ?, kernel = ?, kernel_slot = ?, rollback_index = ?, \
         free_bytes = ?, link = 'up', link_up = ? WHERE id = ?",
    )?
    .execute(params![
        link_up.dau.product,
        link_up.os.version,
        link_up.os.kernel,
        link_up.dau.kernel_slot,
        saturated(link_up.dau.rollback_index),
        saturated(link_up.dau.free_bytes),
        raw.to_string(),
        id
    ])?;
    Ok(())
}

/// It is alive; true where it had been taken for offline.
pub fn alive(w: &Write<'_>, id: &str, free_bytes: u64) -> Result<bool> {
    let was_down = w
        .prepare_cached("SELECT link != 'up' FROM terminals WHERE id = ?")?
        .query_row([id], |row| row.get(0))?;
    w.prepare_cached("UPDATE terminals SET link = 'up', free_bytes = ? WHERE id = ?")?
        .execute(params![saturated(free_bytes), id])?;
    Ok(was_down)
}

/// Its link went down.
pub fn link_down(w: &Write<'_>, id: &str) -> Result<()> {
    w.prepare_cached("UPDATE terminals SET link = 'down' WHERE id = ?")?
        .execute([id])?;
    Ok(())
}

/// Which terminals to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this product.
    pub product: Option<String>,
    /// With this version.
    pub version: Option<String>,
    /// With ids after this one.
    pub after: String,
    /// So many.
    pub limit: u32,
}

/// Terminals in the order of their ids; those heard of at `since` or later can be online.
pub fn list(connection: &Connection, filter: &Filter, since: i64) -> Result<Vec<Terminal>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM terminals t WHERE t.id > ?2 AND (?3 IS NULL OR t.product = ?3) \
             AND (?4 IS NULL OR t.version = ?4) ORDER BY t.id LIMIT ?5"
        ))?
        .query_map(
            params![
                since,
                filter.after,
                filter.product,
                filter.version,
                filter.limit
            ],
            Terminal::from_row,
        )?
        .collect()
}

/// One terminal with its last EVENT_LINKUP.
pub fn get(connection: &Connection, id: &str, since: i64) -> Result<Option<Terminal>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, t.link_up FROM terminals t WHERE t.id = ?2"
        ))?
        .query_row(params![since, id], |row| {
            let raw: Option<String> = row.get(10)?;
            Ok(Terminal {
                link_up: raw.and_then(|text| serde_json::from_str(&text).ok()),
                ..Terminal::from_row(row)?
            })
        })
        .optional()
}

/// SQLite's integers are signed.
fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
