//! The tar around everything, read strictly: one member after the other, each of the one name that may stand there,
//! regular, bounded, with a right checksum and zero padding.
//!
//! Headers are decoded by the tar crate; the walk is ours, because `tar::Archive` follows what a hostile archive may
//! contain (long names, extended headers, links, sparse files) and an upgrade package never does.

use std::ops::Range;

use tar::{EntryType, Header};

use crate::manifest::{padded, BLOCK};
use crate::PackageError;

/// A tar header, or the zero block that starts the end of an archive.
pub(crate) enum Found {
    Member { name: String, size: u64 },
    End,
}

/// Decodes the header block that stands where `expected` should.
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
        // The name says more than the type when something else than a file stands there altogether.
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

/// The content of the small member `expected`, whose header stands at `offset`: its range in `bytes`, or `None` where
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
    let start = offset + BLOCK as usize;
    // Small members have limits far below usize, even of 32 bits.
    let (end, next) = (start + size as usize, start + padded(size) as usize);
    let Some(padding) = bytes.get(end..next) else {
        return Ok(None);
    };
    check_zero(padding, expected)?;
    Ok(Some(start..end))
}

/// The header block at `offset`, where `bytes` reaches that far.
pub(crate) fn header_at(bytes: &[u8], offset: usize) -> Option<&[u8; BLOCK as usize]> {
    bytes
        .get(offset..offset + BLOCK as usize)
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

/// Names come from hostile input and go to logs: escaped there by `{:?}`, and cut short here.
pub(crate) fn unexpected(expected: &'static str, found: &str) -> PackageError {
    PackageError::UnexpectedMember {
        expected,
        found: found.chars().take(100).collect(),
    }
}

/// POSIX: the sum of all bytes of the header, its checksum field taken as spaces.
fn checksum(block: &[u8; BLOCK as usize]) -> u64 {
    const FIELD: Range<usize> = 148..156;
    let value = |(index, byte): (usize, &u8)| match FIELD.contains(&index) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    block.iter().enumerate().map(value).sum()
}

/// The two ways in which tar programs write it: six digits, NUL, space; or seven digits, NUL.
fn parse_checksum(field: &[u8; 8]) -> Option<u64> {
    match field {
        [digits @ .., 0, b' '] => octal_digits(digits),
        [digits @ .., 0] => octal_digits(digits),
        _ => None,
    }
}

/// Eleven octal digits and an end mark; the binary form for larger numbers is refused.
fn parse_octal(field: &[u8; 12]) -> Option<u64> {
    match field {
        [digits @ .., 0 | b' '] => octal_digits(digits),
        _ => None,
    }
}

fn octal_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'7' => Some(value * 8 + u64::from(digit - b'0')),
        _ => None,
    })
}
