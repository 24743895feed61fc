//! When terminals may start, in their own time zones.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Days that are looked at for the next window.
const DAYS: i64 = 400;

/// Weekly windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Windows {
    /// The windows of a week; none: terminals may start at any time.
    pub weekly: Vec<Window>,
    /// Days on which no window opens, such as `2026-12-25`.
    pub holidays: Vec<String>,
    /// Time zone of terminals that have none of their own, such as `Asia/Shanghai`; UTC by default.
    pub zone: Option<String>,
    /// Seconds before the end of a window in which no terminal starts any more.
    pub margin: u32,
}

/// A window that opens on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it opens.
    pub days: Vec<Day>,
    /// When it opens, `22:00`.
    pub from: String,
    /// When it closes; not later than `from`: on the next day.
    pub to: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What a calendar says of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Terminals may start; the window closes then.
    Open(Option<i64>),
    /// They may not before the next window opens; `None`: that is never.
    Closed(Option<i64>),
}

/// Windows, ready to be asked.
#[derive(Debug)]
pub struct Calendar {
    weekly: Vec<(Vec<Weekday>, Time, Time)>,
    holidays: Vec<Date>,
    zone: TimeZone,
    margin: i64,
}

impl Calendar {
    /// Returns the calendar of these windows, or why they are none.
    pub fn of(windows: &Windows) -> Result<Self, String> {
        let time = |text: &String| {
            let refused =
                || format!("'windows': '{text}' is no time of day: give one such as 22:00");
            Time::strptime("%H:%M", text).map_err(|_| refused())
        };
        let mut weekly = Vec::with_capacity(windows.weekly.len());
        for window in &windows.weekly {
            let days = window.days.iter().map(|day| day.weekday()).collect();
            weekly.push((days, time(&window.from)?, time(&window.to)?));
        }
        let mut holidays = Vec::with_capacity(windows.holidays.len());
        for day in &windows.holidays {
            let refused = |_| format!("'holidays': '{day}' is no day: give one such as 2026-12-25");
            holidays.push(day.parse().map_err(refused)?);
        }
        let zone = match &windows.zone {
            None => TimeZone::UTC,
            Some(name) => zone(name).ok_or_else(|| {
                format!("'zone': there is no time zone '{name}': give one such as Asia/Shanghai")
            })?,
        };
        let margin = windows.margin.into();
        Ok(Calendar {
            weekly,
            holidays,
            zone,
            margin,
        })
    }

    /// Tells whether a terminal in this time zone may start at `now`.
    pub fn at(&self, name: Option<&str>, now: i64) -> Opening {
        if self.weekly.is_empty() {
            return Opening::Open(None);
        }
        let own = name.and_then(zone);
        self.opening(own.as_ref().unwrap_or(&self.zone), now)
            .unwrap_or(Opening::Closed(None))
    }

    fn opening(&self, zone: &TimeZone, now: i64) -> Option<Opening> {
        let today = Timestamp::from_second(now)
            .ok()?
            .to_zoned(zone.clone())
            .date();
        let mut next: Option<i64> = None;
        // A window that opened yesterday may still be open.
        for offset in -1..=DAYS {
            let day = today.checked_add(Span::new().try_days(offset).ok()?).ok()?;
            if self.holidays.contains(&day) {
                continue;
            }
            for (days, from, to) in &self.weekly {
                if !days.contains(&day.weekday()) {
                    continue;
                }
                let until = if to <= from {
                    day.tomorrow().ok()?
                } else {
                    day
                };
                // Where the clocks are changed, a time that is left out stands for the one after it.
                let second = |day: Date, time: &Time| {
                    let zoned = zone.to_zoned(day.to_datetime(*time)).ok();
                    zoned.map(|zoned| zoned.timestamp().as_second())
                };
                let opens = second(day, from)?;
                let closes = second(until, to)?.saturating_sub(self.margin);
                if opens <= now && now < closes {
                    return Some(Opening::Open(Some(closes)));
                }
                if now < opens && opens < closes && next.is_none_or(|next| opens < next) {
                    next = Some(opens);
                }
            }
            if next.is_some() && offset >= 0 {
                break;
            }
        }
        Some(Opening::Closed(next))
    }
}

/// Returns the time zone with this name.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

