//! Timestamps: one form is written, many are read, and nothing is ordered by them.

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Larger integers are milliseconds, smaller ones seconds (both occur in the field).
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// `YYYY-MM-DDThh:mm:ssZ`, the form that is written. Times beyond year 9999 are written as 1970.
pub fn format(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// Seconds since 1970-01-01 UTC of a timestamp in any of the forms seen: RFC 3339, `YYYY-MM-DD
/// hh:mm:ss` (taken as UTC, which can only make an order live longer in the zones where it is
/// used), seconds, milliseconds, the last two also as text. `None` for anything else.
pub fn parse(value: &Value) -> Option<i64> {
    if let Some(number) = crate::lenient::integer_of(value) {
        let milliseconds = number.unsigned_abs() >= MILLISECONDS_FROM.unsigned_abs();
        return Some(if milliseconds {
            number.div_euclid(1000)
        } else {
            number
        });
    }
    let text = value.as_str()?.trim();
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| {
            PrimitiveDateTime::parse(text, &plain)
                .ok()
                .map(PrimitiveDateTime::assume_utc)
        })
        .map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_seen_in_the_field_is_read() {
        let expected = Some(1_577_101_833);
        for value in [
            json!(1_577_101_833),
            json!(1_577_101_833_000_i64),
            json!("1577101833"),
            json!("2019-12-23T11:50:33Z"),
            json!("2019-12-23T19:50:33+08:00"),
            json!("2019-12-23 11:50:33"),
        ] {
            assert_eq!(parse(&value), expected, "{value}");
        }
        for value in [
            json!(null),
            json!("yesterday"),
            json!({}),
            json!("2019-13-01 00:00:00"),
        ] {
            assert_eq!(parse(&value), None, "{value}");
        }
    }

    #[test]
    fn one_form_is_written() {
        assert_eq!(format(1_577_101_833), "2019-12-23T11:50:33Z");
        assert_eq!(format(u64::MAX), "1970-01-01T00:00:00Z");
    }
}
