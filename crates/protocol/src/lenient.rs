//! Reading what implementations write differently: integers as text, texts as numbers.

use serde::de::{Deserializer, Error, Unexpected};
use serde::Deserialize;
use serde_json::Value;

/// An integer, or its decimal text. Never through floating point: ids go beyond 2^53.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    integer_of(&value).ok_or_else(|| {
        D::Error::invalid_value(Unexpected::Other(&value.to_string()), &"an integer")
    })
}

/// [`integer`], where null is allowed; pair with `#[serde(default)]`.
pub fn optional_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => integer_of(&value).map(Some).ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Other(&value.to_string()), &"an integer")
        }),
    }
}

/// A text, or a number taken as its decimal text.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(D::Error::invalid_value(
            Unexpected::Other(&other.to_string()),
            &"a text",
        )),
    }
}

/// The integer that a JSON value stands for.
pub fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
