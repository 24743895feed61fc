//! Reading what implementations write differently: integers as text, texts as numbers.

use serde::de::{Deserializer, Error, Unexpected};
use serde::Deserialize;
use serde_json::{Number, Value};

/// An integer, its decimal text, or a float that [`whole`] takes.
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

/// The integer that a JSON number is, also when it is written as a float without a fraction, as in
/// `5.0`: JSON Schema's `integer` has those, too. Only below 2^53, beyond which one float stands
/// for several integers. A fraction that is lost in the nearest float is not seen:
/// `4.99999999999999999` is 5.
pub fn whole(number: &Number) -> Option<i64> {
    const INEXACT: f64 = 9_007_199_254_740_992.0;
    let float = || {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < INEXACT)
    };
    number
        .as_i64()
        .or_else(|| float().map(|float| float as i64))
}

/// The integer that a JSON value stands for.
pub fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => whole(number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// For `#[serde(with)]`: the letter of a slot, empty where it is not known. What makes no sense is
/// not known.
pub mod slot {
    use dau_model::Slot;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(slot: &Option<Slot>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(slot.map_or("", Slot::word))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Slot>, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(value.as_str().and_then(|letter| letter.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_integers_where_they_are_exact() {
        for (text, read) in [
            ("5.0", Some(5)),
            ("-5e2", Some(-500)),
            ("8924717550338248.0", Some(8_924_717_550_338_248)),
            ("9007199254740991.0", Some(9_007_199_254_740_991)),
            ("9007199254740993.0", None),
            ("-9007199254740992.0", None),
            ("1e300", None),
            ("5.5", None),
            ("4.99999999999999999", Some(5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
        ] {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(integer_of(&value), read, "{text}");
        }
    }
}
