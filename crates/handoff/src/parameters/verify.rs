//! Judges a backup: against its digest file and the job's record, and against a root.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dau_system::durable;
use openssl::sha::Sha256;

use super::digest::{absent, hex, record, ContentHash, SetDigest};
use super::entry::{Entry, Kind, Role};
use super::{archive, expand, Comparison, ParametersError, MAX_CHANGED};
use crate::ParametersRecord;

/// Room for a digest and a file name; a longer digest file is damaged.
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
    let mut line = String::new();
    uncached(digest_file)?
        .take(MAX_DIGEST_LINE)
        .read_to_string(&mut line)
        .map_err(ParametersError::io("read", digest_file))?;
    if line != digest_line(&expected.backup_sha256, tar) {
        let wanted = digest_line(&expected.backup_sha256, tar);
        return differs(digest_file, "its line", wanted.trim_end(), line.trim_end());
    }
    let mut source = Hashing::new(uncached(tar)?);
    let mut digest = SetDigest::new();
    let mut entries = 0;
    let sound = archive::read(&mut source, tar, |entry, content| {
        let hash = hash_of(content).map_err(ParametersError::io("read", tar))?;
        if entry.role != Role::Parent {
            digest.add(&record(&entry, &hash));
            entries += 1;
        }
        Ok(())
    });
    // A wrong hash says more than what a damaged archive trips over.
    io::copy(&mut source, &mut io::sink()).map_err(ParametersError::io("read", tar))?;
    let sha256 = hex(&source.hash.finish());
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

pub(super) fn compare(root: &Path, tar: &Path) -> Result<Comparison, ParametersError> {
    let source = File::open(tar).map_err(ParametersError::io("read", tar))?;
    let mut digest = SetDigest::new();
    let mut changed = Vec::new();
    archive::read(source, tar, |entry, content| {
        if entry.role == Role::Parent {
            return Ok(());
        }
        let hash = hash_of(content).map_err(ParametersError::io("read", tar))?;
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

/// The record of what lies on `root` at the path of `backed_up`.
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
    if let Kind::File { .. } = entry.kind {
        hash = hash_of(&mut File::open(&location).map_err(failed())?).map_err(failed())?;
    }
    Ok(record(&entry, &hash))
}

/// The line that `sha256sum -c` reads in the folder of `file`.
pub(super) fn digest_line(sha256: &str, file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{sha256}  {name}\n")
}

/// SHA-256 of a file as it is on the medium, 64 hexadecimal digits.
pub(super) fn sha256(file: &Path) -> Result<String, ParametersError> {
    let hash = hash_of(&mut uncached(file)?).map_err(ParametersError::io("read", file))?;
    Ok(hex(&hash))
}

fn uncached(path: &Path) -> Result<File, ParametersError> {
    durable::open_uncached(path).map_err(ParametersError::io("read", path))
}

fn hash_of(content: &mut dyn Read) -> io::Result<ContentHash> {
    let mut content = Hashing::new(content);
    io::copy(&mut content, &mut io::sink())?;
    Ok(content.hash.finish())
}

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    source: R,
    pub hash: Sha256,
}

impl<R> Hashing<R> {
    pub(super) fn new(source: R) -> Self {
        let hash = Sha256::new();
        Hashing { source, hash }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
