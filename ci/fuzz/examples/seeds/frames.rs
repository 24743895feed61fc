//! Compressed root filesystems.

use std::path::Path;

use anyhow::Result;
use dau_package::frames::{SeekTable, FRAME_CONTENT};
use dau_rig::hostile;

use crate::images::ext4;
use crate::seed;

/// Makes the seeds from `full`, a package with a root filesystem of two frames.
pub fn seeds(full: &Path) -> Result<()> {
    let payload = hostile::payload(full, "rootfs.img.zst")?;
    for (name, size) in [
        ("two-frames", (FRAME_CONTENT + 8192) as u64),
        ("attack-image-of-any-size", u64::MAX),
    ] {
        seed("frames", name, [&size.to_le_bytes()[..], &payload].concat())?;
    }
    let image = ext4(12 << 10);
    let frame = zstd::bulk::compress(&image, 19)?;
    let mut table = SeekTable::new();
    table.push(frame.len(), image.len());
    let mut payload = [
        &(image.len() as u64).to_le_bytes()[..],
        &frame,
        &table.to_bytes(),
    ]
    .concat();
    seed("frames", "small-image", &payload)?;
    let last = payload.len() - 20;
    payload[last] ^= 0x40;
    seed("frames", "attack-table-of-another-image", payload)
}
