//! Whether a terminal may start beside those that are under way.

use std::collections::HashMap;

use super::windows::Opening;

/// A terminal's place on a feeder or a ring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    /// How many known terminals are before it; `None`: nobody knows.
    pub rank: Option<u32>,
    /// The number of terminals on a ring, whose first and last are neighbours; 0: a feeder.
    pub ring: u32,
}

/// Where a terminal is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub feeder: Option<Line>,
    pub ring: Option<Line>,
    pub cell: Option<String>,
}

/// How many may be under way.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub per_cell: Option<u32>,
    pub per_feeder: u32,
    pub per_ring: u32,
}

/// Why a terminal waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its window is closed until then; `None`: it never opens.
    Window(Option<i64>),
    /// It is not linked.
    Unreachable,
    /// It has another job.
    Busy,
    /// Others of its feeder, its ring or its radio cell are under way.
    Feeder,
    Ring,
    Cell,
    /// A neighbour is under way.
    Neighbour,
}

impl Wait {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Wait::Window(_) => "window",
            Wait::Unreachable => "unreachable",
            Wait::Busy => "busy",
            Wait::Feeder => "feeder",
            Wait::Ring => "ring",
            Wait::Cell => "cell",
            Wait::Neighbour => "neighbour",
        }
    }

    /// Returns when to look at the terminal again, if nothing tells before that it is back or that
    /// others have ended.
    pub fn until(self, now: i64) -> i64 {
        match self {
            Wait::Window(until) => until.unwrap_or(i64::MAX),
            Wait::Unreachable => now.saturating_add(600),
            _ => now.saturating_add(60),
        }
    }
}

/// The terminals under way, by line and radio cell.
#[derive(Debug, Default)]
pub struct UnderWay {
    feeders: HashMap<String, Vec<Option<u32>>>,
    rings: HashMap<String, Vec<Option<u32>>>,
    cells: HashMap<String, u32>,
}

impl UnderWay {
    /// Adds a terminal.
    pub fn add(&mut self, place: &Place) {
        for (lines, line) in [
            (&mut self.feeders, &place.feeder),
            (&mut self.rings, &place.ring),
        ] {
            if let Some(line) = line {
                lines.entry(line.name.clone()).or_default().push(line.rank);
            }
        }
        if let Some(cell) = &place.cell {
            let count = self.cells.entry(cell.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Adds the terminal, unless it has to wait for others.
    pub fn admit(&mut self, place: &Place, limits: Limits) -> Result<(), Wait> {
        let (feeders, rings) = (limits.per_feeder, limits.per_ring);
        beside(&self.rings, place.ring.as_ref(), rings, Wait::Ring)?;
        beside(&self.feeders, place.feeder.as_ref(), feeders, Wait::Feeder)?;
        let in_cell = place.cell.as_ref().and_then(|cell| self.cells.get(cell));
        if in_cell
            .zip(limits.per_cell)
            .is_some_and(|(count, most)| *count >= most)
        {
            return Err(Wait::Cell);
        }
        self.add(place);
        Ok(())
    }
}

/// Checks a terminal against those of its line.
fn beside(
    lines: &HashMap<String, Vec<Option<u32>>>,
    line: Option<&Line>,
    most: u32,
    full: Wait,
) -> Result<(), Wait> {
    let Some((line, others)) = line.and_then(|line| Some((line, lines.get(&line.name)?))) else {
        return Ok(());
    };
    if others.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(full);
    }
    match others.iter().any(|other| are_neighbours(line, *other)) {
        true => Err(Wait::Neighbour),
        false => Ok(()),
    }
}

/// Tells whether another terminal is next to this one; where a place is unknown, it may be.
fn are_neighbours(line: &Line, other: Option<u32>) -> bool {
    let Some((one, other)) = line.rank.zip(other) else {
        return true;
    };
    let apart = one.abs_diff(other);
    apart <= 1 || apart.saturating_add(1) == line.ring
}

/// Returns why the terminal itself cannot start, if so.
pub fn itself(opening: Opening, linked: bool, busy: bool) -> Option<Wait> {
    match (opening, linked, busy) {
        (Opening::Closed(until), ..) => Some(Wait::Window(until)),
        (_, false, _) => Some(Wait::Unreachable),
        (_, _, true) => Some(Wait::Busy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(feeder: &str, rank: Option<u32>, ring: u32) -> Place {
        let line = Line {
            name: feeder.to_owned(),
            rank,
            ring,
        };
        match ring {
            0 => Place {
                feeder: Some(line),
                ..Place::default()
            },
            _ => Place {
                ring: Some(line),
                ..Place::default()
            },
        }
    }

    #[test]
    fn neighbours_wait_for_each_other_whatever_the_limits_are() {
        let limits = Limits {
            per_cell: None,
            per_feeder: 9,
            per_ring: 9,
        };
        let feeder = |rank| on("F", Some(rank), 0);
        let ring = |rank| on("R", Some(rank), 6);
        let cases = [
            (feeder(3), feeder(4), Err(Wait::Neighbour)),
            (feeder(3), feeder(3), Err(Wait::Neighbour)),
            (feeder(3), feeder(5), Ok(())),
            (feeder(0), feeder(5), Ok(())),
            (feeder(3), on("F", None, 0), Err(Wait::Neighbour)),
            (on("F", None, 0), feeder(3), Err(Wait::Neighbour)),
            (feeder(3), on("G", Some(4), 0), Ok(())),
            (ring(0), ring(5), Err(Wait::Neighbour)),
            (ring(0), ring(4), Ok(())),
            (feeder(3), Place::default(), Ok(())),
        ];
        for (one, other, expected) in cases {
            let mut under_way = UnderWay::default();
            under_way.add(&one);
            assert_eq!(
                under_way.admit(&other, limits),
                expected,
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn no_more_are_under_way_than_a_line_and_a_cell_may_have() {
        let limits = Limits {
            per_cell: Some(2),
            per_feeder: 2,
            per_ring: 1,
        };
        let mut under_way = UnderWay::default();
        let in_cell = |place: Place| Place {
            cell: Some("C".to_owned()),
            ..place
        };
        let places = [
            (in_cell(on("F", Some(0), 0)), Ok(())),
            (on("F", Some(2), 0), Ok(())),
            (on("F", Some(4), 0), Err(Wait::Feeder)),
            (on("R", Some(0), 9), Ok(())),
            (on("R", Some(4), 9), Err(Wait::Ring)),
            (in_cell(on("G", Some(0), 0)), Ok(())),
            (in_cell(on("H", Some(0), 0)), Err(Wait::Cell)),
        ];
        for (place, expected) in places {
            assert_eq!(under_way.admit(&place, limits), expected, "{place:?}");
        }
    }

    #[test]
    fn a_terminal_waits_for_its_window_its_link_and_its_own_job() {
        let open = Opening::Open(None);
        assert_eq!(itself(open, true, false), None);
        assert_eq!(itself(open, true, true), Some(Wait::Busy));
        assert_eq!(itself(open, false, true), Some(Wait::Unreachable));
        let closed = Opening::Closed(Some(5));
        assert_eq!(itself(closed, false, true), Some(Wait::Window(Some(5))));
    }
}
