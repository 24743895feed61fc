//! A rate limit by time of day.

/// Bytes per second that a download may take; 0: as fast as it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rate {
    /// Outside all hours.
    pub limit: u64,
    /// The first that holds counts.
    pub hours: Vec<Hours>,
}

/// Hours of the day with a limit of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minutes of the day; the second one is not among them, and may be on the next day.
    from: u32,
    to: u32,
    limit: u64,
}

impl Rate {
    /// Returns the limit at a minute of the day. While that is not known, the lowest of all counts.
    pub fn at(&self, minute: Option<u32>) -> u64 {
        let Some(minute) = minute else {
            let limits = self.hours.iter().map(|hours| hours.limit);
            let limits = limits.chain([self.limit]);
            return limits.filter(|limit| *limit > 0).min().unwrap_or(0);
        };
        let holds = |hours: &&Hours| match hours.from < hours.to {
            true => (hours.from..hours.to).contains(&minute),
            false => minute >= hours.from || minute < hours.to,
        };
        let found = self.hours.iter().find(holds);
        found.map_or(self.limit, |hours| hours.limit)
    }
}

impl Hours {
    /// Reads `07:00-22:00 2000`.
    pub fn parse(text: &str) -> Option<Self> {
        let (times, limit) = text.trim().split_once(' ')?;
        let (from, to) = times.split_once('-')?;
        Some(Hours {
            from: minutes(from)?,
            to: minutes(to)?,
            limit: limit.trim().parse().ok()?,
        })
    }
}

/// Reads an offset from UTC such as `+08:00`; returns seconds.
pub fn utc_offset(text: &str) -> Option<i64> {
    let (sign, time) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(time), _) => (60, time),
        (_, Some(time)) => (-60, time),
        _ => return None,
    };
    i64::from(minutes(time)?).checked_mul(sign)
}

/// Reads `hh:mm`; returns minutes.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u32> = text.parse().ok();
        number.filter(|number| digits && *number < below)
    };
    number(hours, 24)?
        .checked_mul(60)?
        .checked_add(number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_hour_and_the_lowest_where_the_hour_is_not_known() {
        let hours = ["07:00-22:00 2000", "22:00-05:30 0"].map(|text| Hours::parse(text).unwrap());
        let rate = Rate {
            limit: 8000,
            hours: hours.to_vec(),
        };
        for (minute, limit) in [
            (Some(0), 0),
            (Some(5 * 60 + 29), 0),
            (Some(5 * 60 + 30), 8000),
            (Some(7 * 60), 2000),
            (Some(22 * 60 - 1), 2000),
            (Some(22 * 60), 0),
            (None, 2000),
        ] {
            assert_eq!(rate.at(minute), limit, "{minute:?}");
        }
        assert_eq!(Rate::default().at(None), 0);
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "07:00 2000",
            "7:00-22:00 1",
            "07:00-24:00 1",
            "07:60-08:00 1",
            "07:00-08:00 -1",
            "+7:00-08:00 1",
        ] {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
        let offsets = ["+08:00", "-03:30", "+00:00", "08:00", "+24:00"].map(utc_offset);
        assert_eq!(offsets, [Some(28_800), Some(-12_600), Some(0), None, None]);
    }
}
