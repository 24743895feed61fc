//! The fleet in numbers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sql::params;
use super::{Read, Result};

/// Most groups that are told apart; the smallest are left out.
const MOST: u32 = 200;

/// The fleet in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fleet {
    /// Number of terminals.
    pub terminals: u64,
    /// Number of those that are connected.
    pub online: u64,
    /// The terminals by product and version, the largest 200 groups, largest first.
    pub versions: Vec<Group>,
}

/// Terminals of a product that run the same version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Product; empty if it is not known yet.
    pub product: String,
    /// Version; empty if it is not known yet.
    pub version: String,
    /// Number of terminals.
    pub terminals: u64,
    /// Number of those that are connected.
    pub online: u64,
}

/// Returns the numbers; terminals heard of since `since` can be connected.
pub fn count(r: &Read<'_>, since: i64) -> Result<Fleet> {
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let online = "count(*) FILTER (WHERE link = 'up' AND last_seen >= ?)";
    let (terminals, connected) = r.one(
        &format!("SELECT count(*), {online} FROM terminals"),
        params![since],
        |row| Ok((number(row.get(0)?), number(row.get(1)?))),
    )?;
    let versions = r.all(
        &format!(
            "SELECT product, version, count(*), {online} FROM terminals GROUP BY product, version \
             ORDER BY count(*) DESC, product, version LIMIT ?"
        ),
        params![since, MOST],
        |row| {
            Ok(Group {
                product: row.get(0)?,
                version: row.get(1)?,
                terminals: number(row.get(2)?),
                online: number(row.get(3)?),
            })
        },
    )?;
    Ok(Fleet {
        terminals,
        online: connected,
        versions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn terminals_are_counted_by_version_and_link() {
        let (_dir, store) = crate::store::tests::store();
        let done = store.write(|w| {
            for (id, product, version, link, seen) in [
                ("a", "p", "1", "up", 100),
                ("b", "p", "1", "up", 50),
                ("c", "p", "1", "down", 100),
                ("d", "p", "2", "up", 100),
                ("e", "", "", "down", 100),
            ] {
                w.execute(
                    "INSERT INTO terminals (id, product, version, link, registered_at, last_seen) \
                     VALUES (?, ?, ?, ?, 1, ?)",
                    params![id, product, version, link, seen],
                )?;
            }
            let fleet = count(w, 60)?;
            assert_eq!((fleet.terminals, fleet.online), (5, 2));
            let group = |product: &str, version: &str, terminals, online| Group {
                product: product.to_owned(),
                version: version.to_owned(),
                terminals,
                online,
            };
            let expected = [
                group("p", "1", 3, 1),
                group("", "", 1, 0),
                group("p", "2", 1, 1),
            ];
            assert_eq!(fleet.versions, expected);
            Ok::<_, crate::store::Error>(())
        });
        done.await.unwrap();
    }
}
