//! Verifies a backup: against its digest file and the job's record, and against a root.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dau_model::hex;
use dau_system::durable;
use openssl::sha::Sha256;

use super::digest::{absent, record, ContentHash, SetDigest};
use super::entry::{Entry, Kind, Role};
use super::{archive, expand, sparse, Comparison, Lacking, ParametersError, MAX_CHANGED};
use crate::ParametersRecord;

/// Longest digest file, bytes: a digest and a file name.
const MAX_DIGEST_LINE: u64 = 512;

pub(super) fn read_back(
    tar: &Path,
    digest_file: &Path,
    expected: &ParametersRecord,
) -> Result<(), ParametersError> {
    let differs = |archive: &Path, what, expected: &str, found: &str| {
        Err(ParametersError::OtherBackup {
            archive: archive.to_owned(),
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
        })
    };
    let line = read_line(digest_file)?;
    if line != digest_line(&expected.backup_sha256, tar) {
        let wanted = digest_line(&expected.backup_sha256, tar);
        return differs(digest_file, "its line", wanted.trim_end(), line.trim_end());
    }
    let mut source = Whole::new(uncached(tar)?);
    let mut digest = SetDigest::new();
    let mut entries = 0_u64;
    let sound = archive::read(&mut source, tar, |entry, content| {
        let hash = content.hash().map_err(ParametersError::io("read", tar))?;
        if entry.role != Role::Parent {
            digest.add(&record(&entry, &hash));
            entries = entries.saturating_add(1);
        }
        Ok(())
    });
    // A wrong hash says more than the fault of a damaged archive.
    io::copy(&mut source, &mut io::sink()).map_err(ParametersError::io("read", tar))?;
    let sha256 = hex::encode(source.hash.finish());
    if sha256 != expected.backup_sha256 {
        return differs(tar, "its SHA-256", &expected.backup_sha256, &sha256);
    }
    sound?;
    let digest = digest.finish();
    if digest != expected.digest {
        return differs(tar, "the parameters' digest", &expected.digest, &digest);
    }
    if entries != expected.entries {
        let (wanted, found) = (expected.entries.to_string(), entries.to_string());
        return differs(tar, "the number of entries", &wanted, &found);
    }
    Ok(())
}

pub(super) fn matches_digest_file(tar: &Path, digest_file: &Path) -> Result<bool, ParametersError> {
    // Under whatever name: a copy is as whole.
    let line = read_line(digest_file)?;
    Ok(line.split_whitespace().next() == Some(sha256(tar)?.as_str()))
}

fn read_line(digest_file: &Path) -> Result<String, ParametersError> {
    let mut line = String::new();
    uncached(digest_file)?
        .take(MAX_DIGEST_LINE)
        .read_to_string(&mut line)
        .map_err(ParametersError::io("read", digest_file))?;
    Ok(line)
}

pub(super) fn compare(
    root: &Path,
    tar: &Path,
    lacking: &Lacking,
) -> Result<Comparison, ParametersError> {
    let source = durable::open(tar).map_err(ParametersError::io("read", tar))?;
    let mut digest = SetDigest::new();
    let mut changed = Vec::new();
    let mut numbers = 0..;
    archive::read(source, tar, |entry, content| {
        let lacks = numbers.next().is_some_and(|n| lacking.numbers.contains(&n));
        if entry.role == Role::Parent || lacks {
            return Ok(());
        }
        let hash = content.hash().map_err(ParametersError::io("read", tar))?;
        let here = record_on(root, &entry)?;
        if here != record(&entry, &hash) && changed.len() < MAX_CHANGED {
            changed.push(entry.path);
        }
        digest.add(&here);
        Ok(())
    })?;
    Ok(Comparison {
        digest: digest.finish(),
        changed,
    })
}

/// Returns the record of the file on `root` at the path of `backed_up`.
fn record_on(root: &Path, backed_up: &Entry) -> Result<Vec<u8>, ParametersError> {
    let path = &backed_up.path;
    let failed = || ParametersError::io("read", path);
    let Some((location, metadata)) = expand::look(root, path)? else {
        return Ok(absent(path));
    };
    let Some(mut entry) = Entry::read(&location, path, &metadata).map_err(failed())? else {
        return Ok(absent(path));
    };
    if let Kind::HardLink { first } = &backed_up.kind {
        let same = |(_, other): (_, fs::Metadata)| {
            (other.dev(), other.ino()) == (metadata.dev(), metadata.ino())
        };
        if expand::look(root, first)?.is_some_and(same) {
            entry.kind = backed_up.kind.clone();
        }
    }
    let mut hash = ContentHash::default();
    if let Kind::File { size } = entry.kind {
        hash = durable::open(&location)
            .and_then(|file| sparse::hash_of(file, size))
            .map_err(failed())?;
    }
    Ok(record(&entry, &hash))
}

/// Returns the line for `sha256sum -c` in the folder of `file`.
pub(super) fn digest_line(sha256: &str, file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{sha256}  {name}\n")
}

/// Returns the SHA-256 of a file on the medium, 64 hexadecimal digits.
pub(super) fn sha256(file: &Path) -> Result<String, ParametersError> {
    let mut whole = Whole::new(uncached(file)?);
    io::copy(&mut whole, &mut io::sink()).map_err(ParametersError::io("read", file))?;
    Ok(hex::encode(whole.hash.finish()))
}

fn uncached(path: &Path) -> Result<File, ParametersError> {
    durable::open_uncached(path).map_err(ParametersError::io("read", path))
}

/// Hashes a file while it is read.
struct Whole<R> {
    source: R,
    hash: Sha256,
}

impl<R> Whole<R> {
    fn new(source: R) -> Self {
        let hash = Sha256::new();
        Whole { source, hash }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
