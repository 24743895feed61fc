//! The plan of a rollout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::windows::{Calendar, Windows};

/// Longest of the plan's times, seconds.
const MOST_SECONDS: u32 = 366 * 86_400;
/// Most waves.
const MOST_WAVES: usize = 1000;

/// How a rollout goes through its terminals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Plan {
    /// The waves, one after the other. A terminal belongs to the first one that takes it.
    #[schema(min_items = 1, max_items = 1000)]
    pub waves: Vec<Wave>,
    /// When terminals may start; always by default.
    #[serde(default)]
    pub windows: Windows,
    /// Time before which no terminal starts, RFC 3339.
    #[serde(default)]
    pub start: Option<String>,
    /// Seconds after its start at which the rollout expires.
    #[serde(default = "month")]
    #[schema(minimum = 60, maximum = 31_622_400)]
    pub expire: u32,
    /// Seconds after which the order for a terminal that has not accepted it is taken back; the terminal
    /// is then waiting as before.
    #[serde(default = "hour")]
    #[schema(minimum = 60, maximum = 31_622_400)]
    pub accept: u32,
    /// What becomes of terminals that are not linked when it is their turn.
    #[serde(default)]
    pub unreachable: Unreachable,
}

fn month() -> u32 {
    30 * 86_400
}

fn hour() -> u32 {
    3600
}

/// What becomes of terminals that are not linked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unreachable {
    /// Their wave goes on without them; they start when they are back.
    #[default]
    Later,
    /// Their wave waits for them.
    Wait,
}

/// A part of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Wave {
    /// Which terminals it takes; all that are left by default.
    pub take: Take,
    /// Terminals under way at the same time; no limit by default.
    #[schema(minimum = 1)]
    pub at_once: Option<u32>,
    /// The same for those of a radio cell.
    #[schema(minimum = 1)]
    pub per_cell: Option<u32>,
    /// The same for those of a feeder. Neighbours are never under way together.
    #[schema(minimum = 1)]
    pub per_feeder: u32,
    /// The same for those of a ring.
    #[schema(minimum = 1)]
    pub per_ring: u32,
    /// Failures at which the rollout stops.
    pub failure: Threshold,
    /// Per cent of those that have ended which must have succeeded for the next wave.
    #[schema(minimum = 0, maximum = 100)]
    pub success: f64,
    /// Seconds for which the terminals are watched after the wave's last result, before the rollout
    /// goes on.
    #[schema(maximum = 31_622_400)]
    pub observe: u32,
    /// Further seconds before the next wave.
    #[schema(maximum = 31_622_400)]
    pub pause: u32,
    /// Whether an operator opens the next wave.
    pub by_hand: bool,
}

impl Default for Wave {
    fn default() -> Self {
        Wave {
            take: Take::Rest,
            at_once: None,
            per_cell: None,
            per_feeder: 1,
            per_ring: 1,
            failure: Threshold::default(),
            success: 0.0,
            observe: 0,
            pause: 0,
            by_hand: false,
        }
    }
}

/// The terminals that a wave takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Take {
    /// This many.
    Count(u32),
    /// This percentage of all, rounded up.
    Percent(f64),
    /// Those on one of these feeders.
    Feeders(Vec<String>),
    /// All that are left.
    Rest,
}

/// Failures at which a rollout stops. Those from before it was resumed count no more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Threshold {
    /// This percentage of the wave's terminals that have ended.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: Option<f64>,
    /// Least number of ended terminals for the percentage.
    pub least: u32,
    /// This many in the wave.
    #[schema(minimum = 1)]
    pub count: Option<u32>,
    /// One with any of these words or outcomes, such as `rolled-back`.
    pub words: Vec<String>,
}

