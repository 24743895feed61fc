//! Room on mnt and on rootfs.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use dau_system::partitions::find_by_label;
use dau_system::ROOTFS_LABEL;

/// Returns the bytes free on the file system that holds `path`, for programs without privileges.
pub fn free(path: &Path) -> io::Result<u64> {
    let status = nix::sys::statvfs::statvfs(path)?;
    // The fields' widths differ between targets.
    #[allow(clippy::unnecessary_cast)]
    let (blocks, size) = (
        status.blocks_available() as u64,
        status.fragment_size() as u64,
    );
    Ok(blocks.saturating_mul(size))
}

/// Returns the size in bytes of the partition that holds the root filesystem: `device`, or the one
/// with its label.
pub fn partition(device: Option<&Path>) -> io::Result<u64> {
    let path = match device {
        Some(device) => device.to_owned(),
        None => find_by_label(ROOTFS_LABEL).map_err(io::Error::other)?,
    };
    File::open(path)?.seek(SeekFrom::End(0))
}
