//! Runs e2fsprogs on the root filesystem's device.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};

/// Grows the file system to the device.
pub fn grow(device: &Path) -> Result<()> {
    if run("resize2fs", &[], device)? == 0 {
        return Ok(());
    }
    // resize2fs refuses file systems that were mounted since the last check.
    mend(device)?;
    let status = run("resize2fs", &[], device)?;
    ensure!(status == 0, "resize2fs ended with status {status}");
    Ok(())
}

/// Checks the whole file system, changing nothing.
pub fn check(device: &Path) -> Result<()> {
    let status = run("e2fsck", &["-f", "-n"], device)?;
    ensure!(
        status == 0,
        "e2fsck finds the root filesystem damaged (status {status}): the package was built from a \
         damaged image"
    );
    Ok(())
}

/// Repairs safely; an error if more is wrong.
pub fn mend(device: &Path) -> Result<()> {
    // 1: errors were corrected; 2: it must not be mounted, which is so here.
    match run("e2fsck", &["-f", "-p"], device)? {
        0..=3 => Ok(()),
        status => bail!("e2fsck cannot mend {} (status {status})", device.display()),
    }
}

/// Repairs at any price: unrecoverable data are given up.
pub fn mend_at_any_price(device: &Path) -> Result<()> {
    match run("e2fsck", &["-f", "-y"], device)? {
        0..=3 => Ok(()),
        status => bail!("e2fsck cannot mend {} (status {status})", device.display()),
    }
}

/// Runs a tool on a device; its output goes to the log.
fn run(tool: &str, options: &[&str], device: &Path) -> Result<i32> {
    let output = Command::new(tool)
        .args(options)
        .arg(device)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    for line in String::from_utf8_lossy(&output.stdout)
        .lines()
        .chain(String::from_utf8_lossy(&output.stderr).lines())
        .filter(|line| !line.trim().is_empty())
    {
        log::info!("{tool}: {}", line.trim());
    }
    output
        .status
        .code()
        .with_context(|| format!("{tool} was killed: {}", output.status))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The second sector of the super block; with metadata_csum it holds the checksum of both.
    const SECOND_SECTOR: std::ops::Range<usize> = 1536..2048;

    #[test]
    fn a_super_block_torn_between_its_sectors_is_still_one() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("rootfs");
        fs::write(&device, vec![0; 16 << 20]).unwrap();
        // As boot/make-ext4: see docs/adr/0007.
        let options = ["-q", "-F", "-b", "4096", "-O", "^metadata_csum,uninit_bg"];
        assert_eq!(run("mkfs.ext4", &options, &device).unwrap(), 0);
        let before = fs::read(&device).unwrap();
        assert_eq!(run("tune2fs", &["-L", "torn"], &device).unwrap(), 0);
        let mut after = fs::read(&device).unwrap();
        assert_ne!(before[1024..1536], after[1024..1536]);
        after[SECOND_SECTOR].copy_from_slice(&before[SECOND_SECTOR]);
        fs::write(&device, after).unwrap();
        check(&device).unwrap();
    }
}
