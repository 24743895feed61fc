//! Months and times of day: pure functions of a local time, seconds since 1970-01-01 there.

use dau_protocol::timestamp;

/// Returns `YYYY-MM`.
pub fn name(local: i64) -> Option<String> {
    let time = timestamp::format(u64::try_from(local).ok()?);
    time.get(..7).map(str::to_owned)
}

/// Returns the minute of the day, 0 to 1439.
pub fn minute_of_day(local: i64) -> u32 {
    u32::try_from(local.rem_euclid(86_400) / 60).unwrap_or(0)
}

/// Another month to count for.
#[derive(Debug, PartialEq, Eq)]
pub struct Next {
    pub name: String,
    /// The count starts at 0. Otherwise it goes on: the earlier name was of a wrong clock.
    pub begins: bool,
}

/// Returns the month to count for from now on, if it is another than the noted one. `present` is
/// `None` while the clock is not known to be right: then nothing changes, so a dead clock neither
/// begins a month nor ends one. Going back renames the count and keeps it.
pub fn next(noted: &str, present: Option<String>) -> Option<Next> {
    let name = present.filter(|present| present != noted)?;
    Some(Next {
        begins: !noted.is_empty() && name.as_str() > noted,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_only_by_a_clock_that_is_right() {
        let cases = [
            // The first time: what was counted before belongs to it.
            ("", Some("2026-11"), Some(("2026-11", false))),
            ("2026-11", Some("2026-11"), None),
            ("2026-11", Some("2026-12"), Some(("2026-12", true))),
            ("2026-12", Some("2027-01"), Some(("2027-01", true))),
            // A dead clock.
            ("2026-11", None, None),
            // The clock had been ahead: no second start.
            ("2028-03", Some("2026-11"), Some(("2026-11", false))),
        ];
        for (noted, present, expected) in cases {
            let found = next(noted, present.map(str::to_owned));
            let found = found.as_ref().map(|next| (next.name.as_str(), next.begins));
            assert_eq!(found, expected, "{noted} {present:?}");
        }
    }

    #[test]
    fn months_and_minutes_are_those_of_the_zone() {
        // 2026-11-30T16:30:00Z.
        let utc = 1_796_056_200;
        assert_eq!(name(utc).as_deref(), Some("2026-11"));
        assert_eq!(minute_of_day(utc), 16 * 60 + 30);
        let china = utc + 8 * 3600;
        assert_eq!(name(china).as_deref(), Some("2026-12"));
        assert_eq!(minute_of_day(china), 30);
        assert_eq!((minute_of_day(-60), name(-60)), (1439, None));
    }
}
