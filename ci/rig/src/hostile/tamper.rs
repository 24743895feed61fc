//! Packages that are changed without a new signature.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use dau_package::member;

use super::members::Members;

/// A change to a package without a new signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// A digit of the manifest's rollback index.
    Manifest,
    /// A bit of the signature.
    Signature,
    /// A byte in the signer's certificate.
    Signer,
    /// A bit of the kernel.
    Kernel,
    /// A bit of the root filesystem.
    Rootfs,
    /// A digit of the MD5 file.
    Md5,
    /// The end is missing.
    Cut,
    /// A second manifest follows.
    Trailing,
}

/// Writes a tampered copy of a full package.
pub fn tamper(genuine: &Path, tampering: Tampering, output: &Path) -> Result<()> {
    let mut bytes = fs::read(genuine)?;
    let members = Members::of(&bytes)?;
    let middle = |range: Range<usize>| range.start + range.len() / 2;
    let payload = |name: &str| -> Result<usize> {
        let system = members.range(member::SYSTEM)?;
        let inner = Members::of(&bytes[system.clone()])?;
        Ok(system.start + middle(inner.range(name)?))
    };
    match tampering {
        Tampering::Manifest => {
            let range = members.range(member::MANIFEST)?;
            let at = find(&bytes[range.clone()], b"\"rollback_index\"")?;
            let digit = bytes[range.start + at..]
                .iter()
                .position(u8::is_ascii_digit);
            let digit = digit.context("the rollback index is a number")?;
            bytes[range.start + at + digit] ^= 1;
        }
        Tampering::Signature => {
            let at = middle(members.range(member::SIGNATURE)?);
            bytes[at] ^= 1;
        }
        Tampering::Signer => {
            let range = members.range(member::SIGNER)?;
            // In the middle of the first certificate's text, one letter for another.
            let at = range.start + range.len() / 4;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        }
        Tampering::Kernel => {
            let at = payload("kernel.itb")?;
            bytes[at] ^= 1;
        }
        Tampering::Rootfs => {
            let at = payload("rootfs.img.zst")?;
            bytes[at] ^= 1;
        }
        Tampering::Md5 => {
            let at = members.range(member::SYSTEM_MD5)?.start;
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        }
        Tampering::Cut => bytes.truncate(members.range(member::SYSTEM)?.end - 100_000),
        Tampering::Trailing => {
            let range = members.range(member::MANIFEST)?;
            let copy = bytes[range.start - 512..range.end].to_vec();
            bytes.extend(copy);
        }
    }
    fs::write(output, bytes).with_context(|| format!("cannot write {}", output.display()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Result<usize> {
    let found = bytes
        .windows(wanted.len())
        .position(|window| window == wanted);
    found.with_context(|| format!("'{}' is not there", String::from_utf8_lossy(wanted)))
}
