//! Bearer tokens of the REST interface: a file with a line `<name> sha256:<hex>` for each. Only
//! digests are stored; the names appear in the record of jobs.

use std::fs;
use std::path::Path;

use dau_model::hex;

use anyhow::{ensure, Context, Result};
use openssl::memcmp;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;

const PREFIX: &str = "sha256:";

/// The valid tokens: name and digest.
#[derive(Debug, Clone)]
pub struct ApiTokens(Vec<(String, [u8; 32])>);

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
            let token = parse_line(line);
            tokens.push(token.with_context(|| {
                format!(
                    "line {}: give '<name> {PREFIX}<64 hex digits>', as 'dau-station token <name>' prints it",
                    index.saturating_add(1)
                )
            })?);
        }
        ensure!(
            !tokens.is_empty(),
            "it holds no token: add the line that 'dau-station token <name>' prints"
        );
        Ok(ApiTokens(tokens))
    }

    /// Returns the name of the token's holder, in the same time wherever a wrong token differs.
    pub fn holder(&self, token: &str) -> Option<&str> {
        let digest = sha256(token.as_bytes());
        let mut holder = None;
        for (name, known) in &self.0 {
            if memcmp::eq(known, &digest) {
                holder = Some(name.as_str());
            }
        }
        holder
    }
}

fn parse_line(line: &str) -> Option<(String, [u8; 32])> {
    let mut words = line.split_whitespace();
    let (name, digest) = (words.next()?, words.next()?.strip_prefix(PREFIX)?);
    if words.next().is_some() || digest.len() != 64 || !digest.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(digest.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some((name.to_owned(), bytes))
}

/// Returns the file's line for a token. The name must be one word.
pub fn line(name: &str, token: &str) -> Result<String> {
    let is_word = !name.is_empty() && !name.starts_with('#') && !name.contains(char::is_whitespace);
    ensure!(is_word, "'{name}' is not one word");
    Ok(format!(
        "{name} {PREFIX}{}",
        hex::encode(sha256(token.as_bytes()))
    ))
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
        let file = format!(
            "# staff\n{}\n\n{}\n",
            line("alice", &alice).unwrap(),
            line("bob", &bob).unwrap()
        );
        let tokens = ApiTokens::parse(&file).unwrap();
        assert_eq!(tokens.holder(&alice), Some("alice"));
        assert_eq!(tokens.holder(&bob), Some("bob"));
        assert_eq!(tokens.holder("0000"), None);
        assert_eq!(tokens.holder(""), None);
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        for text in [
            "",
            "# nobody\n",
            "alice secret",
            "alice sha256:12",
            "alice",
            &format!("alice sha256:{}é", "0".repeat(62)),
            &format!("{} more", line("alice", "x").unwrap()),
        ] {
            assert!(ApiTokens::parse(text).is_err(), "{text}");
        }
        for name in ["", "#alice", "alice b"] {
            assert!(line(name, "x").is_err(), "{name}");
        }
    }
}