impl Plan {
    /// Reads a plan that was checked before.
    pub fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the plan cannot be read: {error}"))
    }

    /// Returns the wave with this number, which begins at 1; the last one beyond that.
    pub fn wave(&self, number: usize) -> Option<&Wave> {
        self.waves
            .get(number.saturating_sub(1))
            .or(self.waves.last())
    }

    /// Returns the time before which no terminal starts.
    pub fn start(&self) -> Option<i64> {
        let start: Option<jiff::Timestamp> = self.start.as_ref().and_then(|time| time.parse().ok());
        start.map(|time| time.as_second())
    }

    /// Returns the reason to refuse the plan, if any.
    pub fn check(&self) -> Result<(), String> {
        if self.waves.is_empty() || self.waves.len() > MOST_WAVES {
            return Err(format!("'waves': give 1 to {MOST_WAVES}"));
        }
        if self.start.is_some() && self.start().is_none() {
            return Err("'start': give a time such as 2026-12-01T22:00:00+08:00".to_owned());
        }
        for (key, seconds) in [("expire", self.expire), ("accept", self.accept)] {
            if !(60..=MOST_SECONDS).contains(&seconds) {
                return Err(format!("'{key}': give 60 to {MOST_SECONDS} seconds"));
            }
        }
        Calendar::of(&self.windows)?;
        for (number, wave) in (1_u32..).zip(&self.waves) {
            wave.check()
                .map_err(|reason| format!("wave {number}: {reason}"))?;
        }
        let mut before = self.waves.iter().rev().skip(1);
        match before.any(|wave| wave.take == Take::Rest) {
            true => Err("'take': only the last wave can take the rest".to_owned()),
            false => Ok(()),
        }
    }
}

impl Wave {
    fn check(&self) -> Result<(), String> {
        let limits = [
            ("atOnce", self.at_once),
            ("perCell", self.per_cell),
            ("perFeeder", Some(self.per_feeder)),
            ("perRing", Some(self.per_ring)),
            ("failure.count", self.failure.count),
        ];
        if let Some((key, _)) = limits.iter().find(|(_, limit)| *limit == Some(0)) {
            return Err(format!(
                "'{key}' is 0, so no terminal could start: give at least 1"
            ));
        }
        let percent = match self.take {
            Take::Percent(percent) => Some(percent),
            _ => None,
        };
        let percents = [
            ("take.percent", percent),
            ("success", Some(self.success)),
            ("failure.percent", self.failure.percent),
        ];
        for (key, percent) in percents {
            if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                return Err(format!("'{key}': give 0 to 100"));
            }
        }
        for (key, seconds) in [("observe", self.observe), ("pause", self.pause)] {
            if seconds > MOST_SECONDS {
                return Err(format!("'{key}': give at most {MOST_SECONDS} seconds"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn check(plan: Value) -> Result<(), String> {
        let plan: Plan = serde_json::from_value(plan).map_err(|error| error.to_string())?;
        plan.check()
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused_with_the_key() {
        let window = |from: &str| json!([{"days": ["mon"], "from": from, "to": "05:00"}]);
        let cases = [
            (json!({"waves": []}), "waves"),
            (json!({"waves": [{}], "typo": 1}), "typo"),
            (json!({"waves": [{}, {}]}), "take"),
            (json!({"waves": [{"atOnce": 0}]}), "atOnce"),
            (json!({"waves": [{"perRing": 0}]}), "perRing"),
            (
                json!({"waves": [{"take": {"percent": 101}}]}),
                "take.percent",
            ),
            (
                json!({"waves": [{"failure": {"percent": -1}}]}),
                "failure.percent",
            ),
            (json!({"waves": [{}], "start": "tomorrow"}), "start"),
            (json!({"waves": [{}], "expire": 1}), "expire"),
            (
                json!({"waves": [{}], "windows": {"zone": "Mars/Base"}}),
                "zone",
            ),
            (
                json!({"waves": [{}], "windows": {"weekly": window("25:00")}}),
                "25:00",
            ),
            (
                json!({"waves": [{}], "windows": {"holidays": ["2026-02-30"]}}),
                "2026-02-30",
            ),
        ];
        for (plan, named) in cases {
            let refused = check(plan.clone()).unwrap_err();
            assert!(refused.contains(named), "{plan}: {refused}");
        }
        let whole = json!({
            "waves": [
                {"take": {"count": 1}, "failure": {"count": 1}, "byHand": true},
                {"take": {"percent": 1}, "observe": 600, "pause": 60},
                {"take": {"feeders": ["F1"]}, "perFeeder": 2},
                {"take": "rest", "failure": {"percent": 1.5, "least": 50, "words": ["rolled-back"]}},
            ],
            "windows": {"zone": "Asia/Shanghai", "weekly": window("22:00"), "holidays": ["2026-12-25"]},
            "start": "2026-12-01T22:00:00+08:00",
        });
        assert_eq!(check(whole), Ok(()));
    }
}
