//! Jobs as REST shows them.

use dau_model::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::sql::{params, Row, ToValue};
use crate::store::{Error, Read, Result};
use crate::{clock, words};

/// An upgrade job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The job's id, the same as in the order to the terminal.
    pub id: i64,
    /// The order it belongs to; one order can be for many terminals.
    pub order: i64,
    /// The terminal.
    pub terminal: String,
    /// The package's id.
    pub package: i64,
    /// Version of the package.
    pub version: String,
    /// The word of its [`dau_model::Kind`].
    #[serde(rename = "type")]
    #[schema(schema_with = words::kinds)]
    pub upgrade_type: String,
    /// The word of its [`dau_model::State`].
    #[schema(schema_with = words::states)]
    pub state: String,
    /// Progress within this state, per cent.
    pub progress: u8,
    /// Bytes downloaded so far, during the download.
    pub bytes: Option<u64>,
    /// Size of the download, bytes.
    pub total: Option<u64>,
    /// Name of the REST token that ordered it.
    pub created_by: String,
    /// RFC 3339, like the other times.
    pub created_at: String,
    /// Seconds that the terminal waits before it starts.
    pub policy: u64,
    /// Bytes that the terminal may spend on it; null: no limit.
    pub budget: Option<u64>,
    /// Bytes that the terminal has spent on it, as it says.
    pub bytes_used: Option<u64>,
    /// Time when the order expires unless the terminal has accepted it.
    pub expires_at: Option<String>,
    /// Time when the order was first sent.
    pub ordered_at: Option<String>,
    /// Time when the terminal accepted it.
    pub accepted_at: Option<String>,
    /// Time of the terminal's last message about this job.
    pub heard_at: Option<String>,
    /// Time when its cancellation was requested.
    pub cancel_requested_at: Option<String>,
    /// Time when the result arrived.
    pub finished_at: Option<String>,
    /// The file that the terminal is told to download; null until it is told.
    pub file: Option<Offered>,
    /// Bytes of the package sent for this job, over all downloads.
    pub bytes_served: u64,
    /// The result, of which there is only one.
    pub result: Option<JobResult>,
}

/// The file for a job: its package, or a delta to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// The id of the package or delta package.
    pub package: i64,
    /// Whether it is a delta.
    pub delta: bool,
    /// Size, bytes.
    pub size: u64,
    /// Bytes by which it is smaller than the job's package.
    pub saved: u64,
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// The word of its [`dau_model::Outcome`].
    #[schema(schema_with = words::outcomes)]
    pub outcome: String,
    /// The code of the message family: 200, 400, 403, 404, 408, 500.
    pub code: u16,
    /// Reason for machines, such as `signer-unknown`.
    pub word: String,
    /// Reason for people.
    pub message: String,
    /// The terminal's additions: versions, digests of the parameters, stages.
    pub details: Value,
    /// SHA-256 of the manifest of the package that the terminal names, where that is not the job's:
    /// find out what runs there before you order anything more.
    pub other_package: Option<String>,
}

/// Returns the package that a result names, where that is not the ordered one. Results from before a
/// package was verified, and other makes, name none.
pub(super) fn other_package(ordered: &str, details: &Value) -> Option<String> {
    let named = details.get("manifestSha256")?.as_str()?;
    let differs = !named.is_empty() && !named.eq_ignore_ascii_case(ordered);
    differs.then(|| named.to_owned())
}

const COLUMNS: &str = "j.id, j.order_id, j.terminal, j.package, p.version, j.type, j.state, \
    j.progress, j.bytes, \
    j.total, j.created_by, j.created_at, j.policy, j.expires_at, j.ordered_at, j.accepted_at, j.heard_at, \
    j.cancel_requested_at, j.finished_at, j.bytes_served, j.outcome, j.code, j.word, j.message, j.details, \
    j.budget, j.bytes_used, f.id, f.target IS NOT NULL, f.size, p.size - f.size, \
    p.manifest_sha256";
const FROM: &str = "FROM jobs j JOIN packages p ON p.id = j.package \
    LEFT JOIN packages f ON f.id = j.offered";

impl Job {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let time = |index| row.get::<Option<i64>>(index).map(|at| at.map(clock::text));
        let count = |index| {
            let count: Option<i64> = row.get(index)?;
            Ok::<_, Error>(count.and_then(|count| u64::try_from(count).ok()))
        };
        Ok(Job {
            id: row.get(0)?,
            order: row.get(1)?,
            terminal: row.get(2)?,
            package: row.get(3)?,
            version: row.get(4)?,
            upgrade_type: row.get(5)?,
            state: row.get(6)?,
            progress: row.get(7)?,
            bytes: count(8)?,
            total: count(9)?,
            created_by: row.get(10)?,
            created_at: clock::text(row.get(11)?),
            policy: count(12)?.unwrap_or(0),
            budget: count(25)?,
            bytes_used: count(26)?,
            file: match row.get(27)? {
                None => None,
                Some(package) => Some(Offered {
                    package,
                    delta: row.get(28)?,
                    size: count(29)?.unwrap_or(0),
                    saved: count(30)?.unwrap_or(0),
                }),
            },
            expires_at: time(13)?,
            ordered_at: time(14)?,
            accepted_at: time(15)?,
            heard_at: time(16)?,
            cancel_requested_at: time(17)?,
            finished_at: time(18)?,
            bytes_served: count(19)?.unwrap_or(0),
            result: match row.get(20)? {
                None => None,
                Some(outcome) => {
                    let details: Option<String> = row.get(24)?;
                    let details = details.and_then(|text| serde_json::from_str(&text).ok());
                    let details = details.unwrap_or(Value::Null);
                    let ordered: String = row.get(31)?;
                    Some(JobResult {
                        outcome,
                        code: row.get(21)?,
                        word: row.get(22)?,
                        message: row.get(23)?,
                        other_package: other_package(&ordered, &details),
                        details,
                    })
                }
            },
        })
    }
}

