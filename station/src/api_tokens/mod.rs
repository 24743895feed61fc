//! Bearer tokens of the REST interface: a file with a line
//! `<name> sha256:<hex> [role=<role>] [until=<time>]` for each. Only digests are stored; the names
//! appear in the record.

use std::fs;
use std::path::Path;

use dau_model::hex;
use dau_protocol::timestamp;

use anyhow::{anyhow, bail, ensure, Context, Result};
use openssl::memcmp;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;

pub mod role;

use role::Role;

const PREFIX: &str = "sha256:";

/// The holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Name, for the record.
    pub name: String,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// What the holder may do.
    pub role: Role,
    /// Time when the token ends, seconds since 1970; never by default.
    pub until: Option<i64>,
}

/// The known tokens.
#[derive(Debug, Clone)]
pub struct ApiTokens(Vec<Holder>);

impl ApiTokens {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let holder = parse_line(line);
            tokens.push(holder.with_context(|| format!("line {}", index.saturating_add(1)))?);
        }
        ensure!(
            !tokens.is_empty(),
            "it holds no token: add the line that 'dau-station token <name>' prints"
        );
        Ok(ApiTokens(tokens))
    }

    /// Returns the token's holder, in the same time wherever a wrong token differs.
    pub fn holder(&self, token: &str) -> Option<&Holder> {
        self.by_digest(&sha256(token.as_bytes()))
    }

    /// Returns the holder of the token with this SHA-256.
    pub fn by_digest(&self, digest: &[u8]) -> Option<&Holder> {
        let mut found = None;
        for holder in &self.0 {
            if digest.len() == holder.digest.len() && memcmp::eq(&holder.digest, digest) {
                found = Some(holder);
            }
        }
        found
    }
}

fn parse_line(line: &str) -> Result<Holder> {
    let mut words = line.split_whitespace();
    let (name, digest) = (words.next(), words.next().and_then(parse_digest));
    let (Some(name), Some(digest)) = (name, digest) else {
        bail!(
            "give '<name> {PREFIX}<64 hex digits>', as 'dau-station token <name>' prints it, and perhaps \
             'role=<role>' and 'until=<time>'"
        );
    };
    let (mut role, mut until) = (None, None);
    for word in words {
        let once = match word.split_once('=') {
            Some(("role", value)) => {
                let value = value.parse().map_err(|error: String| anyhow!(error))?;
                role.replace(value).is_none()
            }
            Some(("until", value)) => until.replace(parse_time(value)?).is_none(),
            _ => bail!("'{word}' means nothing here: there are 'role=<role>' and 'until=<time>'"),
        };
        ensure!(once, "'{word}' is one too many");
    }
    Ok(Holder {
        name: name.to_owned(),
        digest,
        // As before there were roles.
        role: role.unwrap_or(Role::Administrator),
        until,
    })
}

fn parse_digest(word: &str) -> Option<[u8; 32]> {
    let digits = word.strip_prefix(PREFIX)?;
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Returns the seconds since 1970 of a date (its beginning, UTC) or an RFC 3339 time.
fn parse_time(text: &str) -> Result<i64> {
    let whole = match text.contains('T') {
        true => text.to_owned(),
        false => format!("{text}T00:00:00Z"),
    };
    timestamp::parse(&whole.into()).with_context(|| {
        format!("'{text}' is no time: give a date (2027-01-01) or RFC 3339 (2027-01-01T12:00:00Z)")
    })
}

/// Returns the file's line for a token. The name must be one word.
pub fn line(name: &str, token: &str, role: Role, until: Option<&str>) -> Result<String> {
    let is_word = !name.is_empty() && !name.starts_with('#') && !name.contains(char::is_whitespace);
    ensure!(is_word, "'{name}' is not one word");
    let digest = hex::encode(sha256(token.as_bytes()));
    let until = match until {
        Some(until) => {
            parse_time(until)?;
            format!(" until={until}")
        }
        None => String::new(),
    };
    Ok(format!("{name} {PREFIX}{digest} role={role}{until}"))
}

/// Returns a new token: 256 random bits as lower-case hex.
pub fn generate() -> Result<String> {
    let mut bytes = [0; 32];
    rand_bytes(&mut bytes).context("no random numbers")?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_line() {
        let (alice, bob) = (generate().unwrap(), generate().unwrap());
        let old = format!("old {PREFIX}{}", hex::encode(sha256(b"old")));
        let file = format!(
            "# staff\n{}\n\n{}\n{old}\n",
            line("alice", &alice, Role::Viewer, Some("2027-01-01")).unwrap(),
            line(
                "bob",
                &bob,
                Role::Approver,
                Some("2027-01-01T08:00:00+08:00")
            )
            .unwrap()
        );
        let tokens = ApiTokens::parse(&file).unwrap();
        let found = |token: &str| {
            let holder = tokens.holder(token)?;
            assert_eq!(tokens.by_digest(&holder.digest), Some(holder));
            Some((holder.name.as_str(), holder.role, holder.until))
        };
        let end = Some(1_798_761_600);
        assert_eq!(found(&alice), Some(("alice", Role::Viewer, end)));
        assert_eq!(found(&bob), Some(("bob", Role::Approver, end)));
        assert_eq!(found("old"), Some(("old", Role::Administrator, None)));
        assert_eq!((found("0000"), found("")), (None, None));
        assert_eq!(tokens.by_digest(b"short"), None);
    }

    #[test]
    fn a_file_that_says_something_else_is_refused_with_the_line() {
        let good = line("alice", "x", Role::Viewer, None).unwrap();
        for bad in [
            "alice secret".to_owned(),
            "alice sha256:12".to_owned(),
            "alice".to_owned(),
            format!("alice sha256:{}é", "0".repeat(62)),
            format!("{good} more"),
            format!("{good} role=operator"),
            format!("{good} scope=all"),
            format!("{good} until=soon"),
            format!("{good} until=2027"),
            format!("{good} until=2027-13-01"),
            format!("{good} until=2027-01-01 until=2027-01-02"),
            good.replace("viewer", "emperor"),
        ] {
            let error = ApiTokens::parse(&format!("# staff\n{good}\n{bad}\n"));
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.contains("line 3"), "{bad}: {error}");
        }
        for empty in ["", "# nobody\n"] {
            assert!(ApiTokens::parse(empty).is_err(), "{empty}");
        }
        for name in ["", "#alice", "alice b"] {
            assert!(line(name, "x", Role::Viewer, None).is_err(), "{name}");
        }
        assert!(line("alice", "x", Role::Viewer, Some("soon")).is_err());
    }
}
