//! What a transaction knows of jobs, and changes of them: it reads each job once, for many at a time,
//! and writes it once, at its end. Messages come by batches, and most change one row.
//!
//! It holds the lock on the jobs' terminals ([`crate::store::locks`]), so what it knows stays true.
//! Statements that change a job beside this, or ask for what may be changed here, come after
//! [`settle`].

use std::collections::BTreeMap;

use dau_model::State;

use super::{promote, Figures, Known};
use crate::store::sql::{params, Row, ToValue, Value};
use crate::store::{Result, Write};

/// The jobs that a transaction holds.
#[derive(Debug, Default)]
pub(in crate::store) struct Held {
    jobs: BTreeMap<i64, Job>,
    /// Terminals whose next job is to be ordered.
    pub(super) idle: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct Job {
    known: Known,
    /// Bytes of its record that others than operators caused.
    record_bytes: i64,
    /// Whether the time of the next question stands, see [`super::heard`].
    is_asked: bool,
    changes: Changes,
}

/// What is to be written of a job.
#[derive(Debug, Default, Clone, PartialEq)]
struct Changes {
    /// Time of a change of the state.
    entered_at: Option<i64>,
    figures: Option<Figures>,
    heard_at: Option<i64>,
    query_at: Option<i64>,
    ordered_at: Option<i64>,
    record_bytes: i64,
}

const KNOWN: &str =
    "SELECT id, terminal, state, cancel_requested_at IS NOT NULL, reported, order_id, \
    record_bytes, query_at IS NOT NULL AND queries = 0 FROM jobs WHERE id IN";

impl Job {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let state: String = row.get(2)?;
        Ok(Job {
            known: Known {
                id: row.get(0)?,
                terminal: row.get(1)?,
                state: state.parse().unwrap_or(State::Ordered),
                cancel_requested: row.get(3)?,
                reported: row.get(4)?,
                order: row.get(5)?,
            },
            record_bytes: row.get(6)?,
            is_asked: row.get(7)?,
            changes: Changes::default(),
        })
    }

    /// Tells whether what changes has indexes.
    fn moves(&self) -> bool {
        self.changes.entered_at.is_some() || self.changes.query_at.is_some()
    }

    /// Returns what [`write_figures`] writes.
    fn figures(&self) -> [Value<'_>; 8] {
        let Changes { figures, .. } = &self.changes;
        [
            self.known.id.to_value(),
            figures.map_or(Value::Null, |figures| {
                Value::Integer(figures.progress.min(100).into())
            }),
            integer(figures.and_then(|figures| figures.bytes)),
            integer(figures.and_then(|figures| figures.total)),
            integer(figures.and_then(|figures| figures.used)),
            self.changes.heard_at.to_value(),
            self.changes.ordered_at.to_value(),
            self.changes.record_bytes.to_value(),
        ]
    }

    /// Returns what [`write_states`] writes beside that.
    fn state(&self) -> [Value<'_>; 11] {
        let [id, progress, bytes, total, used, heard, ordered, record] = self.figures();
        let Changes {
            entered_at,
            query_at,
            ..
        } = &self.changes;
        let state = Value::Text(self.known.state.word());
        let (entered, query) = (entered_at.to_value(), query_at.to_value());
        [
            id, progress, bytes, total, used, heard, ordered, record, state, entered, query,
        ]
    }
}

fn integer(count: Option<u64>) -> Value<'static> {
    let count = count.and_then(|count| i64::try_from(count).ok());
    count.map_or(Value::Null, Value::Integer)
}

/// Reads jobs, many at once.
pub fn load(w: &Write<'_>, ids: impl IntoIterator<Item = i64>) -> Result<()> {
    let missing: Vec<i64> = {
        let held = &w.pending.borrow().jobs.jobs;
        ids.into_iter()
            .filter(|id| !held.contains_key(id))
            .collect()
    };
    let jobs = w.for_keys(
        &missing,
        |ids| format!("{KNOWN} ({ids})"),
        params![],
        Job::from_row,
    )?;
    let jobs = jobs.into_iter().map(|job| (job.known.id, job));
    w.pending.borrow_mut().jobs.jobs.extend(jobs);
    Ok(())
}

/// Does `work` on a job; `None` if there is no such job.
fn with<T>(w: &Write<'_>, id: i64, work: impl FnOnce(&mut Job) -> T) -> Result<Option<T>> {
    load(w, [id])?;
    Ok(w.pending.borrow_mut().jobs.jobs.get_mut(&id).map(work))
}

/// Returns a job for a decision.
pub fn known(w: &Write<'_>, id: i64) -> Result<Option<Known>> {
    with(w, id, |job| job.known.clone())
}

/// Sets the state of a job that is under way; returns whether it is.
pub(super) fn enter(w: &Write<'_>, now: i64, id: i64, state: State) -> Result<bool> {
    let entered = with(w, id, |job| {
        if matches!(job.known.state, State::Queued | State::Finished) {
            return false;
        }
        job.known.state = state;
        job.changes.entered_at = Some(now);
        job.changes.figures = Some(Figures {
            progress: 0,
            bytes: None,
            total: None,
            used: job.changes.figures.and_then(|figures| figures.used),
        });
        true
    })?;
    Ok(entered == Some(true))
}

