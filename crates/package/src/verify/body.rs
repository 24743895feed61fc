//! The form of a package behind its head: what stands around the bytes of its tar of payloads.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Form, PayloadLocation};
use crate::blocks::{padded, BLOCK, BLOCKING, END};
use crate::container::{check_zero, expect_member, parse_header, unexpected, Found};
use crate::head::Head;
use crate::{member, Manifest, PackageError, MAX_SYSTEM_TAR};

/// Largest `system.tar.md5`, bytes.
const MAX_MD5_LINE: u64 = 128;

/// Returns the form of the package in `file`: nothing behind its head is read but what tells its form.
///
/// # Errors
/// The file is no package, or has neither form.
pub fn form_of<F: Read + Seek>(mut file: F) -> Result<Form, PackageError> {
    file.seek(SeekFrom::Start(0))?;
    let head = Head::read_from(&mut file)?;
    Ok(read_body(&mut file, head.body_offset, &head.manifest, true)?.form)
}

/// Everything after the head except the bytes of `system.tar` or `rebuilt.tar`.
pub(crate) struct Body {
    pub form: Form,
    /// Offset of the first byte of that tar in the file.
    pub system_offset: u64,
    /// Its size, bytes.
    pub size: u64,
    /// Its digest in the member after it.
    pub md5_line: String,
}

/// Checks the form of everything after the head without reading the payloads.
pub(crate) fn read_body<F: Read + Seek>(
    file: &mut F,
    offset: u64,
    manifest: &Manifest,
    rebuilt: bool,
) -> Result<Body, PackageError> {
    file.seek(SeekFrom::Start(offset))?;
    let block = read_block(file, member::SYSTEM)?;
    let form = match parse_header(&block, member::SYSTEM)? {
        Found::Member { name, .. } if rebuilt && name == member::REBUILT => Form::Rebuilt,
        _ => Form::AsSigned,
    };
    let (system, md5) = (form.system(), form.md5());
    let size = expect_member(&block, system, MAX_SYSTEM_TAR)?;
    if form == Form::AsSigned && size != manifest.system.size {
        return Err(PackageError::Malformed {
            member: member::SYSTEM,
            reason: format!(
                "it has {size} bytes, but manifest.json says {}",
                manifest.system.size
            ),
        });
    }
    // Offsets stay below MAX_HEAD plus MAX_SYSTEM_TAR, so nothing overflows.
    let system_offset = offset.saturating_add(BLOCK);
    let end = system_offset.saturating_add(padded(size));
    if file.seek(SeekFrom::End(0))? < end {
        return Err(PackageError::Truncated { member: system });
    }
    file.seek(SeekFrom::Start(system_offset.saturating_add(size)))?;
    let padding = read_bytes(file, padded(size).saturating_sub(size), system)?;
    check_zero(&padding, system)?;

    let header = read_block(file, md5)?;
    let line_size = expect_member(&header, md5, MAX_MD5_LINE)?;
    let content = read_bytes(file, padded(line_size), md5)?;
    let (line, padding) = content
        .split_at_checked(line_size as usize)
        .unwrap_or((&content, &[]));
    check_zero(padding, md5)?;
    let md5_line = parse_md5_line(line, form)?;
    check_end(
        file,
        end.saturating_add(BLOCK).saturating_add(padded(line_size)),
    )?;
    Ok(Body {
        form,
        system_offset,
        size,
        md5_line,
    })
}

/// Finds the payloads of a package in either form without reading them.
pub(crate) fn locate<F: Read + Seek>(
    file: &mut F,
    head: &Head,
) -> Result<Vec<PayloadLocation>, PackageError> {
    let body = read_body(file, head.body_offset, &head.manifest, true)?;
    let end = body.system_offset.saturating_add(body.size);
    let mut next = body.system_offset;
    let mut found = Vec::new();
    for payload in &head.manifest.payloads {
        let member = payload.payload_type.member();
        file.seek(SeekFrom::Start(next))?;
        let len = expect_member(&read_block(file, member)?, member, body.size)?;
        let offset = next.saturating_add(BLOCK);
        next = offset.saturating_add(padded(len));
        let anew = body.form == Form::Rebuilt && payload.payload_type.is_rootfs();
        if next > end || (len != payload.size && !anew) {
            return Err(PackageError::Truncated { member });
        }
        found.push(PayloadLocation {
            payload: payload.clone(),
            offset,
            len,
        });
    }
    Ok(found)
}

/// Parses a line of `md5sum`: digest, two spaces, name.
fn parse_md5_line(line: &[u8], form: Form) -> Result<String, PackageError> {
    let parse = || {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (digest, name) = line.split_at_checked(32)?;
        let hex = digest
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hex && name.strip_prefix("  ")? == form.system()).then(|| digest.to_owned())
    };
    parse().ok_or_else(|| PackageError::Malformed {
        member: form.md5(),
        reason: format!(
            "it is not one line `<32 lower-case hex digits>  {}`",
            form.system()
        ),
    })
}

/// Checks the end: two zero blocks end an archive, and zeros pad it to a multiple of 10240 bytes,
/// as tar does.
fn check_end<F: Read + Seek>(file: &mut F, offset: u64) -> Result<(), PackageError> {
    const MEMBER: &str = "the end of the archive";
    match parse_header(&read_block(file, MEMBER)?, MEMBER)? {
        Found::End => {}
        Found::Member { name, .. } => return Err(unexpected(MEMBER, &name)),
    }
    let end = offset.saturating_add(END).next_multiple_of(BLOCKING);
    let length = file.seek(SeekFrom::End(0))?;
    if length < end {
        return Err(PackageError::Truncated { member: MEMBER });
    }
    if length > end {
        return Err(PackageError::Trailing { offset: end });
    }
    file.seek(SeekFrom::Start(offset))?;
    let rest = read_bytes(file, end.saturating_sub(offset), MEMBER)?;
    match rest.iter().zip(offset..).find(|(byte, _)| **byte != 0) {
        None => Ok(()),
        Some((_, offset)) => Err(PackageError::Trailing { offset }),
    }
}

pub(super) fn read_block<F: Read>(
    file: &mut F,
    member: &'static str,
) -> Result<[u8; BLOCK as usize], PackageError> {
    let mut block = [0; BLOCK as usize];
    file.read_exact(&mut block)
        .map_err(|error| short_read(error, member))?;
    Ok(block)
}

/// Reads `count` bytes, which the caller limits.
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

pub(super) fn short_read(error: io::Error, member: &'static str) -> PackageError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PackageError::Truncated { member },
        _ => PackageError::Io(error),
    }
}
