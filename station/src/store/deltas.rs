//! Deltas that operators asked for, from the request to the signed package.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::packages::Package;
use super::sql::{params, Row};
use super::{saturated, Read, Result, Write};
use crate::{clock, words};

/// A delta that the station makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// Its id.
    pub id: i64,
    /// The id of the package that it starts from.
    pub base: i64,
    /// The id of the package that it makes.
    pub target: i64,
    /// How far it is: one of [`STATES`].
    #[schema(schema_with = words::delta_states)]
    pub state: String,
    /// The step under way, or why it failed.
    pub message: String,
    /// Progress of this step, per cent.
    pub progress: u8,
    /// Size in bytes, once it is made.
    pub size: Option<u64>,
    /// The id of the signed delta package.
    pub package: Option<i64>,
    /// Name of the REST token that asked for it.
    pub created_by: String,
    /// RFC 3339, like the other time.
    pub created_at: String,
    /// Time when it was made, or failed.
    pub finished_at: Option<String>,
}

/// The states: it waits for its turn, is being made, waits for its signature, is a package, or could
/// not be made.
pub const STATES: [&str; 5] = ["waiting", "making", "unsigned", "signed", "failed"];

const COLUMNS: &str = "id, base, target, state, message, progress, size, package, created_by, \
    created_at, finished_at";

impl Delta {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let size: Option<i64> = row.get(6)?;
        Ok(Delta {
            id: row.get(0)?,
            base: row.get(1)?,
            target: row.get(2)?,
            state: row.get(3)?,
            message: row.get(4)?,
            progress: row.get(5)?,
            size: size.and_then(|size| u64::try_from(size).ok()),
            package: row.get(7)?,
            created_by: row.get(8)?,
            created_at: clock::text(row.get(9)?),
            finished_at: row.get::<Option<i64>>(10)?.map(clock::text),
        })
    }
}

/// Asks for a delta. One that is there, or under way, stays; one that failed, or was removed since, is
/// made again. Returns whether it is to be made.
pub fn request(
    w: &Write<'_>,
    now: i64,
    by: &str,
    base: &Package,
    target: &Package,
) -> Result<(Delta, bool)> {
    let package: Option<(i64, i64)> = w.optional(
        "SELECT id, size FROM packages WHERE base = ? AND target = ? AND removed_at IS NULL",
        params![&base.manifest_sha256, &target.manifest_sha256],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (package, size) = package.unzip();
    let state = package.map_or("waiting", |_| "signed");
    let changed = w.execute(
        "INSERT INTO deltas (base, target, state, size, package, created_by, \
         created_at, finished_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
         CASE WHEN ?3 = 'signed' THEN CAST(?7 AS BIGINT) END) ON CONFLICT (base, target) DO UPDATE SET state = \
         excluded.state, message = '', progress = 0, size = excluded.size, package = \
         excluded.package, created_by = excluded.created_by, created_at = \
         excluded.created_at, finished_at = excluded.finished_at WHERE deltas.state = \
         'failed' OR deltas.state = 'signed' AND excluded.state != 'signed'",
        params![base.id, target.id, state, size, package, by, now],
    )?;
    let delta = w.one(
        &format!("SELECT {COLUMNS} FROM deltas WHERE base = ? AND target = ?"),
        params![base.id, target.id],
        Delta::from_row,
    )?;
    Ok((delta, changed == 1 && state == "waiting"))
}

/// Returns all, newest first.
pub fn list(r: &Read<'_>) -> Result<Vec<Delta>> {
    r.all(
        &format!("SELECT {COLUMNS} FROM deltas ORDER BY id DESC"),
        params![],
        Delta::from_row,
    )
}

/// Returns the delta with this id.
pub fn get(r: &Read<'_>, id: i64) -> Result<Option<Delta>> {
    r.optional(
        &format!("SELECT {COLUMNS} FROM deltas WHERE id = ?"),
        params![id],
        Delta::from_row,
    )
}

