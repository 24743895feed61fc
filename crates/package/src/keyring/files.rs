//! Reads a keyring completely: no file and no byte is ignored.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use openssl::x509::{X509VerifyResult, X509};

use dau_model::hex;

use super::{subject, Keyring, KeyringError, Revoked};

/// Extension of the files that hold roots.
const ROOT_EXTENSION: &str = "pem";
/// Name of the file that lists what is revoked.
const REVOKED_FILE: &str = "revoked";
/// Start of every part of a PEM file, in any spelling.
const BEGIN: &[u8] = b"-BEGIN ";
/// Largest file of a keyring, in bytes.
const MAX_FILE: u64 = 1 << 20;

impl Keyring {
    /// Reads the keyring in `dir`.
    pub fn load(dir: &Path) -> Result<Self, KeyringError> {
        let read_error = |source| KeyringError::Read {
            path: dir.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(read_error)? {
            files.push(entry.map_err(read_error)?.path());
        }
        files.sort();
        let mut roots = Vec::new();
        let mut revoked = BTreeSet::new();
        for path in &files {
            if path.file_name().is_some_and(|name| name == REVOKED_FILE) {
                revoked = parse_revoked(path, &read_file(path)?)?;
            } else if path
                .extension()
                .is_some_and(|found| found == ROOT_EXTENSION)
            {
                roots.append(&mut parse_roots(path, &read_file(path)?)?);
            } else {
                return refuse(
                    path,
                    "neither a root (*.pem) nor the list `revoked`: rename it or take it away",
                );
            }
        }
        if roots.is_empty() {
            return Err(KeyringError::Empty {
                path: dir.to_owned(),
            });
        }
        Ok(Self { roots, revoked })
    }
}

fn refuse<T>(path: &Path, reason: impl Into<String>) -> Result<T, KeyringError> {
    Err(KeyringError::File {
        path: path.to_owned(),
        reason: reason.into(),
    })
}

/// Reads a regular file, following links; a pipe or a device would never end.
fn read_file(path: &Path) -> Result<Vec<u8>, KeyringError> {
    let read_error = |source| KeyringError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(read_error)?.is_file() {
        return refuse(path, "not a file");
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(MAX_FILE.saturating_add(1))
                .read_to_end(&mut bytes)
        })
        .map_err(read_error)?;
    if bytes.len() as u64 > MAX_FILE {
        return refuse(path, "larger than 1 MiB");
    }
    Ok(bytes)
}

fn parse_roots(path: &Path, pem: &[u8]) -> Result<Vec<X509>, KeyringError> {
    let Ok(roots) = X509::stack_from_pem(pem) else {
        return refuse(path, "not a list of PEM certificates");
    };
    if roots.is_empty() {
        return refuse(path, "holds no certificate");
    }
    // OpenSSL skips parts that are no valid certificates.
    if roots.len()
        != pem
            .windows(BEGIN.len())
            .filter(|found| *found == BEGIN)
            .count()
    {
        return refuse(
            path,
            "holds something besides certificates (-----BEGIN CERTIFICATE-----)",
        );
    }
    // OpenSSL never ends a path at another certificate, so it would only seem to be trusted.
    if let Some(other) = roots
        .iter()
        .find(|root| root.issued(root) != X509VerifyResult::OK)
    {
        return refuse(path, format!("{} is not self-signed", subject(other)));
    }
    Ok(roots)
}

fn parse_revoked(path: &Path, text: &[u8]) -> Result<BTreeSet<Revoked>, KeyringError> {
    let Ok(text) = std::str::from_utf8(text) else {
        return refuse(path, "not UTF-8");
    };
    let mut revoked = BTreeSet::new();
    for (line, number) in text.lines().zip(1..) {
        // Line ends that editors show but this parser ignores: a comment would swallow the next
        // line.
        let breaks = |letter: char| {
            letter != '\t' && (letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}'))
        };
        if line.contains(breaks) {
            let reason =
                format!("line {number} has a control character: end lines with LF or CR LF");
            return refuse(path, reason);
        }
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let parsed = parse_revoked_entry(entry).ok_or_else(|| KeyringError::Revoked {
            path: path.to_owned(),
            line: number,
            text: line.to_owned(),
        })?;
        revoked.insert(parsed);
    }
    Ok(revoked)
}

fn parse_revoked_entry(entry: &str) -> Option<Revoked> {
    let (kind, digits) = entry.split_once(char::is_whitespace)?;
    let digits = digits.trim().replace(':', "").to_ascii_lowercase();
    if !hex::is_digest(&digits, 32) {
        return None;
    }
    match kind {
        "certificate" => Some(Revoked::Certificate(digits)),
        "key" => Some(Revoked::Key(digits)),
        _ => None,
    }
}
