//! The two kernel slots on boot: written, read back, judged.

use anyhow::{bail, Context, Result};
use dau_boot_state::slot::{self, holds, Image, READ_ONLY};
use dau_boot_state::{fit, Slot};
use dau_handoff::Layout;

use crate::terminal::Terminal;
use crate::verify::{confirmed_kernels, Accepted};

/// Writes the kernel of a verified package to a slot and reads it back from the medium. Returns the bytes written.
pub fn write(terminal: &Terminal, package: &Accepted, slot: Slot) -> Result<u64> {
    let kernel = package
        .kernel()
        .context("the package carries no kernel although it was judged to")?;
    let image = Image {
        file: &package.file,
        offset: kernel.offset,
        len: kernel.len,
        sha256: &kernel.payload.image_sha256,
    };
    slot::write(&terminal.boot, slot.kernel_name(), &image, &mut || {
        terminal.cut.point();
        (terminal.progress)();
    })?;
    Ok(kernel.len)
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
