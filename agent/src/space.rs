//! Room on mnt.

use std::io;
use std::path::Path;

/// Free bytes on the file system that holds `path`, for programs without privileges.
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
