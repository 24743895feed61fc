//! The way back: what the terminals of a rollout ran before.

use super::{NewRollout, Row, COLUMNS};
use crate::store::packages;
use crate::store::sql::params;
use crate::store::{Read, Result};

/// A rollout that leads back.
#[derive(Debug)]
pub struct Before {
    pub new: NewRollout,
    pub terminals: Vec<String>,
}

/// Returns the way back of a rollout: for those of its terminals that succeeded, to the version that most
/// of them ran, or to `package` for those that ran its version. `Err` says why there is none.
pub fn before(
    r: &Read<'_>,
    id: i64,
    by: &str,
    package: Option<i64>,
) -> Result<std::result::Result<Before, String>> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?");
    let Some(row) = r.optional(&sql, params![id], Row::read)? else {
        return Ok(Err(format!("there is no rollout {id}")));
    };
    let Some(package) = package_before(r, &row, package)? else {
        return Ok(Err(format!(
            "rollout {id}: the station has no whole package of kind {} and of the version that its \
             terminals ran before, or none of them has succeeded: upload it, or name a package",
            row.upgrade_type
        )));
    };
    let (package, version) = package;
    let terminals: Vec<String> = r.all(
        "SELECT terminal FROM rollout_targets WHERE rollout = ? AND state = 'success' AND version = ? \
         ORDER BY terminal",
        params![id, version],
        |row| row.get(0),
    )?;
    if terminals.is_empty() {
        let text = format!("no terminal of rollout {id} came from version {version}");
        return Ok(Err(text));
    }
    let mut plan = row.plan;
    plan.start = None;
    let new = NewRollout {
        by: by.to_owned(),
        name: format!("back from rollout {id} to {version}"),
        package,
        upgrade_type: row.upgrade_type,
        budget: row.budget,
        plan,
    };
    Ok(Ok(Before { new, terminals }))
}

/// Returns a package that leads back, and its version.
fn package_before(r: &Read<'_>, row: &Row, named: Option<i64>) -> Result<Option<(i64, String)>> {
    if let Some(id) = named {
        let package = packages::get(r, id)?.filter(|package| package.target.is_none());
        return Ok(package.map(|package| (package.id, package.version)));
    }
    r.optional(
        "SELECT b.id, b.version FROM packages p JOIN packages b ON b.product = p.product \
         AND b.kind = p.kind AND b.target IS NULL AND b.removed_at IS NULL \
         JOIN rollout_targets t ON t.rollout = ? AND t.state = 'success' AND t.version = b.version \
         WHERE p.id = ? AND b.version != p.version GROUP BY b.id, b.version \
         ORDER BY count(*) DESC, b.id DESC LIMIT 1",
        params![row.id, row.package],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
