//! The record of events.

use std::path::PathBuf;

use serde_json::{json, Value};

use super::archive::{self, Archive};
use super::chain::{self, Hash, Line};
use super::sql::{params, ToValue};
use super::{jobs, locks, Error, Read, Result, Store, Write};
use crate::clock;

/// Most bytes kept of a terminal's text.
const MAX_DETAIL: usize = 16 << 10;
/// Most bytes of a job's record that terminals cause: a job without faults takes 3 KiB, one with
/// thousands of broken downloads a hundred times that.
const MOST_OF_JOB: i64 = 512 << 10;
/// Size of an event besides its detail, bytes.
const OVERHEAD: i64 = 100;
/// Most jobs unknown to the station that one terminal can add to the record.
const MOST_UNKNOWN: i64 = 100;

/// The subject of an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    pub job: Option<i64>,
    pub terminal: Option<&'a str>,
    pub package: Option<i64>,
}

impl Subject<'_> {
    /// Returns the subject for a job.
    pub fn job(id: i64) -> Self {
        Subject {
            job: Some(id),
            ..Subject::default()
        }
    }
}

/// Kinds of events, as in the record.
pub mod kind {
    /// A package was uploaded.
    pub const UPLOADED: &str = "package-uploaded";
    /// A package was removed.
    pub const REMOVED: &str = "package-removed";
    /// A delta was asked for.
    pub const DELTA: &str = "delta-requested";
    /// A terminal was blocked, decommissioned, or admitted again.
    pub const LIFE: &str = "life";
    /// A terminal that is barred sent messages: they are refused.
    pub const BARRED: &str = "barred-terminal-speaks";
    /// A terminal's attributes or tags were changed.
    pub const LABELLED: &str = "labelled";
    /// An order was placed.
    pub const ORDERED: &str = "ordered";
    /// An order's cancellation was requested.
    pub const ORDER_CANCEL: &str = "order-cancel-requested";
    /// Something was done with a rollout, by an operator or by the station itself.
    pub const ROLLOUT: &str = "rollout";
    /// A job was ordered.
    pub const CREATED: &str = "created";
    /// A command was sent to the terminal.
    pub const SENT: &str = "sent";
    /// The terminal answered a command.
    pub const ANSWERED: &str = "answered";
    /// The job's state changed.
    pub const STATE: &str = "state";
    /// The terminal was busy; the job waits.
    pub const WAITS: &str = "waits";
    /// The terminal's token was refused and it asked for the order again.
    pub const ORDER_AGAIN: &str = "order-again";
    /// A download began.
    pub const DOWNLOAD: &str = "download";
    /// A download ended.
    pub const DOWNLOADED: &str = "downloaded";
    /// A job's cancellation was requested.
    pub const CANCEL: &str = "cancel-requested";
    /// The cancellation of a job that this station did not order was requested.
    pub const CANCEL_FOREIGN: &str = "foreign-cancel-requested";
    /// The job's one result.
    pub const RESULT: &str = "result";
    /// The terminal's result names another package than was ordered.
    pub const OTHER_PACKAGE: &str = "other-package";
    /// The terminal reported again, or after the station had ended the job.
    pub const LATE_RESULT: &str = "late-result";
    /// The record is full; of this job, only results and operators' actions are recorded from here
    /// on.
    pub const FULL: &str = "record-full";
    /// An act was refused to an operator whose role does not allow it.
    pub const FORBIDDEN: &str = "act-refused";
    /// A part of the record is in archives.
    pub const SEALED: &str = "sealed";
    /// A terminal reported a job that the station does not know.
    pub const UNKNOWN_JOB: &str = "unknown-job";
}

/// Adds an event.
pub fn add(
    w: &Write<'_>,
    now: i64,
    subject: Subject<'_>,
    kind: &str,
    detail: &Value,
) -> Result<()> {
    let mut detail = detail.to_string();
    if detail.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|i| detail.is_char_boundary(*i));
        detail.truncate(end.unwrap_or(0));
        detail = Value::String(detail).to_string();
    }
    let mut kind = kind;
    if let Some(job) = subject.job.filter(|_| is_bounded(kind)) {
        match room(w, job, &detail)? {
            Room::Enough => {}
            Room::Last => {
                kind = kind::FULL;
                detail = json!({ "bytes": MOST_OF_JOB }).to_string();
            }
            Room::None => return Ok(()),
        }
    }
    w.pending.borrow_mut().events.push(Draft {
        at: now,
        job: subject.job,
        terminal: subject.terminal.map(str::to_owned),
        package: subject.package,
        kind: kind.to_owned(),
        detail,
    });
    Ok(())
}

