//! A RecoveryOS that does not start.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::places::{repository, Places, NEW};
use crate::process::{run, tool};

/// The first bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Makes a FIT image like `genuine`, one of the images in `places`, with correct hashes, whose kernel
/// panics because there is no init.
pub fn recovery_without_init(genuine: &[u8], places: &Places, output: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let (fit, extracted, empty) = (
        folder.path().join("recovery.itb"),
        folder.path().join("extracted"),
        folder.path().join("initramfs"),
    );
    fs::write(&fit, genuine)?;
    run(tool("dumpimage")
        .args(["-T", "flat_dt", "-p", "0", "-o"])
        .arg(&extracted)
        .arg(&fit))?;
    // make-fit knows by the name how a kernel is packed.
    let gzip = fs::read(&extracted)?.starts_with(&GZIP);
    let kernel = folder.path().join(if gzip { "Image.gz" } else { "zImage" });
    fs::rename(&extracted, &kernel)?;
    fs::write(&empty, [0; 512])?;
    run(tool(repository().join("boot/make-fit"))
        .env("DAU_MACHINE", places.machine().name())
        .env("DAU_PRODUCT", places.product())
        .env("DAU_VERSION", NEW)
        .arg("broken")
        .arg(&kernel)
        .arg(output)
        .arg(&empty))?;
    Ok(())
}