/// Returns the job with this id.
pub fn get(r: &Read<'_>, id: i64) -> Result<Option<Job>> {
    r.optional(
        &format!("SELECT {COLUMNS} {FROM} WHERE j.id = ?"),
        params![id],
        Job::from_row,
    )
}

/// The choice of jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this terminal.
    pub terminal: Option<String>,
    /// Only of this package.
    pub package: Option<i64>,
    /// Only of this order.
    pub order: Option<i64>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// Only with smaller ids.
    pub before: Option<i64>,
    /// Most jobs to return.
    pub limit: u32,
}

/// Returns jobs, newest first. The inner SELECT finds their ids in an index alone.
pub fn list(r: &Read<'_>, filter: &Filter) -> Result<Vec<Job>> {
    let before = filter.before.unwrap_or(i64::MAX);
    let finished = filter.outcome.as_ref().map(|_| State::Finished.word());
    let (mut conditions, mut values) = (String::new(), params![before].to_vec());
    for (column, value) in [
        ("terminal", filter.terminal.to_value()),
        ("package", filter.package.to_value()),
        ("order_id", filter.order.to_value()),
        ("state", filter.state.to_value()),
        // Implied by an outcome; the indexes have both.
        ("state", finished.to_value()),
        ("outcome", filter.outcome.to_value()),
    ] {
        if !value.is_null() {
            conditions.push_str(&format!(" AND {column} = ?"));
            values.push(value);
        }
    }
    values.push(filter.limit.to_value());
    // Few of an order's jobs are in most states: SQLite shall sort those rather than read all by id.
    let is_few = |state: &String| *state != State::Finished.word();
    let by = match filter.order.or(filter.package) {
        Some(_) if filter.state.as_ref().is_some_and(is_few) => "+id",
        _ => "id",
    };
    r.all(
        &format!(
            "SELECT {COLUMNS} {FROM} WHERE j.id IN (SELECT id FROM jobs WHERE {by} < ?{conditions} \
             ORDER BY {by} DESC LIMIT ?) ORDER BY j.id DESC"
        ),
        &values,
        Job::from_row,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests;

    const INSERT: &str =
        "INSERT INTO jobs (id, order_id, terminal, package, type, state, created_by, \
         created_at, policy, finished_at, outcome, code, word, message) \
         VALUES (?1, ?2, ?3, ?4, 'full', ?5, 'o', 0, 0, ?6, ?7, ?6, ?7, ?7)";

    #[tokio::test]
    async fn every_combination_of_filters_finds_the_jobs_that_fit() {
        let (_dir, store) = crate::store::tests::store();
        let done = store.write(|w| {
            let (states, outcomes) = (["queued", "armed", "finished"], ["success", "failed"]);
            for terminal in 0..120 {
                w.execute(
                    "INSERT INTO terminals (id, registered_at) VALUES (?, 0)",
                    params![terminal.to_string()],
                )?;
            }
            for package in 1..=2 {
                tests::package(w, package, "full", 0, None);
            }
            for id in 0..120_u32 {
                let state = states[id as usize / 2 % 3];
                let over = (state == "finished").then_some(1);
                let outcome = over.map(|_| outcomes[id as usize % 2]);
                // Finished jobs share terminals; others cannot.
                let terminal = over.map_or(id, |_| id / 20).to_string();
                let package = id % 4 / 2 + 1;
                w.execute(
                    INSERT,
                    params![id, id % 3, terminal, package, state, over, outcome],
                )?;
            }
            let all = list(
                w,
                &Filter {
                    limit: 1000,
                    ..Filter::default()
                },
            )?;
            assert_eq!(all.len(), 120);
            fn or_none<T: Clone>(some: &[T]) -> Vec<Option<T>> {
                some.iter().cloned().map(Some).chain([None]).collect()
            }
            let text = |words: &[&str]| {
                or_none(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
            };
            let (states, outcomes) = (text(&states), text(&outcomes));
            let mut filters = Vec::new();
            for terminal in text(&["3"]) {
                for package in or_none(&[1_i64]) {
                    for order in or_none(&[2_i64]) {
                        for before in or_none(&[60_i64]) {
                            for state in &states {
                                filters.extend(outcomes.iter().map(|outcome| Filter {
                                    terminal: terminal.clone(),
                                    state: state.clone(),
                                    outcome: outcome.clone(),
                                    package,
                                    order,
                                    before,
                                    limit: 7,
                                }));
                            }
                        }
                    }
                }
            }
            for filter in filters {
                let fits = |job: &&Job| {
                    let outcome = job.result.as_ref().map(|result| result.outcome.clone());
                    filter
                        .terminal
                        .as_ref()
                        .is_none_or(|id| *id == job.terminal)
                        && filter.package.is_none_or(|id| id == job.package)
                        && filter.order.is_none_or(|id| id == job.order)
                        && filter.before.is_none_or(|id| job.id < id)
                        && filter
                            .state
                            .as_ref()
                            .is_none_or(|state| *state == job.state)
                        && filter
                            .outcome
                            .as_ref()
                            .is_none_or(|word| Some(word) == outcome.as_ref())
                };
                let expected: Vec<i64> =
                    all.iter().filter(fits).take(7).map(|job| job.id).collect();
                let found: Vec<i64> = list(w, &filter)?.iter().map(|job| job.id).collect();
                assert_eq!(found, expected, "{filter:?}");
            }
            Ok::<_, Error>(())
        });
        done.await.unwrap();
    }
}
