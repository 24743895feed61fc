//! Integers in JSON bodies, as JSON Schema has them: `5.0` is one.

use dau_protocol::whole;
use serde::de::{Deserializer, Error};
use serde::Deserialize;
use serde_json::Number;

/// Reads an integer; for `#[serde(deserialize_with)]` of every field that takes one.
pub fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    Number::deserialize(deserializer).and_then(convert)
}

/// [`integer`], where null is allowed; pair with `#[serde(default)]`.
pub fn optional_integer<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    Option::<Number>::deserialize(deserializer)?
        .map(convert)
        .transpose()
}

fn convert<T: TryFrom<i64>, E: Error>(number: Number) -> Result<T, E> {
    let whole = whole(&number).ok_or_else(|| {
        E::custom(format!(
            "{number} is no integer of 64 bits; beyond 2^53 write it without a fraction"
        ))
    })?;
    T::try_from(whole).map_err(|_| E::custom(format!("{number} is out of range")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(deserialize_with = "integer")]
        id: i64,
        #[serde(default, deserialize_with = "optional_integer")]
        seconds: Option<u32>,
    }

    #[test]
    fn an_integer_may_have_an_empty_fraction() {
        for (body, read) in [
            (
                r#"{"id": 8924717550338248.0, "seconds": 5.0}"#,
                (8_924_717_550_338_248, Some(5)),
            ),
            (
                r#"{"id": 9223372036854775807, "seconds": null}"#,
                (i64::MAX, None),
            ),
            (r#"{"id": -1e3}"#, (-1000, None)),
        ] {
            let found: Body = serde_json::from_str(body).unwrap();
            assert_eq!((found.id, found.seconds), read, "{body}");
        }
    }

    #[test]
    fn what_is_no_integer_is_refused_with_a_reason() {
        let huge: Value = serde_json::from_str("9007199254740994.0").unwrap();
        for (id, seconds, reason) in [
            (json!(5.5), json!(1), "5.5 is no integer"),
            (huge, json!(1), "beyond 2^53 write it without a fraction"),
            (json!("5"), json!(1), "invalid type: string"),
            (json!(1), json!(4_294_967_296.0), "out of range"),
            (json!(1), json!(-1), "-1 is out of range"),
        ] {
            let body = json!({"id": id, "seconds": seconds});
            let error = serde_json::from_value::<Body>(body.clone()).unwrap_err();
            assert!(error.to_string().contains(reason), "{body}: {error}");
        }
    }
}
