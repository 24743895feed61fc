//! Values of parameters and columns.

use crate::store::error::{Cause, Error, Result};

/// A value of a parameter or of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl Value<'_> {
    /// Tells whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

/// A value that is kept.
#[derive(Debug, Clone)]
pub enum Owned {
    Plain(Value<'static>),
    Text(String),
    Blob(Vec<u8>),
}

impl From<Value<'_>> for Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Owned::Plain(Value::Null),
            Value::Bool(is) => Owned::Plain(Value::Bool(is)),
            Value::Integer(number) => Owned::Plain(Value::Integer(number)),
            Value::Text(text) => Owned::Text(text.to_owned()),
            Value::Blob(bytes) => Owned::Blob(bytes.to_vec()),
        }
    }
}

impl ToValue for Owned {
    fn to_value(&self) -> Value<'_> {
        match self {
            Owned::Plain(value) => *value,
            Owned::Text(text) => Value::Text(text),
            Owned::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

/// What can be a parameter.
pub trait ToValue {
    /// Returns the parameter.
    fn to_value(&self) -> Value<'_>;
}

/// What can be read from a column.
pub trait FromValue: Sized {
    /// Returns the column's value, or an error if it is of another type or beyond the bounds.
    fn from_value(value: Value<'_>) -> Result<Self>;
}

/// Returns the error for a column that is not what was asked for.
fn mismatch<T>(value: Value<'_>) -> Error {
    let wanted = std::any::type_name::<T>();
    Error::new(
        Cause::Data,
        format!("a column holds {value:?}, which is no {wanted}"),
    )
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (*self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToValue for $integer {
            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl FromValue for $integer {
            fn from_value(value: Value<'_>) -> Result<Self> {
                let found = match value {
                    Value::Integer(number) => <$integer>::try_from(number).ok(),
                    _ => None,
                };
                found.ok_or_else(|| mismatch::<Self>(value))
            }
        }
    )*};
}

integers!(u8, u16, u32, i32, i64);

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Result<Self> {
        match value {
            Value::Bool(is) => Ok(is),
            Value::Integer(number) => Ok(number != 0),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Result<Self> {
        match value {
            Value::Text(text) => Ok(text.to_owned()),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Result<Self> {
        match value {
            Value::Blob(bytes) => Ok(bytes.to_vec()),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            some => T::from_value(some).map(Some),
        }
    }
}
