//! Texts of others: limited when read or sent, escaped when shown.

use std::fmt::{self, Write};

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serializer};
use serde_json::Value;

/// Longest name, version, word or digest of a terminal, in bytes.
pub const MAX_NAME: usize = 128;
/// Longest message for people, bytes.
pub const MAX_TEXT: usize = 1000;
/// Longest log excerpt, in bytes.
pub const MAX_LOG: usize = 4096;
/// Longest list of stages of a job.
pub const MAX_STAGES: usize = 64;
/// Longest list of the states that a job was in.
pub const MAX_STATES: usize = 16;
/// Longest list of a terminal's packages.
pub const MAX_PACKAGES: usize = 4;

/// Returns the beginning of a text: at most so many bytes, in whole characters.
pub fn shortened(text: &str, most: usize) -> &str {
    let end = text.len().min(most);
    let whole = (0..=end).rev().find_map(|end| text.get(..end));
    whole.unwrap_or_default()
}

/// Escapes a text of others for display: control characters, line ends, escape sequences, invisible
/// characters and those that change the direction of writing appear as `
/// `, `\u{1b}` and so on. Quotes stay as they are.
pub fn escaped(text: &str) -> impl fmt::Display + fmt::Debug + '_ {
    Escaped(text)
}

#[derive(Debug)]
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\'' => formatter.write_char(character)?,
                other => write!(formatter, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// For `#[serde(with)]`: a text of at most `MOST` bytes, cut when it is read and when it is
/// written. Numbers are read as decimal text, null as no text.
#[derive(Debug)]
pub struct Bounded<const MOST: usize>;

impl<const MOST: usize> Bounded<MOST> {
    /// Writes at most `MOST` bytes.
    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(shortened(text, MOST))
    }

    /// Reads at most `MOST` bytes and ignores the rest.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(shortened(&text, MOST).to_owned()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(D::Error::invalid_type(
                Unexpected::Other("a structure"),
                &"a text",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "断".repeat(200);
        let short = shortened(&text, 256);
        assert!(short.len() <= 256 && text.starts_with(short));
        assert_eq!(shortened("short", 256), "short");
        assert_eq!(shortened("断", 1), "");
    }

    #[test]
    fn what_steers_a_screen_is_shown_and_not_done() {
        for (text, shown) in [
            (
                "plain 'quoted' \"text\" 固件",
                "plain 'quoted' \"text\" 固件",
            ),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\0"),
            ("\u{9b}31m", "\\u{9b}31m"),
            (
                "\u{202e}txt\u{2066}\u{200b}\u{feff}",
                "\\u{202e}txt\\u{2066}\\u{200b}\\u{feff}",
            ),
            ("\u{2028}\u{85}\u{7f}", "\\u{2028}\\u{85}\\u{7f}"),
            ("\\n", "\\\\n"),
        ] {
            assert_eq!(escaped(text).to_string(), shown);
        }
    }
}
