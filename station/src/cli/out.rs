//! Standard output, which its reader may close, and terminals' texts, which may be hostile.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Most characters of a cell or a name.
const MAX_CELL: usize = 80;

/// Standard output was closed by its reader, as with `| head`.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct Closed;

/// Writes `text` to standard output.
pub fn text(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("standard output cannot be written"),
    })
}

/// Writes `value` as JSON, with control characters in its strings escaped.
pub fn json<T: Serialize>(value: &T) -> Result<()> {
    let plain = serde_json::to_string_pretty(value)?;
    let mut safe = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '\n' => safe.push('\n'),
            c if steers(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => safe.push(c),
        }
    }
    safe.push('\n');
    text(&safe)
}

/// Writes a line to standard error; ignores errors.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escaped(text));
}

/// Formats a name or a cell: escaped, and cut if long.
pub fn cell(text: &str) -> String {
    let all = escaped(text);
    match all.char_indices().nth(MAX_CELL) {
        None => all,
        Some((end, _)) => format!("{}…", all.get(..end).unwrap_or_default()),
    }
}

/// Tells whether a character controls the screen instead of being shown.
fn steers(character: char) -> bool {
    !matches!(character, '"' | '\'' | '\\') && character.escape_debug().count() > 1
}

/// Returns `text` with control characters escaped.
pub fn escaped(text: &str) -> String {
    dau_protocol::text::escaped(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_by_what_a_screen_carries_out_is_shown() {
        let cases = [
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\nb\r", "a\\nb\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gpj", "\\u{202e}gpj"),
            ("\u{2066}\u{feff}", "\\u{2066}\\u{feff}"),
            ("\u{7f}", "\\u{7f}"),
            ("固件 v1 \"x\" 'y'", "固件 v1 \"x\" 'y'"),
        ];
        for (text, shown) in cases {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn attack_by_long_cells_is_cut() {
        assert_eq!(cell(&"x".repeat(100_000)).chars().count(), MAX_CELL + 1);
        assert_eq!(cell("short"), "short");
    }
}
