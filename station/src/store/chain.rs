//! The chain of the record. Each event has a hash over the hash of the event before it and its own
//! line, so nobody can change, remove or insert one without making all later ones again.
//!
//! The hash is the SHA-256 of a text: the hash before as 64 hexadecimal digits, the event's line
//! without its hash, a line feed. `record/verify` checks it with jq's help and sha256sum's. The chain
//! starts with 64 zeros at the first event after the schema's step that made it; earlier events have
//! no hash and stand before it.

use openssl::sha::Sha256;
use serde_json::Value;

use dau_model::hex;

use super::error::{Cause, Error, Result};
use super::sql::Row;
use crate::clock;

/// The hash of an event.
pub type Hash = [u8; 32];

/// The columns of a [`Line`] and its hash, for [`Line::of`].
pub const COLUMNS: &str = "id, at, job, terminal, package, kind, detail, hash";

/// An event as archives have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub id: i64,
    pub at: i64,
    pub job: Option<i64>,
    pub terminal: Option<String>,
    pub package: Option<i64>,
    pub kind: String,
    /// JSON.
    pub detail: String,
}

impl Line {
    /// Returns the event of a row of [`COLUMNS`], and its hash.
    pub fn of(row: &Row<'_>) -> Result<(Self, Option<Hash>)> {
        let line = Line {
            id: row.get(0)?,
            at: row.get(1)?,
            job: row.get(2)?,
            terminal: row.get(3)?,
            package: row.get(4)?,
            kind: row.get(5)?,
            detail: row.get(6)?,
        };
        Ok((line, hash_of(row, 7)?))
    }

    /// Returns the hash of the event after the one with `previous`.
    pub fn hash(&self, previous: Option<Hash>) -> Hash {
        of_text(previous, &self.text(None))
    }

    /// Returns the line, with its hash if it has one.
    pub fn text(&self, hash: Option<Hash>) -> String {
        let number = |number: Option<i64>| number.map_or("null".to_owned(), |n| n.to_string());
        let terminal = self.terminal.as_deref();
        let terminal = terminal.map_or("null".to_owned(), |text| Value::from(text).to_string());
        let hash = hash.map_or(String::new(), |hash| {
            format!(r#","hash":"{}""#, hex::encode(hash))
        });
        format!(
            r#"{{"id":{},"at":"{}","job":{},"terminal":{terminal},"package":{},"kind":{},"detail":{}{hash}}}"#,
            self.id,
            clock::text(self.at),
            number(self.job),
            number(self.package),
            Value::from(self.kind.as_str()),
            self.detail,
        )
    }
}

/// Returns the hash for the text of a line without its hash.
pub fn of_text(previous: Option<Hash>, text: &str) -> Hash {
    let mut sha256 = Sha256::new();
    sha256.update(hex::encode(previous.unwrap_or_default()).as_bytes());
    sha256.update(text.as_bytes());
    sha256.update(b"\n");
    sha256.finish()
}

/// Returns the text of a line without its hash, and the hash.
pub fn split(line: &str) -> (String, Option<Hash>) {
    let parts = line.rsplit_once(r#","hash":""#).and_then(|(text, rest)| {
        let hash = hash(rest.strip_suffix("\"}")?)?;
        Some((format!("{text}}}"), hash))
    });
    match parts {
        Some((text, hash)) => (text, Some(hash)),
        None => (line.to_owned(), None),
    }
}

/// Returns the hash with these digits.
fn hash(digits: &str) -> Option<Hash> {
    let digits = Some(digits).filter(|digits| hex::is_digest(digits, 32))?;
    let mut hash = Hash::default();
    for (byte, digits) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Returns the hash in a column.
pub fn hash_of(row: &Row<'_>, column: usize) -> Result<Option<Hash>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes
        .map(Hash::try_from)
        .transpose()
        .map_err(|_| Error::new(Cause::Data, "a hash of the record is not 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, the digests of which were made with sha256sum.
    #[test]
    fn a_hash_is_what_sha256sum_makes_of_the_hash_before_and_the_line() {
        let line = Line {
            id: 7,
            at: 1_577_101_833,
            job: Some(17),
            terminal: Some("t\"1".to_owned()),
            package: None,
            kind: "state".to_owned(),
            detail: r#"{"x":1.50}"#.to_owned(),
        };
        let text = r#"{"id":7,"at":"2019-12-23T11:50:33Z","job":17,"terminal":"t\"1","package":null,"kind":"state","detail":{"x":1.50}}"#;
        assert_eq!(line.text(None), text);
        let first = line.hash(None);
        assert_eq!(
            hex::encode(first),
            "2d26e6ec7b9caa644962cbc168a6cb381c128f292b80637e02c93fcc8c1b2d61"
        );
        let with_hash = text.replace("}}", &format!("}},\"hash\":\"{}\"}}", hex::encode(first)));
        assert_eq!(line.text(Some(first)), with_hash);
        assert_eq!(split(&with_hash), (text.to_owned(), Some(first)));
        assert_eq!(split(text), (text.to_owned(), None));
        assert_eq!(
            hex::encode(line.hash(Some(first))),
            "6b450afe85122c1e171de2f5997791265a1b0ef005dfebf4869028672a07d955"
        );
    }
}
