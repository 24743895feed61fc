//! Starts terminals of a rollout whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{placeholders, Row, PIECE};
use crate::rollout::admit::{self, Limits, Line, Place, UnderWay, Wait};
use crate::rollout::step::Tally;
use crate::rollout::windows::{Calendar, Opening};
use crate::store::orders::{self, select, NewOrder};
use crate::store::packages::{self, Package};
use crate::store::sql::{params, ToValue};
use crate::store::{locks, terminals, Cause, Error, Read, Result, Write};

/// Lines asked for in one statement.
const LINES: usize = 64;

/// A terminal that may start.
struct Due {
    terminal: String,
    wave: u32,
    state: String,
    zone: Option<String>,
    place: Place,
    linked: bool,
    busy: bool,
}

/// Starts at most `room` terminals; returns whether there may be more to do at once.
pub fn some(w: &Write<'_>, now: i64, row: &Row, tallies: &[Tally], room: u32) -> Result<bool> {
    let Some(wave) = usize::try_from(row.open)
        .ok()
        .and_then(|open| row.plan.wave(open))
    else {
        return Ok(false);
    };
    let gone = || Error::new(Cause::Data, format!("its package {} is gone", row.package));
    let package = packages::keep(w, row.package)?.ok_or_else(gone)?;
    let calendar = Calendar::of(&row.plan.windows).map_err(|text| Error::new(Cause::Data, text))?;
    let mut found = due(w, now, row, tallies)?;
    if w.is_shared() {
        // What belongs to a terminal is read again where nobody changes it any more.
        locks::terminals(w, found.iter().map(|due| due.terminal.as_str()))?;
        let locked: BTreeSet<String> = found.into_iter().map(|due| due.terminal).collect();
        found = due(w, now, row, tallies)?;
        found.retain(|due| locked.contains(&due.terminal));
    }
    let limits = Limits {
        per_cell: wave.per_cell,
        per_feeder: wave.per_feeder,
        per_ring: wave.per_ring,
    };
    let mut under_way = under_way(w, row.id, &found)?;
    let mut starts: BTreeMap<i64, Vec<&Due>> = BTreeMap::new();
    let mut started = 0_u32;
    for due in &found {
        if started >= room {
            break;
        }
        let opening = calendar.at(due.zone.as_deref(), now);
        if let Some(wait) = admit::itself(opening, due.linked, due.busy) {
            postpone(w, now, row.id, due, wait)?;
            continue;
        }
        let known = terminals::candidate(w, &due.terminal)?;
        if let Some(word) = select::unfit(known.as_ref(), &package) {
            leave_out(w, now, row.id, due, word)?;
            continue;
        }
        if let Err(wait) = under_way.admit(&due.place, limits) {
            postpone(w, now, row.id, due, wait)?;
            continue;
        }
        // An order that was not accepted dies with the window.
        let accept = now.saturating_add(row.plan.accept.into());
        let until = match opening {
            Opening::Open(Some(closes)) => closes.min(accept),
            _ => accept,
        };
        starts.entry(until).or_default().push(due);
        started = started.saturating_add(1);
    }
    let mut order = row.order;
    for (until, some) in &starts {
        let until = row.expires_at.map_or(*until, |end| end.min(*until));
        order = Some(place(w, now, row, &package, order, until, some)?);
    }
    w.execute(
        "UPDATE rollouts SET order_id = ? WHERE id = ?",
        params![order, row.id],
    )?;
    Ok(found.len() >= PIECE)
}

/// Returns terminals of the open waves that are to be looked at.
fn due(r: &Read<'_>, now: i64, row: &Row, tallies: &[Tally]) -> Result<Vec<Due>> {
    let mut found = Vec::new();
    let open = usize::try_from(row.open).unwrap_or(0);
    for (wave, tally) in (1_u32..).zip(tallies.iter().take(open)) {
        let states = [
            ("waiting", tally.waiting),
            ("unreachable", tally.unreachable),
        ];
        for (state, _) in states.iter().filter(|(_, count)| *count > 0) {
            let limit = i64::try_from(PIECE.saturating_sub(found.len())).unwrap_or(0);
            let more = r.all(
                "SELECT t.terminal, t.wave, t.state, t.zone, t.feeder, t.feeder_rank, t.ring, \
                 t.ring_rank, t.ring_size, t.cell, x.link = 'up', EXISTS (SELECT 1 FROM jobs j \
                 WHERE j.terminal = t.terminal AND j.state != 'finished') FROM rollout_targets t \
                 JOIN terminals x ON x.id = t.terminal WHERE t.rollout = ? AND t.wave = ? \
                 AND t.state = ? AND t.due_at <= ? ORDER BY t.due_at, t.terminal LIMIT ?",
                params![row.id, wave, state, now, limit],
                |row| {
                    let ring: u32 = row.get(8)?;
                    let line = |name: Option<String>, rank, ring| {
                        name.map(|name| Line { name, rank, ring })
                    };
                    Ok(Due {
                        terminal: row.get(0)?,
                        wave: row.get(1)?,
                        state: row.get(2)?,
                        zone: row.get(3)?,
                        place: Place {
                            feeder: line(row.get(4)?, row.get(5)?, 0),
                            ring: line(row.get(6)?, row.get(7)?, ring),
                            cell: row.get(9)?,
                        },
                        linked: row.get(10)?,
                        busy: row.get(11)?,
                    })
                },
            )?;
            found.extend(more);
        }
    }
    Ok(found)
}

