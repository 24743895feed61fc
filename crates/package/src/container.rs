//! The outer tar, read strictly: one member after the other, each with the only name allowed there,
//! a regular file, bounded, with a correct checksum and zero padding.
//!
//! Headers are decoded by the tar crate. The walk is this crate's own, because `tar::Archive`
//! supports long names, extended headers, links and sparse files, which only a hostile package has.

use std::io;
use std::ops::Range;

use tar::{EntryType, Header};

use crate::blocks::{padded, BLOCK};
use crate::{PackageError, MAX_SYSTEM_TAR};

/// Returns the only header that a package's member may have: a plain ustar one of mode 0644 without
/// owner, as written by `tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=644
/// --mtime=@TIME`.
///
/// # Errors
/// The name is longer than 100 bytes, or a number than eleven octal digits.
pub(crate) fn header(name: &str, size: u64, mtime: u64) -> io::Result<Header> {
    if size.max(mtime) > MAX_SYSTEM_TAR {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_mtime(mtime);
    header.set_size(size);
    // As POSIX tar programs write it, in six digits; the tar crate takes seven.
    let sum = format!("{:06o}\0 ", checksum(header.as_bytes()));
    if let Ok(field) = sum.as_bytes().try_into() {
        header.as_old_mut().cksum = field;
    }
    Ok(header)
}

/// A tar header, or the zero block that starts the end of an archive.
pub(crate) enum Found {
    Member { name: String, size: u64 },
    End,
}

/// Decodes the header block of the member `expected`.
pub(crate) fn parse_header(
    block: &[u8; BLOCK as usize],
    expected: &'static str,
) -> Result<Found, PackageError> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(Found::End);
    }
    let malformed = |reason: &str| PackageError::Malformed {
        member: expected,
        reason: reason.to_owned(),
    };
    let header = Header::from_byte_slice(block);
    if parse_checksum(&header.as_old().cksum) != Some(checksum(block)) {
        return Err(malformed("the checksum of its tar header is wrong"));
    }
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Err(malformed("its tar header is not of the ustar format"));
    }
    let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
    if header.entry_type() != EntryType::Regular {
        // If something else than a file is there, its name says more than its type.
        if name != expected {
            return Err(unexpected(expected, &name));
        }
        return Err(malformed("it is not a regular file"));
    }
    let size = parse_octal(&header.as_old().size)
        .ok_or_else(|| malformed("the size in its tar header is not an octal number"))?;
    Ok(Found::Member { name, size })
}

/// Decodes the header block of `expected`, of at most `limit` bytes; returns its size.
pub(crate) fn expect_member(
    block: &[u8; BLOCK as usize],
    expected: &'static str,
    limit: u64,
) -> Result<u64, PackageError> {
    match parse_header(block, expected)? {
        Found::End => Err(PackageError::Truncated { member: expected }),
        Found::Member { name, .. } if name != expected => Err(unexpected(expected, &name)),
        Found::Member { size, .. } if size > limit => Err(PackageError::TooLarge {
            member: expected,
            size,
            limit,
        }),
        Found::Member { size, .. } => Ok(size),
    }
}

/// Returns the range in `bytes` of the small member `expected` with a header at `offset`; `None` if
/// `bytes` does not hold all of it yet.
pub(crate) fn member_at(
    bytes: &[u8],
    offset: usize,
    expected: &'static str,
    limit: u64,
) -> Result<Option<Range<usize>>, PackageError> {
    let Some(block) = header_at(bytes, offset) else {
        return Ok(None);
    };
    let size = expect_member(block, expected, limit)?;
    // Callers bound offsets and sizes far below usize, even of 32 bits.
    let start = offset.saturating_add(BLOCK as usize);
    let end = start.saturating_add(size as usize);
    let next = start.saturating_add(padded(size) as usize);
    let Some(padding) = bytes.get(end..next) else {
        return Ok(None);
    };
    check_zero(padding, expected)?;
    Ok(Some(start..end))
}

/// Returns the header block at `offset`, if `bytes` reaches that far.
pub(crate) fn header_at(bytes: &[u8], offset: usize) -> Option<&[u8; BLOCK as usize]> {
    bytes
        .get(offset..offset.checked_add(BLOCK as usize)?)
        .and_then(|block| block.try_into().ok())
}

/// Refuses padding that could hide something.
pub(crate) fn check_zero(padding: &[u8], member: &'static str) -> Result<(), PackageError> {
    if padding.iter().any(|byte| *byte != 0) {
        return Err(PackageError::Malformed {
            member,
            reason: "its padding is not zero".into(),
        });
    }
    Ok(())
}

/// Returns an error with the found name cut short; `{:?}` escapes it later, as it comes from
/// hostile input.
pub(crate) fn unexpected(expected: &'static str, found: &str) -> PackageError {
    PackageError::UnexpectedMember {
        expected,
        found: found.chars().take(100).collect(),
    }
}

/// Computes the POSIX checksum: the sum of all bytes of the header, with spaces in its checksum
/// field.
fn checksum(block: &[u8; BLOCK as usize]) -> u64 {
    const FIELD: Range<usize> = 148..156;
    let value = |(index, byte): (usize, &u8)| match FIELD.contains(&index) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    block.iter().enumerate().map(value).sum()
}

/// Parses a checksum in either form that tar programs write: six digits, NUL, space; or seven
/// digits, NUL.
fn parse_checksum(field: &[u8; 8]) -> Option<u64> {
    match field {
        [digits @ .., 0, b' '] => octal_digits(digits),
        [digits @ .., 0] => octal_digits(digits),
        _ => None,
    }
}

/// Parses eleven octal digits and an end mark; the binary form of larger numbers is refused.
fn parse_octal(field: &[u8; 12]) -> Option<u64> {
    match field {
        [digits @ .., 0 | b' '] => octal_digits(digits),
        _ => None,
    }
}

fn octal_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| match digit {
        // Eleven digits at most.
        b'0'..=b'7' => Some(value << 3 | u64::from(digit & 7)),
        _ => None,
    })
}
