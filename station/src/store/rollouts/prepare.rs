//! Finds out who is in which wave of a rollout, and who is left out.

use serde_json::Value;

use super::{counters, record, Row, PIECE};
use crate::clock;
use crate::rollout::admit::{Line, Place};
use crate::rollout::waves;
use crate::rollout::windows::{Calendar, Opening};
use crate::store::orders::select::{self, reason};
use crate::store::packages::{self, Package};
use crate::store::sql::params;
use crate::store::{saturated, terminals, Cause, Error, Read, Result, Write};

/// Seconds without a sign of life above which a terminal is one at risk.
const SILENT: i64 = 7 * 86_400;

/// Looks at some terminals.
pub fn piece(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    match row.collected {
        false => collect(w, now, row),
        true => assign(w, now, row),
    }
}

/// What the station knows of the files that terminals can get.
struct Files {
    package: Package,
    /// Deltas to it: their bases and sizes, the smallest first.
    deltas: Vec<(String, u64)>,
}

impl Files {
    fn of(w: &Write<'_>, id: i64) -> Result<Self> {
        let gone = || Error::new(Cause::Data, format!("its package {id} is gone"));
        let package = packages::keep(w, id)?.ok_or_else(gone)?;
        let deltas = packages::deltas(w, &package)?.into_iter();
        let mut deltas: Vec<(String, u64)> = deltas
            .filter_map(|delta| Some((delta.base?, delta.size)))
            .collect();
        deltas.sort_by_key(|(_, size)| *size);
        Ok(Files { package, deltas })
    }

    /// Returns the bytes of the file that a terminal gets that keeps these packages.
    fn bytes(&self, kept: &[String]) -> u64 {
        let mut fitting = self.deltas.iter().filter(|(base, _)| kept.contains(base));
        let delta = fitting.next().map_or(u64::MAX, |(_, size)| *size);
        delta.min(self.package.size)
    }
}

fn collect(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let piece: Option<String> = w.optional(
        "DELETE FROM rollout_pieces WHERE rollout = ?1 AND piece = \
         (SELECT min(piece) FROM rollout_pieces WHERE rollout = ?1) RETURNING terminals",
        params![row.id],
        |row| row.get(0),
    )?;
    let Some(piece) = piece else {
        w.execute(
            "UPDATE rollouts SET collected = (1 = 1) WHERE id = ?",
            params![row.id],
        )?;
        return Ok(());
    };
    let named: Vec<String> = serde_json::from_str(&piece).map_err(|error| {
        Error::new(
            Cause::Data,
            format!("a list of terminals cannot be read: {error}"),
        )
    })?;
    let files = Files::of(w, row.package)?;
    let calendar = Calendar::of(&row.plan.windows).map_err(|text| Error::new(Cause::Data, text))?;
    for terminal in named {
        add(w, now, row, &files, &calendar, &terminal)?;
    }
    Ok(())
}

