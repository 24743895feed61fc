//! Terminals as REST shows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock;
use crate::store::filter::Filter;
use crate::store::sql::{params, Row, ToValue};
use crate::store::{Read, Result};

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Terminal {
    /// Its id, as in topics and in its certificate.
    pub id: String,
    /// Product, which packages must match.
    pub product: String,
    /// Version of the running OS.
    pub version: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Version of RecoveryOS, empty if unknown.
    #[serde(default)]
    pub recovery: String,
    /// `a` or `b`, empty if unknown.
    pub kernel_slot: String,
    /// Rollback index; packages with a lower one are refused.
    pub rollback_index: u64,
    /// Free bytes for packages.
    pub free_bytes: u64,
    /// Whether it is connected: it said so, and was heard of recently.
    pub online: bool,
    /// `expected` until its first message, then `linked`; `blocked` or `decommissioned` by an operator:
    /// it gets nothing.
    #[serde(default)]
    #[schema(pattern = "^(expected|linked|blocked|decommissioned)$")]
    pub life: String,
    /// Time of its last message, RFC 3339.
    pub last_seen: Option<String>,
    /// Its unfinished job, if any.
    pub job: Option<i64>,
    /// What operators noted of it, by name: see [`crate::store::labels`].
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Tags that operators gave it.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// A job that keeps it busy but was not ordered here: another station's, or older than this
    /// database.
    pub busy_with: Option<i64>,
    /// SHA-256 of the manifests of the packages that it keeps: deltas from them fit.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Its last EVENT_LINKUP as received; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_up: Option<Value>,
}

/// Stands between attributes, and between tags, which hold no control characters.
const BETWEEN: char = '\u{1e}';

/// The life of a terminal, as SQL has it.
pub(in crate::store) const LIFE: &str = "coalesce(t.barred, \
    CASE WHEN t.last_seen IS NULL THEN 'expected' ELSE 'linked' END)";

/// The columns of [`Terminal::from_row`]; `?1` is the time since when a terminal must have been heard
/// of to be online.
fn columns() -> String {
    format!(
        "t.id, t.product, t.version, t.kernel, t.kernel_slot, t.rollback_index, t.free_bytes, \
         t.link = 'up' AND t.last_seen >= ?1, t.last_seen, \
         (SELECT id FROM jobs WHERE terminal = t.id AND state NOT IN ('queued', 'finished')), \
         t.busy_with, t.packages, t.recovery_version, \
         (SELECT string_agg(a.name || '=' || a.value, '{BETWEEN}') FROM terminal_attributes a \
         WHERE a.terminal = t.id), \
         (SELECT string_agg(g.tag, '{BETWEEN}') FROM terminal_tags g WHERE g.terminal = t.id), {LIFE}"
    )
}

impl Terminal {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let attributes: String = row.get::<Option<String>>(13)?.unwrap_or_default();
        let attributes = attributes
            .split(BETWEEN)
            .filter_map(|one| one.split_once('='));
        let tags: Option<String> = row.get(14)?;
        let tags = tags.as_deref().map(|tags| tags.split(BETWEEN));
        Ok(Terminal {
            id: row.get(0)?,
            product: row.get(1)?,
            version: row.get(2)?,
            kernel: row.get(3)?,
            recovery: row.get(12)?,
            kernel_slot: row.get(4)?,
            rollback_index: u64::try_from(row.get::<i64>(5)?).unwrap_or(0),
            free_bytes: u64::try_from(row.get::<i64>(6)?).unwrap_or(0),
            online: row.get::<Option<bool>>(7)?.unwrap_or(false),
            life: row.get(15)?,
            last_seen: row.get::<Option<i64>>(8)?.map(clock::text),
            job: row.get(9)?,
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            tags: tags.into_iter().flatten().map(str::to_owned).collect(),
            busy_with: row.get(10)?,
            packages: serde_json::from_str(&row.get::<String>(11)?).unwrap_or_default(),
            link_up: None,
        })
    }
}

/// Returns the terminals that a filter fits, with their attributes and tags: those after `after` in
/// the order of their ids, at most `limit`. So all of them are read in pages, each from the last id
/// of the one before. Those heard of at `since` or later can be online (`Station::online_since`).
pub fn select(
    r: &Read<'_>,
    filter: &Filter,
    since: i64,
    after: &str,
    limit: u32,
) -> Result<Vec<Terminal>> {
    let condition = filter.condition(since);
    let values = [params![since, after], &condition.values, params![limit]].concat();
    // The inner SELECT finds ids, so that nothing else is read of those that the filter does not fit.
    let sql = format!(
        "SELECT {} FROM terminals t WHERE t.id IN (SELECT t.id FROM terminals t \
         WHERE t.id > ?2{} ORDER BY t.id LIMIT ?) ORDER BY t.id",
        columns(),
        condition.sql
    );
    r.all(&sql, &values, Terminal::from_row)
}

/// Returns the ids of all terminals that a filter fits, in their order.
pub fn ids(r: &Read<'_>, filter: &Filter, since: i64) -> Result<Vec<String>> {
    let condition = filter.condition(since);
    let sql = format!(
        "SELECT t.id FROM terminals t WHERE t.id > ''{} ORDER BY t.id",
        condition.sql
    );
    r.all(&sql, &condition.values, |row| row.get(0))
}

/// Returns a terminal with its last EVENT_LINKUP.
pub fn get(r: &Read<'_>, id: &str, since: i64) -> Result<Option<Terminal>> {
    r.optional(
        &format!(
            "SELECT {}, t.link_up FROM terminals t WHERE t.id = ?2",
            columns()
        ),
        &[since.to_value(), id.to_value()],
        |row| {
            let raw: Option<String> = row.get(16)?;
            Ok(Terminal {
                link_up: raw.and_then(|text| serde_json::from_str(&text).ok()),
                ..Terminal::from_row(row)?
            })
        },
    )
}