/// An event that the transaction adds at its end.
#[derive(Debug)]
pub(super) struct Draft {
    at: i64,
    job: Option<i64>,
    terminal: Option<String>,
    package: Option<i64>,
    kind: String,
    detail: String,
}

/// The last event, in the database or in an archive, and its hash.
const LAST: &str =
    "SELECT id, hash FROM (SELECT id, hash FROM events ORDER BY id DESC LIMIT 1) AS e \
    UNION ALL SELECT last_event, last_hash FROM \
    (SELECT last_event, last_hash FROM archives ORDER BY number DESC LIMIT 1) AS a \
    ORDER BY 1 DESC LIMIT 1";

/// Writes the events that were added. Who does this holds the record until the transaction ends, so
/// the order of the record is that of the commits, it grows by one from event to event, and each is
/// chained to the one before.
pub(super) fn write(w: &Write<'_>) -> Result<()> {
    let drafts = std::mem::take(&mut w.pending.borrow_mut().events);
    if drafts.is_empty() {
        return Ok(());
    }
    locks::name(w, "record")?;
    let last = w.optional(LAST, params![], |row| {
        Ok((row.get(0)?, chain::hash_of(row, 1)?))
    })?;
    let (last, mut previous): (i64, Option<Hash>) = last.unwrap_or((0, None));
    let chained = |(id, draft): (i64, Draft)| {
        let line = draft.line(id);
        let hash = line.hash(previous);
        previous = Some(hash);
        (line, hash)
    };
    let events: Vec<(Line, Hash)> = (last.saturating_add(1)..)
        .zip(drafts)
        .map(chained)
        .collect();
    w.rows(
        &events,
        "(?, ?, ?, ?, ?, ?, ?, ?)",
        |rows| format!("INSERT INTO events ({}) VALUES {rows}", chain::COLUMNS),
        values_of,
    )
}

impl Draft {
    fn line(self, id: i64) -> Line {
        Line {
            id,
            at: self.at,
            job: self.job,
            // PostgreSQL's texts have no NUL: what is hashed is what is stored.
            terminal: self.terminal.map(|text| text.replace('\0', "\u{fffd}")),
            package: self.package,
            kind: self.kind,
            detail: self.detail,
        }
    }
}

fn values_of((line, hash): &(Line, Hash)) -> [super::sql::Value<'_>; 8] {
    [
        line.id.to_value(),
        line.at.to_value(),
        line.job.to_value(),
        line.terminal.to_value(),
        line.package.to_value(),
        line.kind.to_value(),
        line.detail.to_value(),
        hash.to_value(),
    ]
}

/// Tells whether terminals and holders of download tokens can cause events of this kind again and
/// again.
fn is_bounded(kind: &str) -> bool {
    !matches!(
        kind,
        kind::CREATED | kind::CANCEL | kind::CANCEL_FOREIGN | kind::RESULT | kind::OTHER_PACKAGE
    )
}

enum Room {
    Enough,
    Last,
    None,
}

fn room(w: &Write<'_>, job: i64, detail: &str) -> Result<Room> {
    let cost = OVERHEAD.saturating_add(i64::try_from(detail.len()).unwrap_or(i64::MAX));
    let used = jobs::add_record_bytes(w, job, cost, MOST_OF_JOB)?;
    Ok(match used {
        Some(used) if used <= MOST_OF_JOB => Room::Enough,
        Some(used) if used.saturating_sub(cost) <= MOST_OF_JOB => Room::Last,
        Some(_) => Room::None,
        // A job of another station has few: its cancellations.
        None => Room::Enough,
    })
}

/// Adds a later result of a job if the record does not hold it yet.
pub fn add_late_result(w: &Write<'_>, now: i64, job: i64, report: &Value) -> Result<()> {
    let detail = report.to_string();
    let drafted = w.pending.borrow().events.iter().any(|draft| {
        draft.job == Some(job) && draft.kind == kind::LATE_RESULT && draft.detail == detail
    });
    let known = drafted
        || w.exists(
            "SELECT 1 FROM events WHERE job = ? AND kind = ? AND detail = ?",
            params![job, kind::LATE_RESULT, detail],
        )?;
    match known {
        true => Ok(()),
        false => add(w, now, Subject::job(job), kind::LATE_RESULT, report),
    }
}

