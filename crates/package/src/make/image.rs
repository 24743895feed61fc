//! The packager's inputs, recognised by content, never by name.

use std::fs::File;
use std::io::{Chain, Cursor, Read};
use std::path::Path;

use super::MakeError;
use crate::ext4::{SuperBlock, SUPER_BLOCK_END};

/// First bytes of a flattened device tree, and so of a FIT image.
const FIT_MAGIC: [u8; 4] = [0xD0, 0x0D, 0xFE, 0xED];

/// A root filesystem with its size in bytes.
pub(super) struct Rootfs {
    pub content: Chain<Cursor<Vec<u8>>, File>,
    pub size: u64,
}

/// Opens a raw ext4 image after checking that terminals can install it, as far as its super block
/// shows.
pub(super) fn open_rootfs(path: &Path) -> Result<Rootfs, MakeError> {
    let mut file = File::open(path).map_err(MakeError::io(path))?;
    let size = file.metadata().map_err(MakeError::io(path))?.len();
    let start = peek(&mut file, path, SUPER_BLOCK_END)?;
    SuperBlock::parse(&start)
        .and_then(|found| found.check(size))
        .map_err(|error| MakeError::input(path, error.to_string()))?;
    Ok(Rootfs {
        content: Cursor::new(start).chain(file),
        size,
    })
}

/// A kernel or RecoveryOS with its size in bytes.
pub(super) struct Fit {
    pub content: Chain<Cursor<Vec<u8>>, File>,
    pub size: u64,
}

/// Opens a FIT image.
pub(super) fn open_fit(path: &Path) -> Result<Fit, MakeError> {
    let mut file = File::open(path).map_err(MakeError::io(path))?;
    let size = file.metadata().map_err(MakeError::io(path))?.len();
    let start = peek(&mut file, path, 8)?;
    let (magic, total) = start.split_at(start.len().min(4));
    let total = total.try_into().map(u32::from_be_bytes);
    match total {
        Ok(total) if magic == FIT_MAGIC && u64::from(total) <= size => Ok(Fit {
            content: Cursor::new(start).chain(file),
            size,
        }),
        Ok(_) if magic == FIT_MAGIC => {
            Err(MakeError::input(path, "a FIT image that was cut short"))
        }
        _ => Err(MakeError::input(
            path,
            "not a FIT image (make one with mkimage -f)",
        )),
    }
}

fn peek(input: &mut impl Read, path: &Path, count: usize) -> Result<Vec<u8>, MakeError> {
    let mut start = Vec::with_capacity(count);
    input
        .take(count as u64)
        .read_to_end(&mut start)
        .map_err(MakeError::io(path))?;
    Ok(start)
}
