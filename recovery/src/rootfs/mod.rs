//! The root filesystem: written where it stands, read back, grown, checked.

pub mod archive;
pub mod device;
pub mod ext4;
pub mod image;

use anyhow::{Context, Result};
use dau_package::PayloadType;

use crate::terminal::Terminal;
use crate::verify::Accepted;

/// Writes the root filesystem of a verified package. Returns the bytes written to the medium.
pub fn write(terminal: &Terminal, package: &Accepted) -> Result<u64> {
    let rootfs = package
        .rootfs()
        .context("the package carries no root filesystem although it was judged to")?;
    let path = terminal.rootfs.path()?;
    match rootfs.payload.payload_type {
        PayloadType::RootfsArchive => archive::write(terminal, package, rootfs, &path),
        _ => {
            let written = image::write(
                &package.file,
                rootfs,
                &path,
                image::WORKERS,
                &terminal.cut,
                terminal.progress,
            )?;
            log::info!(
                "rootfs: {} of {} bytes differed and were written",
                written,
                rootfs.payload.image_size
            );
            terminal.cut.point();
            ext4::grow(&path)?;
            ext4::check(&path)?;
            Ok(written)
        }
    }
}