/// Sets a job's progress.
pub fn set_figures(w: &Write<'_>, id: i64, figures: Figures) -> Result<()> {
    with(w, id, |job| {
        if !matches!(job.known.state, State::Queued | State::Finished) {
            let used = job.changes.figures.and_then(|figures| figures.used);
            job.changes.figures = Some(Figures {
                used: figures.used.or(used),
                ..figures
            });
        }
    })
    .map(drop)
}

/// Notes a message about a job that has not ended. The terminal is not asked before `query_at`: that
/// is looked up when the time that stands has come, so most messages need not move it.
pub(super) fn heard(w: &Write<'_>, now: i64, id: i64, query_at: i64) -> Result<()> {
    with(w, id, |job| {
        job.changes.heard_at = Some(now);
        let is_silent = matches!(
            job.known.state,
            State::Queued | State::Ordered | State::Finished
        );
        if !is_silent && !job.is_asked {
            job.changes.query_at = Some(query_at);
            job.is_asked = true;
        }
    })
    .map(drop)
}

/// Notes that a job's order is sent.
pub fn ordered(w: &Write<'_>, now: i64, id: i64) -> Result<()> {
    with(w, id, |job| job.changes.ordered_at = Some(now)).map(drop)
}

/// Adds to the bytes of a job's record, unless it has more than `most`; returns what that makes.
pub fn add_record_bytes(w: &Write<'_>, id: i64, bytes: i64, most: i64) -> Result<Option<i64>> {
    with(w, id, |job| {
        let used = job.record_bytes.saturating_add(bytes);
        if job.record_bytes <= most {
            job.record_bytes = used;
            job.changes.record_bytes = job.changes.record_bytes.saturating_add(bytes);
        }
        used
    })
}

/// Writes what is changed of a job, and forgets it.
pub fn settle(w: &Write<'_>, id: i64) -> Result<()> {
    let job = w.pending.borrow_mut().jobs.jobs.remove(&id);
    write_all(w, job.into_iter().collect())
}

/// Writes what is changed, and orders the next jobs of terminals that have become idle.
pub(in crate::store) fn write(w: &Write<'_>) -> Result<()> {
    loop {
        let jobs = std::mem::take(&mut w.pending.borrow_mut().jobs.jobs);
        write_all(w, jobs.into_values().collect())?;
        let idle = std::mem::take(&mut w.pending.borrow_mut().jobs.idle);
        if idle.is_empty() {
            return Ok(());
        }
        promote::order_next(w, idle)?;
    }
}

fn write_all(w: &Write<'_>, jobs: Vec<Job>) -> Result<()> {
    let changed = jobs
        .into_iter()
        .filter(|job| job.changes != Changes::default());
    let (moved, others): (Vec<Job>, Vec<Job>) = changed.partition(Job::moves);
    write_figures(w, &others)?;
    write_states(w, &moved)
}

/// What [`Job::figures`] sets: nothing that has an index.
const FIGURES: &str = "progress = coalesce(v.column2, progress), \
    bytes = CASE WHEN v.column2 IS NULL THEN bytes ELSE v.column3 END, \
    total = CASE WHEN v.column2 IS NULL THEN total ELSE v.column4 END, \
    bytes_used = coalesce(v.column5, bytes_used), heard_at = coalesce(v.column6, heard_at), \
    queries = CASE WHEN v.column6 IS NULL THEN queries ELSE 0 END, \
    ordered_at = coalesce(ordered_at, v.column7), record_bytes = record_bytes + v.column8";
const NUMBER: &str = "CAST(? AS BIGINT)";

fn write_figures(w: &Write<'_>, jobs: &[Job]) -> Result<()> {
    let row = format!("({})", [NUMBER; 8].join(", "));
    let sql = |rows: &str| {
        format!("UPDATE jobs SET {FIGURES} FROM (VALUES {rows}) AS v WHERE id = v.column1")
    };
    w.rows(jobs, &row, sql, Job::figures)
}

fn write_states(w: &Write<'_>, jobs: &[Job]) -> Result<()> {
    let row = format!(
        "({}, CAST(? AS TEXT), {NUMBER}, {NUMBER})",
        [NUMBER; 8].join(", ")
    );
    let sql = |rows: &str| {
        format!(
            "UPDATE jobs SET {FIGURES}, state = v.column9, \
             accepted_at = coalesce(accepted_at, v.column10), \
             ends_at = CASE WHEN v.column10 IS NULL THEN ends_at END, \
             refusal = CASE WHEN v.column10 IS NULL THEN refusal END, \
             query_at = coalesce(v.column11, query_at) \
             FROM (VALUES {rows}) AS v WHERE id = v.column1"
        )
    };
    w.rows(jobs, &row, sql, Job::state)
}
