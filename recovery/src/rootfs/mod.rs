//! The root filesystem: written in place, read back, grown, checked.

pub mod blocks;
pub mod device;
pub mod ext4;
pub mod image;
pub mod pass;
pub mod survey;

use anyhow::{Context, Result};

use crate::terminal::Terminal;
use crate::verify::Accepted;

/// Writes the root filesystem of a verified package. Returns the bytes written to the medium.
pub fn write(terminal: &Terminal, package: &Accepted) -> Result<u64> {
    let rootfs = package
        .rootfs()
        .context("the package carries no root filesystem although it was judged to")?;
    let survey = package
        .survey
        .as_ref()
        .context("the root filesystem was not compared with the medium")?;
    let path = terminal.rootfs.path()?;
    let written = image::write(
        &package.file,
        rootfs,
        survey,
        &path,
        pass::WORKERS,
        &terminal.failpoint,
        terminal.progress,
    )?;
    log::info!(
        "rootfs: {} of {} bytes differed and were written",
        written,
        rootfs.payload.image_size
    );
    terminal.failpoint.hit();
    ext4::grow(&path)?;
    ext4::check(&path)?;
    Ok(written)
}
