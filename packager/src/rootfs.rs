use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use dau_package::ext4::{SuperBlock, SUPER_BLOCK_END};

use crate::parameters;
use crate::tool::tool;

/// Most lines of e2fsck's findings that are shown.
const SHOWN: usize = 10;

/// Refuses an image that terminals would refuse to install: one that is larger than their partition
/// (`room` in bytes, if known), is not ext4, has unsupported features, is damaged, or has
/// parameters that could not be restored.
pub fn check(image: &Path, room: Option<u64>) -> Result<()> {
    judge(image, room).with_context(|| format!("terminals cannot install {}", image.display()))
}

fn judge(image: &Path, room: Option<u64>) -> Result<()> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let mut start = Vec::new();
    file.take(SUPER_BLOCK_END as u64).read_to_end(&mut start)?;
    SuperBlock::parse(&start)?.check(size)?;
    if let Some(room) = room {
        ensure!(
            size <= room,
            "the image has {size} bytes, the partition {room}: make the image smaller, or the \
             partition larger on all terminals"
        );
    }
    e2fsck(image)?;
    parameters::check(image)
}

/// Checks the whole file system, changing nothing.
fn e2fsck(image: &Path) -> Result<()> {
    let output = tool("e2fsck")
        .args(["-f", "-n", "--"])
        .arg(image)
        .output()
        .context("cannot run e2fsck, which checks root filesystems: install e2fsprogs")?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let shown = lines.get(..SHOWN).unwrap_or(&lines).join("\n  ");
    bail!(
        "e2fsck finds it damaged ({}): run e2fsck -f on it, or make it again\n  {shown}",
        output.status
    )
}
