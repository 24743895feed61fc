//! The two kernel slots on boot: written, read back, judged.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::Slot;
use dau_handoff::Layout;
use dau_system::durable;
use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};

use crate::fit;
use crate::terminal::{Terminal, READ_ONLY};
use crate::verify::{confirmed_kernels, hex, Accepted};

const CHUNK: usize = 256 << 10;

/// Writes the kernel of a verified package to a slot and reads it back from the medium.
///
/// A slot at least as long as the image keeps its length, so that nothing of the FAT changes but the file's own data;
/// U-Boot goes by the size that the image itself states. Returns the bytes written.
pub fn write(terminal: &Terminal, package: &Accepted, slot: Slot) -> Result<u64> {
    let kernel = package
        .kernel()
        .context("the package carries no kernel although it was judged to")?;
    let boot = terminal.boot.open()?;
    let path = boot.path().join(slot.kernel_name());
    log::info!("writing {} ({} bytes)", slot.kernel_name(), kernel.len);
    let copied = copy(terminal, package, kernel.offset, kernel.len, &path);
    if let Err(error) = copied {
        // The slot is unused: a new file may help where the old one cannot be extended or overwritten.
        log::warn!("{error:#}; making {} anew", slot.kernel_name());
        terminal.cut.point();
        durable::remove(&path)?;
        copy(terminal, package, kernel.offset, kernel.len, &path)?;
    }
    // Unmounting drops what is cached: what is read next comes from the medium.
    boot.close()?;
    let boot = terminal.boot.open_with(READ_ONLY)?;
    let path = boot.path().join(slot.kernel_name());
    let same = holds(&path, kernel.len, &kernel.payload.image_sha256)?;
    ensure!(
        same,
        "{} reads back differently from what was written: the medium is failing",
        slot.kernel_name()
    );
    boot.close()?;
    Ok(kernel.len)
}

fn copy(terminal: &Terminal, package: &Accepted, offset: u64, len: u64, path: &Path) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(context)?;
    if file.metadata().with_context(context)?.len() < len {
        terminal.cut.point();
        file.set_len(len).with_context(context)?;
        file.sync_all().with_context(context)?;
        if let Some(folder) = path.parent() {
            durable::sync_directory(folder).with_context(context)?;
        }
    }
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(CHUNK as u64) as usize;
        package
            .file
            .read_exact_at(&mut buffer[..piece], offset + done)
            .context("cannot read the kernel in the package")?;
        terminal.cut.point();
        file.write_all_at(&buffer[..piece], done)
            .with_context(context)?;
        (terminal.progress)();
        done += piece as u64;
    }
    file.sync_all().with_context(context)
}

/// Whether the file begins with an image of this size and SHA-256; read from the medium as far as the system allows.
pub fn holds(path: &Path, size: u64, sha256: &str) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    };
    if file.metadata()?.len() < size {
        return Ok(false);
    }
    // Where a directory stands for the partition, nothing was unmounted. Clean pages go, and all are clean here.
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(hex(&fit::digest(&file, 0, size)?) == sha256)
}

/// What the slots hold: pure, so that the choice can be tested by table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotFound {
    /// Every hash in it holds, and U-Boot did not refuse it.
    pub whole: bool,
    /// It is the kernel that was confirmed last.
    pub confirmed: bool,
}

/// What to do about the kernel that boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Boot the kernel that stands in this slot.
    Boot(Slot),
    /// Write the confirmed kernel to this slot and boot it.
    Write(Slot),
}

/// Chooses where `bad` is known not to serve; `package`: the confirmed kernel can be written.
pub fn choose(slots: [SlotFound; 2], bad: Option<Slot>, package: bool) -> Option<Choice> {
    let both = [Slot::A, Slot::B];
    let found = |slot: Slot| slots[slot as usize];
    let confirmed = both
        .into_iter()
        .find(|slot| found(*slot).whole && found(*slot).confirmed);
    if let Some(slot) = confirmed {
        return Some(Choice::Boot(slot));
    }
    let whole = both.into_iter().find(|slot| found(*slot).whole);
    if package {
        // Not over the bad one: its medium may be the reason. Else over one that is of no use anyway.
        let broken = both.into_iter().find(|slot| !found(*slot).whole);
        let target = bad.map(Slot::other).or(broken).unwrap_or(Slot::B);
        return Some(Choice::Write(target));
    }
    whole.map(Choice::Boot)
}

/// Looks at both slots. `refused`: U-Boot would not boot it, whatever its hashes say.
pub fn inspect(
    terminal: &Terminal,
    confirmed: &[Accepted],
    refused: Option<Slot>,
) -> Result<[SlotFound; 2]> {
    let boot = terminal.boot.open_with(READ_ONLY)?;
    let look = |slot: Slot| -> Result<SlotFound> {
        let path = boot.path().join(slot.kernel_name());
        let whole = match fit::check(&path) {
            Ok(_) => refused != Some(slot),
            Err(error) => {
                log::warn!("{} {error}", slot.kernel_name());
                false
            }
        };
        let mut is_confirmed = false;
        for kernel in confirmed.iter().filter_map(|package| package.kernel()) {
            is_confirmed |= holds(&path, kernel.len, &kernel.payload.image_sha256)?;
        }
        Ok(SlotFound {
            whole,
            confirmed: is_confirmed,
        })
    };
    let found = [look(Slot::A)?, look(Slot::B)?];
    boot.close()?;
    Ok(found)
}

/// A slot whose kernel boots: the preferred one if it is whole; else one that holds the kernel confirmed last, written
/// there if need be; else any whole one. A slot that U-Boot refused is neither taken nor trusted.
pub fn ensure_bootable(
    terminal: &Terminal,
    layout: Option<&Layout>,
    preferred: Option<Slot>,
    refused: Option<Slot>,
) -> Result<Slot> {
    if preferred.is_some() {
        let slots = inspect(terminal, &[], refused)?;
        if let Some(slot) = preferred.filter(|slot| slots[*slot as usize].whole) {
            return Ok(slot);
        }
    }
    let confirmed = layout.map_or_else(Vec::new, |layout| confirmed_kernels(terminal, layout));
    let slots = inspect(terminal, &confirmed, refused)?;
    match choose(slots, refused.or(preferred), !confirmed.is_empty()) {
        Some(Choice::Boot(slot)) => Ok(slot),
        Some(Choice::Write(slot)) => {
            let package = confirmed.first().context("no package carries a kernel")?;
            write(terminal, package, slot)?;
            Ok(slot)
        }
        None => bail!(
            "no kernel slot is whole, and no confirmed package carries a kernel: put the package of the installed OS on \
             mnt as dau/packages/installed-kernel.dau"
        ),
    }
}

#[cfg(test)]
mod tests;