/// Forgets a delta; one that is being made is abandoned. Its package stays. Returns whether there was
/// one.
pub fn remove(w: &Write<'_>, id: i64) -> Result<bool> {
    Ok(w.execute("DELETE FROM deltas WHERE id = ?", params![id])? == 1)
}

/// Forgets what was asked for from or to a package that is removed; one that is being made is abandoned.
/// Returns the ids. Signed deltas stay, as packages.
pub fn remove_of(w: &Write<'_>, package: i64) -> Result<Vec<i64>> {
    w.all(
        "DELETE FROM deltas WHERE base = ?1 OR target = ?1 RETURNING id",
        params![package],
        |row| row.get(0),
    )
}

/// Returns the ids of those that wait for their signature, or may at once.
pub fn unsigned(r: &Read<'_>) -> Result<Vec<i64>> {
    let waiting = "SELECT id FROM deltas WHERE state IN ('making', 'unsigned')";
    r.all(waiting, params![], |row| row.get(0))
}

/// Seconds after which a station that notes no progress is thought to be gone.
const GONE: i64 = 600;

/// Takes the oldest that waits, for this station.
pub fn begin(w: &Write<'_>, now: i64, station: &str) -> Result<Option<Delta>> {
    w.optional(
        &format!(
            "UPDATE deltas SET state = 'making', maker = ?, noted_at = ? \
             WHERE id = (SELECT min(id) FROM deltas \
             WHERE state = 'waiting') AND state = 'waiting' RETURNING {COLUMNS}"
        ),
        params![station, now],
        Delta::from_row,
    )
}

/// Notes the progress of the one that is being made; false: it was removed.
pub fn step(w: &Write<'_>, now: i64, id: i64, step: &str, progress: u8) -> Result<bool> {
    let changed = w.execute(
        "UPDATE deltas SET message = ?, progress = ?, noted_at = ? \
         WHERE id = ? AND state = 'making'",
        params![step, progress, now, id],
    )?;
    Ok(changed == 1)
}

/// Notes that it waits for its signature; false: it was removed.
pub fn made(w: &Write<'_>, now: i64, id: i64, size: u64) -> Result<bool> {
    let changed = w.execute(
        "UPDATE deltas SET state = 'unsigned', message = '', progress = 100, size = ?, \
         finished_at = ? WHERE id = ? AND state = 'making'",
        params![saturated(size), now, id],
    )?;
    Ok(changed == 1)
}

/// Notes why it could not be made.
pub fn fail(w: &Write<'_>, now: i64, id: i64, why: &str) -> Result<()> {
    w.execute(
        "UPDATE deltas SET state = 'failed', message = ?, finished_at = ? \
         WHERE id = ? AND state = 'making'",
        params![why, now, id],
    )?;
    Ok(())
}

/// Ends those that a stopped station was making: `started`, which makes none yet, or one that is gone.
pub fn interrupted(w: &Write<'_>, now: i64, started: Option<&str>) -> Result<usize> {
    w.execute(
        "UPDATE deltas SET state = 'failed', finished_at = ?1, \
         message = 'the station was stopped meanwhile: ask for it again' WHERE state = 'making' \
         AND (maker = ?2 OR coalesce(noted_at, 0) < ?3)",
        params![now, started, now.saturating_sub(GONE)],
    )
}

/// Notes a signed delta package: what was asked for is there. Returns the ids.
pub fn arrived(w: &Write<'_>, now: i64, package: &Package) -> Result<Vec<i64>> {
    w.all(
        "UPDATE deltas SET state = 'signed', message = '', progress = 100, size = ?1, \
         package = ?2, finished_at = ?3 WHERE base IN (SELECT id FROM packages WHERE \
         manifest_sha256 = ?4) AND target IN (SELECT id FROM packages WHERE \
         manifest_sha256 = ?5) RETURNING id",
        params![
            saturated(package.size),
            package.id,
            now,
            package.base,
            package.target
        ],
        |row| row.get(0),
    )
}