fn add(
    w: &Write<'_>,
    now: i64,
    row: &Row,
    files: &Files,
    calendar: &Calendar,
    terminal: &str,
) -> Result<()> {
    let known = terminals::candidate(w, terminal)?;
    let (place, zone) = place(w, terminal)?;
    let looked = look(w, terminal)?;
    let bytes = files.bytes(&looked.kept);
    let left_out = select::unfit(known.as_ref(), &files.package).or_else(|| {
        let start = row.plan.start().unwrap_or(now).max(now);
        let end = start.saturating_add(row.plan.expire.into());
        match calendar.at(zone.as_deref(), start) {
            Opening::Closed(next) if next.is_none_or(|next| next >= end) => Some(reason::NO_WINDOW),
            _ if row.budget.is_some_and(|budget| budget < bytes) => Some(reason::BUDGET),
            _ => None,
        }
    });
    let risk = left_out
        .is_none()
        .then(|| looked.risk(now, bytes))
        .flatten();
    let state = left_out.map_or("waiting", |_| "left-out");
    let of_line = |line: &Option<Line>| line.as_ref().map(|line| (line.name.clone(), line.rank));
    let (feeder, feeder_rank) = of_line(&place.feeder).unzip();
    let (ring, ring_rank) = of_line(&place.ring).unzip();
    w.execute(
        "INSERT INTO rollout_targets (rollout, terminal, state, word, version, bytes, risk, zone, \
         feeder, feeder_rank, ring, ring_rank, ring_size, cell) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.id,
            terminal,
            state,
            left_out,
            known.map_or(String::new(), |known| known.version),
            saturated(bytes),
            risk,
            zone,
            feeder,
            feeder_rank.flatten(),
            ring,
            ring_rank.flatten(),
            place.ring.map_or(0, |line| line.ring),
            place.cell
        ],
    )?;
    let gathered = w.rollouts();
    gathered.add(now, (row.id, 0), "state", state, 1);
    match left_out {
        Some(word) => gathered.add(now, (row.id, 0), "word", word, 1),
        None => gathered.add(now, (row.id, 0), "bytes", "", saturated(bytes)),
    }
    if let Some(risk) = risk {
        gathered.add(now, (row.id, 0), "risk", risk, 1);
    }
    Ok(())
}

/// What a terminal's last days say.
struct Look {
    kept: Vec<String>,
    free: u64,
    last_seen: Option<i64>,
    last_outcome: Option<String>,
}

impl Look {
    /// Returns the word for what may go wrong, if anything.
    fn risk(&self, now: i64, bytes: u64) -> Option<&'static str> {
        let silent = now.saturating_sub(self.last_seen.unwrap_or(0)) > SILENT;
        match self.last_outcome.as_deref() {
            _ if silent => Some("silent"),
            Some("failed" | "rolled-back") => Some("failed-before"),
            _ if self.free > 0 && self.free < bytes => Some("no-space"),
            _ => None,
        }
    }
}

fn look(r: &Read<'_>, terminal: &str) -> Result<Look> {
    let found = r.optional(
        "SELECT t.packages, t.free_bytes, t.last_seen, (SELECT j.outcome FROM jobs j \
         WHERE j.terminal = t.id AND j.state = 'finished' ORDER BY j.id DESC LIMIT 1) \
         FROM terminals t WHERE t.id = ?",
        params![terminal],
        |row| {
            Ok(Look {
                kept: serde_json::from_str(&row.get::<String>(0)?).unwrap_or_default(),
                free: u64::try_from(row.get::<i64>(1)?).unwrap_or(0),
                last_seen: row.get(2)?,
                last_outcome: row.get(3)?,
            })
        },
    )?;
    Ok(found.unwrap_or(Look {
        kept: Vec::new(),
        free: 0,
        last_seen: None,
        last_outcome: None,
    }))
}

/// Returns where a terminal is, and its time zone.
fn place(r: &Read<'_>, terminal: &str) -> Result<(Place, Option<String>)> {
    let noted = r.all(
        "SELECT name, value, sort_key FROM terminal_attributes WHERE terminal = ? \
         AND name IN ('feeder', 'ring', 'cell', 'position', 'zone')",
        params![terminal],
        |row| {
            Ok((
                row.get::<String>(0)?,
                row.get::<String>(1)?,
                row.get::<String>(2)?,
            ))
        },
    )?;
    let value = |name: &str| noted.iter().find(|noted| noted.0 == name);
    let position = value("position").map(|noted| noted.2.as_str());
    let line = |name: &'static str, is_ring: bool| {
        let Some((_, of, _)) = value(name) else {
            return Ok::<_, Error>(None);
        };
        let rank = position
            .map(|at| before(r, name, of, at, terminal))
            .transpose()?;
        let ring = if is_ring { size(r, name, of)? } else { 0 };
        let name = of.clone();
        Ok(Some(Line { name, rank, ring }))
    };
    let place = Place {
        feeder: line("feeder", false)?,
        ring: line("ring", true)?,
        cell: value("cell").map(|noted| noted.1.clone()),
    };
    Ok((place, value("zone").map(|noted| noted.1.clone())))
}

