//! Rollouts as REST shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{counters, tick};
use crate::clock;
use crate::rollout::plan::Plan;
use crate::store::sql::{params, Row, ToValue};
use crate::store::{Cause, Error, Read, Result};
use crate::words;

/// Successful jobs that an estimate looks at.
const MEASURED: i64 = 200;

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The package's id.
    pub package: i64,
    /// Version of the package.
    pub version: String,
    /// The word of its [`dau_model::Kind`].
    #[serde(rename = "type")]
    #[schema(schema_with = words::kinds)]
    pub upgrade_type: String,
    /// Bytes that each terminal may spend on it; null: no limit.
    pub budget: Option<u64>,
    /// `preparing`: finds out who is in which wave; `draft`; `approval`: waits for a second person;
    /// `running`; `paused`: starts no more terminals; `stopped`: and cancelled what was not armed;
    /// `ended`.
    #[schema(pattern = "^(preparing|draft|approval|running|paused|stopped|ended)$")]
    pub state: String,
    /// Word for why it waits, is paused or stopped, or how it ended.
    pub why: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Name of the REST token that planned it.
    pub created_by: String,
    /// RFC 3339, like the other times.
    pub created_at: String,
    /// Who started it, and who approved that.
    pub started_by: Option<String>,
    pub approved_by: Option<String>,
    pub started_at: Option<String>,
    pub expires_at: Option<String>,
    /// Its waves.
    pub waves: Vec<WaveView>,
    /// Number of terminals by state, in all waves: `waiting`, `unreachable`, `active`, `success`,
    /// `failed`, `cancelled`, `expired`.
    pub counts: BTreeMap<String, u64>,
    /// Number of terminals that are left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Failures by word.
    pub failures: Vec<FailedWith>,
    /// The effect of a stop, if it was stopped.
    pub stop: Option<Stop>,
    /// The plan.
    pub plan: Plan,
}

/// A wave of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveView {
    /// Its number, from 1.
    pub number: u32,
    /// When it was opened.
    pub opened_at: Option<String>,
    /// Number of its terminals by state.
    pub counts: BTreeMap<String, u64>,
    /// Number of its terminals at risk when it was prepared, by reason: `silent`, `failed-before`,
    /// `no-space`.
    pub risks: BTreeMap<String, u64>,
    /// Bytes of the files for all its terminals.
    pub bytes: u64,
}

/// Terminals that failed with one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedWith {
    /// The word.
    pub word: String,
    /// How many.
    pub number: u64,
    /// What it means and what to do, as the operator guide says.
    pub advice: Option<String>,
}

/// The effect of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// When it was stopped.
    pub at: String,
    /// Terminals that have to hear of it, and those of them that are linked.
    pub to_reach: u64,
    pub linked: u64,
    /// Seconds until the last linked one had heard of it.
    pub seconds: Option<i64>,
}

/// The estimate of a rollout, by what earlier jobs of the product took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Number of earlier jobs that were looked at.
    pub measured: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Seconds that a terminal needs, from its acceptance to its result; null: nothing is known.
    pub seconds_each: Option<i64>,
    /// Seconds until the last result, with pauses and without closed windows; null: nothing is known.
    pub seconds: Option<i64>,
}

const SELECT: &str = "SELECT l.id, l.name, l.package, p.version, l.type, l.budget, l.state, l.why, \
    l.message, l.created_by, l.created_at, l.started_by, l.approved_by, l.started_at, l.expires_at, \
    l.plan, l.order_id, l.stopped_at, l.reached_at FROM rollouts l JOIN packages p ON p.id = l.package";

type Stored = (Rollout, Option<i64>, Option<i64>, Option<i64>);

fn stored(row: &Row<'_>) -> Result<Stored> {
    let time = |index| Ok::<_, Error>(row.get::<Option<i64>>(index)?.map(clock::text));
    let plan = Plan::read(&row.get::<String>(15)?);
    let rollout = Rollout {
        id: row.get(0)?,
        name: row.get(1)?,
        package: row.get(2)?,
        version: row.get(3)?,
        upgrade_type: row.get(4)?,
        budget: row
            .get::<Option<i64>>(5)?
            .and_then(|bytes| u64::try_from(bytes).ok()),
        state: row.get(6)?,
        why: row.get(7)?,
        message: row
            .get::<Option<String>>(8)?
            .filter(|text| !text.is_empty()),
        created_by: row.get(9)?,
        created_at: clock::text(row.get(10)?),
        started_by: row.get(11)?,
        approved_by: row.get(12)?,
        started_at: time(13)?,
        expires_at: time(14)?,
        waves: Vec::new(),
        counts: BTreeMap::new(),
        left_out: BTreeMap::new(),
        failures: Vec::new(),
        stop: None,
        plan: plan.map_err(|reason| Error::new(Cause::Data, reason))?,
    };
    Ok((rollout, row.get(16)?, row.get(17)?, row.get(18)?))
}

