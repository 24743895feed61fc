//! What the packager is given: recognised by content, never by name.

use std::fs::File;
use std::io::{Chain, Cursor, Read};
use std::path::Path;

use super::MakeError;
use crate::PayloadType;

/// Bytes that suffice to recognise an image: an ext4 superblock ends here.
const PEEK: usize = 2048;
/// First bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// First bytes of a flattened device tree, and so of a FIT image.
const FIT_MAGIC: [u8; 4] = [0xD0, 0x0D, 0xFE, 0xED];

/// A root filesystem, uncompressed.
pub(super) struct Rootfs {
    pub payload_type: PayloadType,
    pub content: Chain<Cursor<Vec<u8>>, Box<dyn Read>>,
    /// Bytes of content, where the input's own size says so.
    pub size: Option<u64>,
    /// Bytes that the filesystem claims to have: an image with fewer was cut short.
    pub least: u64,
}

/// Opens a raw ext4 image or a tar, each as it is or compressed by zstd.
pub(super) fn open_rootfs(path: &Path) -> Result<Rootfs, MakeError> {
    let mut file = File::open(path).map_err(MakeError::io(path))?;
    let size = file.metadata().map_err(MakeError::io(path))?.len();
    let start = peek(&mut file, path, ZSTD_MAGIC.len())?;
    let compressed = start == ZSTD_MAGIC;
    let whole = Cursor::new(start).chain(file);
    let mut content: Box<dyn Read> = match compressed {
        true => Box::new(zstd::Decoder::new(whole).map_err(MakeError::io(path))?),
        false => Box::new(whole),
    };
    let start = peek(&mut content, path, PEEK)?;
    let (payload_type, least) = recognise(&start).ok_or_else(|| {
        MakeError::input(
            path,
            "neither an ext4 image nor a tar, plain or compressed by zstd",
        )
    })?;
    Ok(Rootfs {
        payload_type,
        content: Cursor::new(start).chain(content),
        size: (!compressed).then_some(size),
        least,
    })
}

/// The type of an image that starts like this, and the bytes it claims to have.
fn recognise(start: &[u8]) -> Option<(PayloadType, u64)> {
    // ext4's superblock is at 1024: block count at +4, block size as power of two over 1024 at +24, magic at +56.
    if start.get(1080..1082) == Some(&[0x53, 0xEF]) {
        let number = |at: usize| {
            let bytes = start.get(at..at + 4)?;
            Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        let (blocks, size) = (number(1028)?, number(1048)?);
        return (size <= 6).then(|| (PayloadType::RootfsImage, blocks << (10 + size)));
    }
    (start.get(257..262) == Some(b"ustar")).then_some((PayloadType::RootfsArchive, 0))
}

/// A kernel or RecoveryOS, and its size in bytes.
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
