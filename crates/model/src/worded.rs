//! Enums of which each variant is one word.

use std::fmt;

/// A text that is none of the words of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// The text.
    pub found: String,
    /// The words that would be right.
    pub expected: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.expected.join(", ");
        write!(formatter, "{:?} is none of {expected}", self.found)
    }
}

impl std::error::Error for UnknownWord {}

/// Defines an enum, its words, and their one reading and writing.
macro_rules! worded {
    ($(#[$attribute:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of its definition.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word that stands for it everywhere.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::UnknownWord { found: text.to_owned(), expected: &[$($word,)+] }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            /// Reads a string and nothing else.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Outcome, Slot, State};

    fn round_trip<T>(all: &[T])
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        T: std::fmt::Display + std::str::FromStr<Err = super::UnknownWord>,
        T: PartialEq + std::fmt::Debug,
    {
        for value in all {
            let word = value.to_string();
            assert_eq!(word.parse().as_ref(), Ok(value));
            let json = serde_json::to_string(value).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
        }
        let error = "no such word".parse::<T>().unwrap_err().to_string();
        assert!(error.contains(&all[0].to_string()), "{error}");
        for other in ["null", "0", "[]", "{\"a\": null}", "\"no such word\""] {
            assert!(serde_json::from_str::<T>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        round_trip(Slot::ALL);
        round_trip(Kind::ALL);
        round_trip(State::ALL);
        round_trip(Outcome::ALL);
    }
}