/// Returns how many terminals of a line are before this position.
fn before(r: &Read<'_>, name: &str, of: &str, position: &str, terminal: &str) -> Result<u32> {
    r.one(
        "SELECT count(*) FROM terminal_attributes l JOIN terminal_attributes p \
         ON p.terminal = l.terminal AND p.name = 'position' \
         WHERE l.name = ?1 AND l.value = ?2 \
         AND (p.sort_key < ?3 OR (p.sort_key = ?3 AND p.terminal < ?4))",
        params![name, of, position, terminal],
        |row| row.get(0),
    )
}

fn size(r: &Read<'_>, name: &str, of: &str) -> Result<u32> {
    let sql = "SELECT count(*) FROM terminal_attributes WHERE name = ? AND value = ?";
    r.one(sql, params![name, of], |row| row.get(0))
}

/// Puts terminals into their waves; then the rollout is a draft.
fn assign(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let mut taken = vec![0_u32; row.plan.waves.len()];
    let mut all = 0_u32;
    for (wave, what, word, number, ..) in counters(w, row.id)? {
        let number = u32::try_from(number).unwrap_or(0);
        let in_wave = usize::try_from(wave)
            .ok()
            .and_then(|wave| wave.checked_sub(1));
        if what == "state" && word == "waiting" {
            all = all.saturating_add(number);
            if let Some(taken) = in_wave.and_then(|wave| taken.get_mut(wave)) {
                *taken = number;
            }
        }
    }
    // Those that no wave takes have been taken out of the number already: the shares are of the rest.
    let found: Vec<(String, Option<String>, i64, Option<String>)> = w.all(
        "SELECT terminal, feeder, bytes, risk FROM rollout_targets WHERE rollout = ? AND terminal > ? \
         AND state = 'waiting' ORDER BY terminal LIMIT ?",
        params![row.id, row.after, PIECE as i64],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let gathered = w.rollouts();
    for (terminal, feeder, bytes, risk) in &found {
        let wave = waves::of(&row.plan.waves, &taken, all, feeder.as_deref());
        let number = wave.and_then(|wave| u32::try_from(wave).ok()).unwrap_or(0);
        let to = (row.id, number);
        let (state, word) = match wave {
            Some(_) => ("waiting", None),
            None => ("left-out", Some(reason::NO_WAVE)),
        };
        w.execute(
            "UPDATE rollout_targets SET wave = ?, state = ?, word = ? WHERE rollout = ? AND terminal = ?",
            params![number, state, word, row.id, terminal],
        )?;
        gathered.add(now, (row.id, 0), "state", "waiting", -1);
        gathered.add(now, to, "state", state, 1);
        gathered.add(now, (row.id, 0), "bytes", "", bytes.saturating_neg());
        if let Some(word) = word {
            gathered.add(now, to, "word", word, 1);
        } else {
            gathered.add(now, to, "bytes", "", *bytes);
        }
        if let Some(risk) = risk {
            gathered.add(now, (row.id, 0), "risk", risk, -1);
            gathered.add(now, to, "risk", risk, 1);
        }
        if let Some(taken) = wave.and_then(|wave| taken.get_mut(wave.saturating_sub(1))) {
            *taken = taken.saturating_add(1);
        }
    }
    if let Some((last, ..)) = found.last() {
        w.execute(
            "UPDATE rollouts SET after = ? WHERE id = ?",
            params![last, row.id],
        )?;
    }
    if found.len() < PIECE {
        row.enter(w, "draft", None, "")?;
        let at = Value::String(clock::text(now));
        record(w, now, row.id, row.package, "prepared", "", at)?;
    }
    Ok(())
}
