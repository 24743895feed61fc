//! Writes the members of a package.

use std::io::{self, Write};

use crate::blocks::{padded, BLOCK, BLOCKING, END};
use crate::container::header;
use crate::{member, Manifest};

/// Pads a member of `size` bytes to whole blocks.
pub(super) fn write_padding(output: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = [0; BLOCK as usize];
    let count = padded(size).saturating_sub(size) as usize;
    output.write_all(zeros.get(..count).unwrap_or_default())
}

/// Ends an archive.
pub(super) fn write_end(output: &mut impl Write) -> io::Result<()> {
    output.write_all(&[0; END as usize])
}

fn write_member(output: &mut impl Write, name: &str, content: &[u8], mtime: u64) -> io::Result<()> {
    let size = content.len() as u64;
    output.write_all(header(name, size, mtime)?.as_bytes())?;
    output.write_all(content)?;
    write_padding(output, size)
}

/// Writes the first three members, or only the manifest of an unsigned package.
pub(super) fn write_head(
    output: &mut impl Write,
    manifest_bytes: &[u8],
    signed: Option<(&[u8], &[u8])>,
    mtime: u64,
) -> io::Result<()> {
    write_member(output, member::MANIFEST, manifest_bytes, mtime)?;
    if let Some((signature, signer_pem)) = signed {
        write_member(output, member::SIGNATURE, signature, mtime)?;
        write_member(output, member::SIGNER, signer_pem, mtime)?;
    }
    Ok(())
}

/// Writes the members after the head; `copy` writes the bytes of `system.tar`.
pub(super) fn write_body<W: Write>(
    output: &mut W,
    manifest: &Manifest,
    mtime: u64,
    copy: impl FnOnce(&mut W) -> io::Result<u64>,
) -> io::Result<()> {
    let size = manifest.system.size;
    output.write_all(header(member::SYSTEM, size, mtime)?.as_bytes())?;
    let copied = copy(output)?;
    if copied != size {
        return Err(io::Error::other(format!(
            "system.tar changed while it was copied: {copied} bytes instead of {size}"
        )));
    }
    write_padding(output, size)?;
    let line = format!("{}  {}\n", manifest.system.md5, member::SYSTEM);
    write_member(output, member::SYSTEM_MD5, line.as_bytes(), mtime)?;
    write_end(output)
}

/// Puts arbitrary members together as in a package, for tests of refusals.
///
/// # Errors
/// A name or a size does not fit in a tar header.
pub fn assemble(members: &[(&str, &[u8])], created: i64) -> io::Result<Vec<u8>> {
    let mtime = u64::try_from(created).unwrap_or_default();
    let mut bytes = Vec::new();
    for (name, content) in members {
        write_member(&mut bytes, name, content, mtime)?;
    }
    write_end(&mut bytes)?;
    let end = bytes.len().next_multiple_of(BLOCKING as usize);
    bytes.resize(end, 0);
    Ok(bytes)
}