/// Adds a result of a job that the station does not know, once; returns false if it was recorded
/// already or the terminal has reported too many.
pub fn add_unknown(
    w: &Write<'_>,
    now: i64,
    terminal: &str,
    job: i64,
    report: &Value,
) -> Result<bool> {
    let added = w.execute(
        "INSERT INTO unknown_results (terminal, job) SELECT CAST(?1 AS TEXT), \
         CAST(?2 AS BIGINT) WHERE (SELECT count(*) FROM unknown_results WHERE terminal = ?1) < ?3 ON CONFLICT DO NOTHING",
        params![terminal, job, MOST_UNKNOWN],
    )?;
    if added == 0 {
        return Ok(false);
    }
    let subject = Subject {
        terminal: Some(terminal),
        ..Subject::default()
    };
    add(w, now, subject, kind::UNKNOWN_JOB, report)?;
    Ok(true)
}

/// Returns the words among `states` that the record of a job does not have, unless a part of it is
/// in archives.
pub fn missing_states(w: &Write<'_>, job: i64, states: &[String]) -> Result<Vec<String>> {
    let mut events: Vec<(String, String)> = w.all(
        "SELECT kind, detail FROM events WHERE job = ? ORDER BY id",
        params![job],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let pending = w.pending.borrow();
    let drafts = pending.events.iter().filter(|draft| draft.job == Some(job));
    events.extend(drafts.map(|draft| (draft.kind.clone(), draft.detail.clone())));
    if events.first().is_none_or(|(kind, _)| kind != kind::CREATED) {
        return Ok(Vec::new());
    }
    let states = states.iter().filter(|state| {
        let detail = json!({ "state": state }).to_string();
        !events
            .iter()
            .any(|event| event.0 == kind::STATE && event.1 == detail)
    });
    Ok(states.cloned().collect())
}

/// An event of a job's record.
#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// RFC 3339.
    pub at: String,
    /// Kind, such as `created`, `sent`, `answered`, `state`, `download`, `result`.
    pub kind: String,
    /// Details; they depend on the kind.
    pub detail: Value,
}

/// Returns the record of a job, oldest first. If a part of it is in archives, the first entry names
/// them.
pub fn of_job(r: &Read<'_>, job: i64) -> Result<Vec<Event>> {
    let mut events = in_database(r, job, 0)?;
    if is_complete(&events) {
        return Ok(events);
    }
    if let Some(created_at) = created_at(r, job)? {
        let archives = archive::since(r, created_at)?;
        let archives: Vec<String> = archives.iter().map(Archive::file_name).collect();
        let sealed = Event {
            at: clock::text(created_at),
            kind: kind::SEALED.to_owned(),
            detail: json!({ "archives": archives }),
        };
        events.insert(0, sealed);
    }
    Ok(events)
}

/// Returns the record of a job, the parts in the archives of `folder` too, oldest first.
pub async fn whole(store: &Store, folder: PathBuf, job: i64) -> anyhow::Result<Vec<Event>> {
    let found = store.read(move |r| {
        let events = in_database(r, job, archive::last(r)?)?;
        let archives = match is_complete(&events) {
            true => Vec::new(),
            // A job of another station has events as well.
            false => archive::since(r, created_at(r, job)?.unwrap_or(0))?,
        };
        Ok::<_, Error>((archives, events))
    });
    let (archives, events) = found.await?;
    let read = move || archive::show::of_job(&folder, &archives, job);
    let mut all = super::blocking(read).await?;
    all.extend(events);
    Ok(all)
}

fn is_complete(events: &[Event]) -> bool {
    events
        .first()
        .is_some_and(|first| first.kind == kind::CREATED)
}

fn created_at(r: &Read<'_>, job: i64) -> Result<Option<i64>> {
    let sql = "SELECT created_at FROM jobs WHERE id = ?";
    r.optional(sql, params![job], |row| row.get(0))
}

/// Returns a job's events after one of them.
fn in_database(r: &Read<'_>, job: i64, after: i64) -> Result<Vec<Event>> {
    r.all(
        "SELECT at, kind, detail FROM events WHERE job = ? AND id > ? ORDER BY id",
        params![job, after],
        |row| {
            let detail: String = row.get(2)?;
            Ok(Event {
                at: clock::text(row.get(0)?),
                kind: row.get(1)?,
                detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
            })
        },
    )
}
