//! Writing the members of a package.

use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::manifest::{padded, BLOCK};
use crate::{member, Manifest};

/// The header of a member: a plain ustar one without owner, so that equal packages have equal bytes.
pub(super) fn header(name: &str, size: u64, mtime: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// Fills up a member of `size` bytes to whole blocks.
pub(super) fn write_padding(output: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = [0; BLOCK as usize];
    output.write_all(&zeros[..(padded(size) - size) as usize])
}

/// Ends an archive.
pub(super) fn write_end(output: &mut impl Write) -> io::Result<()> {
    output.write_all(&[0; 2 * BLOCK as usize])
}

fn write_member(output: &mut impl Write, name: &str, content: &[u8], mtime: u64) -> io::Result<()> {
    let size = content.len() as u64;
    output.write_all(header(name, size, mtime)?.as_bytes())?;
    output.write_all(content)?;
    write_padding(output, size)
}

/// The first three members, or just the manifest of a package that is not signed yet.
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

/// The members after the head; `copy` writes the bytes of `system.tar`.
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