impl Day {
    fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_second()
    }

    /// Returns what is said of `now` by nightly windows from Monday to Friday.
    fn said(from: &str, to: &str, margin: u32, zone: Option<&str>, now: &str) -> String {
        let windows = Windows {
            weekly: vec![Window {
                days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
                from: from.to_owned(),
                to: to.to_owned(),
            }],
            holidays: vec!["2026-12-25".to_owned()],
            zone: Some("Asia/Shanghai".to_owned()),
            margin,
        };
        let text = |time| Timestamp::from_second(time).unwrap().to_string();
        match Calendar::of(&windows).unwrap().at(zone, second(now)) {
            Opening::Open(until) => format!("until {}", text(until.unwrap())),
            Opening::Closed(Some(next)) => format!("from {}", text(next)),
            Opening::Closed(None) => "never".to_owned(),
        }
    }

    #[test]
    fn windows_open_by_the_terminals_own_clocks() {
        let cases = [
            // Thursday, 22:00 in Shanghai is 14:00 UTC.
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-26T13:59:59Z",
                "from 2026-11-26T14:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-26T14:00:00Z",
                "until 2026-11-26T21:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-26T20:59:59Z",
                "until 2026-11-26T21:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-26T21:00:00Z",
                "from 2026-11-27T14:00:00Z",
            ),
            // The last hour is too late to start.
            (
                "22:00",
                "05:00",
                3600,
                None,
                "2026-11-26T20:00:00Z",
                "from 2026-11-27T14:00:00Z",
            ),
            // Friday night reaches into Saturday; then comes Monday.
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-27T20:00:00Z",
                "until 2026-11-27T21:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-11-27T22:00:00Z",
                "from 2026-11-30T14:00:00Z",
            ),
            // Friday the 25th of December is a holiday; Thursday's window stays open over midnight.
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-12-24T20:00:00Z",
                "until 2026-12-24T21:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                None,
                "2026-12-24T22:00:00Z",
                "from 2026-12-28T14:00:00Z",
            ),
            // A zone of its own, and one that nobody knows.
            (
                "22:00",
                "05:00",
                0,
                Some("Asia/Urumqi"),
                "2026-11-26T15:00:00Z",
                "from 2026-11-26T16:00:00Z",
            ),
            (
                "22:00",
                "05:00",
                0,
                Some("no/zone"),
                "2026-11-26T13:00:00Z",
                "from 2026-11-26T14:00:00Z",
            ),
            // Summer time ends at night on Sunday, the 25th of October: Monday is an hour later in UTC.
            (
                "01:00",
                "03:00",
                0,
                Some("Europe/Berlin"),
                "2026-10-23T10:00:00Z",
                "from 2026-10-26T00:00:00Z",
            ),
            (
                "01:00",
                "03:00",
                0,
                Some("Europe/Berlin"),
                "2026-10-22T10:00:00Z",
                "from 2026-10-22T23:00:00Z",
            ),
            // All day long.
            (
                "00:00",
                "00:00",
                0,
                Some("UTC"),
                "2026-11-26T13:00:00Z",
                "until 2026-11-27T00:00:00Z",
            ),
        ];
        for (from, to, margin, zone, now, expected) in cases {
            assert_eq!(
                said(from, to, margin, zone, now),
                expected,
                "{from} {to} {zone:?} {now}"
            );
        }
    }

    #[test]
    fn hours_that_the_clocks_leave_out_or_repeat_are_taken_as_they_come() {
        let at = |from: &str, to: &str, now: &str| {
            let windows = Windows {
                weekly: vec![Window {
                    days: vec![Day::Sun],
                    from: from.to_owned(),
                    to: to.to_owned(),
                }],
                zone: Some("Europe/Berlin".to_owned()),
                ..Windows::default()
            };
            Calendar::of(&windows).unwrap().at(None, second(now))
        };
        let open = |until: &str| Opening::Open(Some(second(until)));
        // 2026-03-29: from 02:00 to 03:00 there is nothing.
        assert_eq!(
            at("02:30", "04:00", "2026-03-29T01:45:00Z"),
            open("2026-03-29T02:00:00Z")
        );
        // 2026-10-25: 02:00 to 03:00 comes twice.
        assert_eq!(
            at("02:00", "03:00", "2026-10-25T01:30:00Z"),
            open("2026-10-25T02:00:00Z")
        );
        assert_eq!(
            at("02:00", "03:00", "2026-10-25T00:30:00Z"),
            open("2026-10-25T02:00:00Z")
        );
    }

    #[test]
    fn windows_that_never_open_are_told() {
        let closed = said("22:00", "22:30", 3600, None, "2026-11-26T13:00:00Z");
        assert_eq!(closed, "never");
        let none = Calendar::of(&Windows::default()).unwrap();
        assert_eq!(none.at(None, 0), Opening::Open(None));
    }
}