fn counted(r: &Read<'_>, (mut rollout, order, stopped, reached): Stored) -> Result<Rollout> {
    let opened: Vec<(u32, i64)> = r.all(
        "SELECT wave, opened_at FROM rollout_waves WHERE rollout = ?",
        params![rollout.id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut waves: Vec<WaveView> = (1..)
        .zip(&rollout.plan.waves)
        .map(|(number, _)| {
            let opened = opened.iter().find(|(wave, _)| *wave == number);
            WaveView {
                number,
                opened_at: opened.map(|(_, at)| clock::text(*at)),
                ..WaveView::default()
            }
        })
        .collect();
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    let add = |counts: &mut BTreeMap<String, u64>, word: &str, number: u64| {
        let count = counts.entry(word.to_owned()).or_default();
        *count = count.saturating_add(number);
    };
    for (wave, what, word, number, ..) in counters(r, rollout.id)? {
        let Some(number) = u64::try_from(number).ok().filter(|number| *number > 0) else {
            continue;
        };
        let index = usize::try_from(wave)
            .ok()
            .and_then(|wave| wave.checked_sub(1));
        let view = index.and_then(|index| waves.get_mut(index));
        match (what.as_str(), view) {
            ("word", None) => add(&mut rollout.left_out, &word, number),
            ("word", Some(_)) => add(&mut failures, &word, number),
            ("state", view) if word != "left-out" => {
                add(&mut rollout.counts, &word, number);
                view.into_iter()
                    .for_each(|view| add(&mut view.counts, &word, number));
            }
            ("risk", Some(view)) => add(&mut view.risks, &word, number),
            ("bytes", Some(view)) => view.bytes = number,
            _ => {}
        }
    }
    rollout.failures = failures
        .into_iter()
        .map(|(word, number)| FailedWith {
            advice: words::advice(&word),
            word,
            number,
        })
        .collect();
    rollout.waves = waves;
    if let Some(at) = stopped {
        let (to_reach, linked) = order.map_or(Ok((0, 0)), |order| tick::to_reach(r, order))?;
        rollout.stop = Some(Stop {
            at: clock::text(at),
            to_reach,
            linked,
            seconds: reached.map(|reached| reached.saturating_sub(at)),
        });
    }
    Ok(rollout)
}

/// Returns the rollout with this id.
pub fn get(r: &Read<'_>, id: i64) -> Result<Option<Rollout>> {
    let found = r.optional(&format!("{SELECT} WHERE l.id = ?"), params![id], stored)?;
    found.map(|found| counted(r, found)).transpose()
}

/// Returns at most `limit` rollouts with smaller ids than `before`, newest first.
pub fn list(r: &Read<'_>, before: Option<i64>, limit: u32) -> Result<Vec<Rollout>> {
    let sql = format!("{SELECT} WHERE l.id < ? ORDER BY l.id DESC LIMIT ?");
    let found = r.all(&sql, params![before.unwrap_or(i64::MAX), limit], stored)?;
    found.into_iter().map(|found| counted(r, found)).collect()
}

/// Returns what a rollout will take.
pub fn estimate(r: &Read<'_>, rollout: &Rollout) -> Result<Estimate> {
    let (measured, seconds, used, sizes): (i64, i64, i64, i64) = r.one(
        "SELECT count(*), coalesce(CAST(sum(seconds) AS BIGINT), 0), \
         coalesce(CAST(sum(used) AS BIGINT), 0), coalesce(CAST(sum(size) AS BIGINT), 0) FROM \
         (SELECT j.finished_at - j.accepted_at AS seconds, j.bytes_used AS used, f.size AS size \
         FROM jobs j JOIN packages p ON p.id = j.package JOIN packages f ON f.id = j.offered \
         WHERE j.outcome = 'success' AND j.accepted_at IS NOT NULL AND j.bytes_used IS NOT NULL \
         AND p.product = (SELECT product FROM packages WHERE id = ?) ORDER BY j.id DESC LIMIT ?) m",
        params![rollout.package, MEASURED],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let files: u64 = rollout.waves.iter().map(|wave| wave.bytes).sum();
    let spent = u128::from(files).saturating_mul(u128::try_from(used).unwrap_or(0));
    let bytes = spent.checked_div(u128::try_from(sizes).unwrap_or(0));
    let each = seconds.checked_div(measured);
    let lines = longest_lines(r, rollout.id)?;
    let mut all = each.map(|_| 0_i64);
    for (view, wave) in rollout.waves.iter().zip(&rollout.plan.waves) {
        let terminals: u64 = view.counts.values().sum();
        let at_once = wave.at_once.map_or(terminals, u64::from).max(1);
        let line = |longest: u64, most: u32| longest.div_ceil(u64::from(most.max(1)));
        let (feeder, ring) = lines.get(&view.number).copied().unwrap_or_default();
        let turns = terminals
            .div_ceil(at_once)
            .max(line(feeder, wave.per_feeder))
            .max(line(ring, wave.per_ring));
        let turns = i64::try_from(turns).unwrap_or(i64::MAX);
        let pauses = i64::from(wave.observe).saturating_add(wave.pause.into());
        all = all.zip(each).map(|(all, each)| {
            all.saturating_add(turns.saturating_mul(each))
                .saturating_add(pauses)
        });
    }
    Ok(Estimate {
        measured: u64::try_from(measured).unwrap_or(0),
        bytes: bytes
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(files),
        seconds_each: each,
        seconds: all,
    })
}

/// Returns the numbers of terminals on the longest feeder and the longest ring of each wave.
fn longest_lines(r: &Read<'_>, id: i64) -> Result<BTreeMap<u32, (u64, u64)>> {
    let mut waves: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for column in ["feeder", "ring"] {
        let longest: Vec<(u32, i64)> = r.all(
            &format!(
                "SELECT wave, max(number) FROM (SELECT wave, count(*) AS number FROM rollout_targets \
                 WHERE rollout = ? AND {column} IS NOT NULL GROUP BY wave, {column}) m GROUP BY wave"
            ),
            params![id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (wave, number) in longest {
            let number = u64::try_from(number).unwrap_or(0);
            let both = waves.entry(wave).or_default();
            match column {
                "feeder" => both.0 = number,
                _ => both.1 = number,
            }
        }
    }
    Ok(waves)
}

/// A terminal of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The terminal.
    pub terminal: String,
    /// The number of its wave; 0: it belongs to none.
    pub wave: u32,
    /// `waiting`, `unreachable`, `active`, `success`, `failed`, `cancelled`, `expired` or `left-out`.
    pub state: String,
    /// Why it is left out, or the word of its result.
    pub word: Option<String>,
    /// Why it waits: `wave` is not open, `window`, `unreachable`, `busy`, `feeder`, `ring`, `cell`,
    /// `neighbour`, or `turn`.
    pub waits_for: Option<String>,
    /// When it is looked at again.
    pub due_at: Option<String>,
    /// Its job.
    pub job: Option<i64>,
    /// The version that it ran when the rollout was prepared.
    pub version: String,
    /// Bytes of the file that it gets.
    pub bytes: u64,
    /// What may go wrong.
    pub risk: Option<String>,
}

/// The choice of terminals to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub wave: Option<u32>,
    pub state: Option<String>,
    pub word: Option<String>,
    pub risk: Option<String>,
    pub after: String,
    pub limit: u32,
}

/// Returns terminals of a rollout in the order of their ids.
pub fn targets(r: &Read<'_>, id: i64, filter: &Filter) -> Result<Vec<Target>> {
    let mut conditions = String::new();
    let mut values = params![id, filter.after].to_vec();
    if let Some(wave) = &filter.wave {
        conditions.push_str(" AND t.wave = ?");
        values.push(wave.to_value());
    }
    let texts = [
        ("state", &filter.state),
        ("word", &filter.word),
        ("risk", &filter.risk),
    ];
    for (column, value) in texts {
        if let Some(value) = value {
            conditions.push_str(&format!(" AND t.{column} = ?"));
            values.push(value.to_value());
        }
    }
    values.push(filter.limit.to_value());
    let sql = format!(
        "SELECT t.terminal, t.wave, t.state, t.word, t.waits_for, t.due_at, t.job, t.version, t.bytes, \
         t.risk, t.wave > l.open FROM rollout_targets t JOIN rollouts l ON l.id = t.rollout \
         WHERE t.rollout = ? AND t.terminal > ?{conditions} ORDER BY t.terminal LIMIT ?"
    );
    r.all(&sql, &values, |row| {
        let state: String = row.get(2)?;
        let waits = matches!(state.as_str(), "waiting" | "unreachable");
        let waits_for = match row.get::<bool>(10)? {
            true => Some("wave".to_owned()),
            false => Some(
                row.get::<Option<String>>(4)?
                    .unwrap_or_else(|| "turn".to_owned()),
            ),
        };
        let due: i64 = row.get(5)?;
        Ok(Target {
            terminal: row.get(0)?,
            wave: row.get(1)?,
            word: row.get(3)?,
            waits_for: waits_for.filter(|_| waits),
            due_at: (waits && due > 0).then(|| clock::text(due)),
            job: row.get(6)?,
            version: row.get(7)?,
            bytes: u64::try_from(row.get::<i64>(8)?).unwrap_or(0),
            risk: row.get(9)?,
            state,
        })
    })
}
