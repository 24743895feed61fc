//! Everything about a package that has arrived: signature, then MD5, then SHA-256, reading the file once.

use std::io::{self, Read, Seek, SeekFrom};

use crate::container::{check_zero, expect_member, parse_header, unexpected, Found};
use crate::head::{Head, Read as HeadRead, MAX_HEAD};
use crate::manifest::{padded, BLOCK, BLOCKING};
use crate::{member, Keyring, Manifest, PackageError, Payload, Signer, MAX_SYSTEM_TAR};

mod digests;
mod members;

/// Largest `system.tar.md5`.
const MAX_MD5_LINE: u64 = 128;

/// A package of which every byte has been checked.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it is.
    pub manifest: Manifest,
    /// Who signed it.
    pub signer: Signer,
    /// SHA-256 of `manifest.json`, lower-case hex.
    pub manifest_sha256: String,
    /// Where the payloads stand, in the manifest's order.
    pub payloads: Vec<PayloadLocation>,
}

/// Where a payload stands in the package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLocation {
    /// What it is.
    pub payload: Payload,
    /// Offset in the `.dau` file of its first stored byte.
    pub offset: u64,
    /// Stored bytes.
    pub len: u64,
}

/// Checks a whole package: form, signature, MD5, SHA-256 of everything stored, in this order. `progress` is told the
/// bytes done and the bytes of `system.tar`. Takes about 1 MiB of memory whatever the size of the package, and
/// two or more processors where there are.
///
/// The file must not change meanwhile or afterwards: keep the one handle open, and read the payloads through it.
pub fn verify<F: Read + Seek>(
    mut file: F,
    keyring: &Keyring,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, PackageError> {
    let head = read_head(&mut file)?;
    let signer = head.verify(keyring)?;
    let payloads = verify_body(&mut file, &head.manifest, head.body_offset, progress)?;
    Ok(Verified {
        manifest_sha256: head.manifest_sha256(),
        manifest: head.manifest,
        signer,
        payloads,
    })
}

/// Checks everything after the head against the manifest.
pub(crate) fn verify_body<F: Read + Seek>(
    file: &mut F,
    manifest: &Manifest,
    body_offset: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<PayloadLocation>, PackageError> {
    let body = read_body(file, body_offset, manifest)?;
    let system = &manifest.system;
    if body.md5_line != system.md5 {
        return Err(PackageError::Md5Mismatch {
            what: member::SYSTEM_MD5,
            expected: body.md5_line,
            found: system.md5.clone(),
        });
    }
    file.seek(SeekFrom::Start(body.system_offset))?;
    let found = digests::compute(file, manifest, progress)?;
    if found.md5 != system.md5 {
        return Err(PackageError::Md5Mismatch {
            what: member::MANIFEST,
            expected: system.md5.clone(),
            found: found.md5,
        });
    }
    if found.sha256 != system.sha256 {
        return Err(PackageError::Sha256Mismatch {
            member: member::SYSTEM,
            expected: system.sha256.clone(),
            found: found.sha256,
        });
    }
    let locate = |member: members::FoundMember| member.check(body.system_offset);
    found.members?.into_iter().map(locate).collect()
}

/// The size and digests of a `system.tar` that `file` stands at, and whose members are as the manifest says.
#[cfg(feature = "make")]
pub(crate) fn system_digests(
    file: &mut impl Read,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<crate::SystemTar, PackageError> {
    let found = digests::compute(file, manifest, progress)?;
    for member in found.members? {
        member.check(0)?;
    }
    Ok(crate::SystemTar {
        size: manifest.system.size,
        md5: found.md5,
        sha256: found.sha256,
    })
}

/// Reads and parses the head of a whole file.
pub(crate) fn read_head<F: Read + Seek>(file: &mut F) -> Result<Head, PackageError> {
    match Head::read(&read_prefix(file)?)? {
        HeadRead::Done(head) => Ok(*head),
        HeadRead::Need { member } => Err(PackageError::Truncated { member }),
    }
}

/// The first bytes of a file, enough for its head.
pub(crate) fn read_prefix<F: Read + Seek>(file: &mut F) -> Result<Vec<u8>, PackageError> {
    file.seek(SeekFrom::Start(0))?;
    let mut prefix = Vec::new();
    file.by_ref()
        .take(MAX_HEAD as u64)
        .read_to_end(&mut prefix)?;
    Ok(prefix)
}

/// What follows the head, apart from the bytes of `system.tar`.
pub(crate) struct Body {
    /// Offset in the file of the first byte of `system.tar`.
    pub system_offset: u64,
    /// The digest in `system.tar.md5`.
    pub md5_line: String,
}

/// Checks the form of everything after the head without reading `system.tar` itself.
pub(crate) fn read_body<F: Read + Seek>(
    file: &mut F,
    offset: u64,
    manifest: &Manifest,
) -> Result<Body, PackageError> {
    file.seek(SeekFrom::Start(offset))?;
    let size = expect_member(
        &read_block(file, member::SYSTEM)?,
        member::SYSTEM,
        MAX_SYSTEM_TAR,
    )?;
    if size != manifest.system.size {
        return Err(PackageError::Malformed {
            member: member::SYSTEM,
            reason: format!(
                "it has {size} bytes, but manifest.json says {}",
                manifest.system.size
            ),
        });
    }
    let system_offset = offset + BLOCK;
    let end = system_offset + padded(size);
    if file.seek(SeekFrom::End(0))? < end {
        return Err(PackageError::Truncated {
            member: member::SYSTEM,
        });
    }
    file.seek(SeekFrom::Start(system_offset + size))?;
    let padding = read_bytes(file, padded(size) - size, member::SYSTEM)?;
    check_zero(&padding, member::SYSTEM)?;

    let header = read_block(file, member::SYSTEM_MD5)?;
    let size = expect_member(&header, member::SYSTEM_MD5, MAX_MD5_LINE)?;
    let content = read_bytes(file, padded(size), member::SYSTEM_MD5)?;
    let (line, padding) = content.split_at(size as usize);
    check_zero(padding, member::SYSTEM_MD5)?;
    let md5_line = parse_md5_line(line)?;
    check_end(file, end + BLOCK + padded(size))?;
    Ok(Body {
        system_offset,
        md5_line,
    })
}

/// The line that `md5sum` writes: digest, space, space or asterisk, name.
fn parse_md5_line(line: &[u8]) -> Result<String, PackageError> {
    let parse = || {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (digest, name) = line.split_at_checked(32)?;
        let name = name.strip_prefix("  ").or(name.strip_prefix(" *"))?;
        let hex = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hex && name == member::SYSTEM).then(|| digest.to_ascii_lowercase())
    };
    parse().ok_or_else(|| PackageError::Malformed {
        member: member::SYSTEM_MD5,
        reason: "it is not one line `<32 hex digits>  system.tar`".into(),
    })
}

/// Two zero blocks end an archive; ordinary tar programs fill up with more, to a multiple of 10240 bytes.
fn check_end<F: Read + Seek>(file: &mut F, offset: u64) -> Result<(), PackageError> {
    const MEMBER: &str = "the end of the archive";
    match parse_header(&read_block(file, MEMBER)?, MEMBER)? {
        Found::End => {}
        Found::Member { name, .. } => return Err(unexpected(MEMBER, &name)),
    }
    let most = (offset + 2 * BLOCK).next_multiple_of(BLOCKING);
    let length = file.seek(SeekFrom::End(0))?;
    if length < offset + 2 * BLOCK {
        return Err(PackageError::Truncated { member: MEMBER });
    }
    if length > most || length % BLOCK != 0 {
        return Err(PackageError::Trailing {
            offset: most.min(length / BLOCK * BLOCK),
        });
    }
    file.seek(SeekFrom::Start(offset))?;
    let rest = read_bytes(file, length - offset, MEMBER)?;
    match rest.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(position) => Err(PackageError::Trailing {
            offset: offset + position as u64,
        }),
    }
}

fn read_block<F: Read>(
    file: &mut F,
    member: &'static str,
) -> Result<[u8; BLOCK as usize], PackageError> {
    let mut block = [0; BLOCK as usize];
    file.read_exact(&mut block)
        .map_err(|error| short_read(error, member))?;
    Ok(block)
}

/// Reads a few bytes; callers bound `count`.
fn read_bytes<F: Read>(
    file: &mut F,
    count: u64,
    member: &'static str,
) -> Result<Vec<u8>, PackageError> {
    let mut bytes = vec![0; count as usize];
    file.read_exact(&mut bytes)
        .map_err(|error| short_read(error, member))?;
    Ok(bytes)
}

fn short_read(error: io::Error, member: &'static str) -> PackageError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PackageError::Truncated { member },
        _ => PackageError::Io(error),
    }
}