/// Returns who is under way on the lines and in the radio cells of these terminals, by any rollout.
fn under_way(r: &Read<'_>, rollout: i64, found: &[Due]) -> Result<UnderWay> {
    let mut all = UnderWay::default();
    let feeders = found
        .iter()
        .filter_map(|due| Some(&due.place.feeder.as_ref()?.name));
    let rings = found
        .iter()
        .filter_map(|due| Some(&due.place.ring.as_ref()?.name));
    let cells = found.iter().filter_map(|due| due.place.cell.as_ref());
    let lines: [(&str, BTreeSet<&String>); 3] = [
        ("feeder", feeders.collect()),
        ("ring", rings.collect()),
        ("cell", cells.collect()),
    ];
    for (column, names) in lines {
        let names: Vec<&String> = names.into_iter().collect();
        // A terminal of another rollout may have been counted when there were others on the line.
        let rank = match column {
            "cell" => "NULL".to_owned(),
            _ => format!("CASE WHEN rollout = {rollout} THEN {column}_rank END"),
        };
        for some in names.chunks(LINES) {
            let sql = format!(
                "SELECT {column}, {rank}, ring_size FROM rollout_targets WHERE {column} IN ({}) \
                 AND state = 'active'",
                placeholders(some.len())
            );
            let values: Vec<_> = some.iter().map(|name| name.to_value()).collect();
            let places = r.all(&sql, &values, |row| {
                let name: String = row.get(0)?;
                let line = |rank, ring| {
                    Some(Line {
                        name: name.clone(),
                        rank,
                        ring,
                    })
                };
                Ok(match column {
                    "feeder" => Place {
                        feeder: line(row.get(1)?, 0),
                        ..Place::default()
                    },
                    "ring" => Place {
                        ring: line(row.get(1)?, row.get(2)?),
                        ..Place::default()
                    },
                    _ => Place {
                        cell: Some(name),
                        ..Place::default()
                    },
                })
            })?;
            places.iter().for_each(|place| all.add(place));
        }
    }
    Ok(all)
}

fn postpone(w: &Write<'_>, now: i64, rollout: i64, due: &Due, wait: Wait) -> Result<()> {
    let state = match wait {
        Wait::Unreachable => "unreachable",
        _ => "waiting",
    };
    w.execute(
        "UPDATE rollout_targets SET state = ?, due_at = ?, waits_for = ? \
         WHERE rollout = ? AND terminal = ?",
        params![state, wait.until(now), wait.word(), rollout, due.terminal],
    )?;
    if state != due.state {
        w.rollouts()
            .moved(now, (rollout, due.wave), &due.state, state);
    }
    Ok(())
}

fn leave_out(w: &Write<'_>, now: i64, rollout: i64, due: &Due, word: &str) -> Result<()> {
    w.execute(
        "UPDATE rollout_targets SET state = 'left-out', word = ? WHERE rollout = ? AND terminal = ?",
        params![word, rollout, due.terminal],
    )?;
    let of = (rollout, due.wave);
    w.rollouts().moved(now, of, &due.state, "left-out");
    w.rollouts().add(now, (rollout, 0), "word", word, 1);
    Ok(())
}

/// Orders the upgrade for some terminals; returns the order.
fn place(
    w: &Write<'_>,
    now: i64,
    row: &Row,
    package: &Package,
    order: Option<i64>,
    until: i64,
    some: &[&Due],
) -> Result<i64> {
    let named: Vec<String> = some.iter().map(|due| due.terminal.clone()).collect();
    let new = NewOrder {
        by: row
            .started_by
            .clone()
            .unwrap_or_else(|| row.created_by.clone()),
        upgrade_type: row.upgrade_type.clone(),
        policy: 0,
        spread: 0,
        budget: row.budget,
        expires_at: Some(until),
        expire: Some(until.saturating_sub(now)),
        force: false,
        filter: None,
    };
    let first = w.next_id()?;
    let order = match order {
        Some(order) => orders::add_to(w, order, &new, &named).map(|()| order)?,
        None => {
            let order = orders::place(w, now, &new, package, Some(&named))?;
            let sql = "UPDATE orders SET rollout = ? WHERE id = ?";
            w.execute(sql, params![row.id, order])?;
            order
        }
    };
    while orders::work_on(w, now, order)? {}
    let jobs: BTreeMap<String, i64> = w
        .all(
            "SELECT terminal, id FROM jobs WHERE order_id = ? AND id > ?",
            params![order, first],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .into_iter()
        .collect();
    for due in some {
        let Some(job) = jobs.get(&due.terminal) else {
            postpone(w, now, row.id, due, Wait::Busy)?;
            continue;
        };
        w.execute(
            "UPDATE rollout_targets SET state = 'active', job = ?, word = NULL, waits_for = NULL \
             WHERE rollout = ? AND terminal = ?",
            params![job, row.id, due.terminal],
        )?;
        w.rollouts()
            .moved(now, (row.id, due.wave), &due.state, "active");
    }
    Ok(order)
}
