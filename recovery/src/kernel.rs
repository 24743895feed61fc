//! The two kernel slots on boot: writes, reads back and checks them.

use anyhow::{bail, Context, Result};
use dau_boot_state::slot::{self, holds, Image};
use dau_boot_state::{fit, kernel_name};
use dau_handoff::Layout;
use dau_model::Slot;

use crate::terminal::Terminal;
use crate::verify::{confirmed_kernels, Accepted};

/// Writes the kernel of a verified package to a slot and reads it back from the medium. Returns the
/// number of bytes written.
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
    slot::write(&terminal.boot, kernel_name(slot), &image, &mut || {
        terminal.failpoint.hit();
        (terminal.progress)();
    })?;
    Ok(kernel.len)
}

/// The state of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotFound {
    /// All its hashes are correct, and U-Boot did not refuse it.
    pub whole: bool,
    /// It holds the last confirmed kernel.
    pub confirmed: bool,
}

/// The kernel to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Boot the kernel in this slot.
    Boot(Slot),
    /// Write the confirmed kernel to this slot and boot it.
    Write(Slot),
}

/// Chooses a kernel other than the one in slot `bad`; `package`: whether the confirmed kernel can
/// be written.
pub fn choose(slots: [SlotFound; 2], bad: Option<Slot>, package: bool) -> Option<Choice> {
    let both = [Slot::A, Slot::B];
    let [a, b] = slots;
    let found = |slot: Slot| slot.of(a, b);
    let confirmed = both
        .into_iter()
        .find(|slot| found(*slot).whole && found(*slot).confirmed);
    if let Some(slot) = confirmed {
        return Some(Choice::Boot(slot));
    }
    let whole = both.into_iter().find(|slot| found(*slot).whole);
    if package {
        // Not over the bad one, whose medium may be at fault; rather over a broken one.
        let broken = both.into_iter().find(|slot| !found(*slot).whole);
        let target = bad.map(Slot::other).or(broken).unwrap_or(Slot::B);
        return Some(Choice::Write(target));
    }
    whole.map(Choice::Boot)
}

/// Inspects both slots. `refused`: the slot that U-Boot did not boot, whatever its hashes say.
pub fn inspect(
    terminal: &Terminal,
    confirmed: &[Accepted],
    refused: Option<Slot>,
) -> Result<[SlotFound; 2]> {
    let boot = terminal.boot.open_read_only()?;
    let look = |slot: Slot| -> Result<SlotFound> {
        let path = boot.path().join(kernel_name(slot));
        let whole = match fit::check(&path) {
            Ok(_) => refused != Some(slot),
            Err(error) => {
                log::warn!("{} {error}", kernel_name(slot));
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

/// Returns a slot with a bootable kernel: the preferred one if it is intact; else the slot of the
/// last confirmed kernel, which is written if necessary; else any intact one. A slot that U-Boot
/// refused is not used.
pub fn ensure_bootable(
    terminal: &Terminal,
    layout: Option<&Layout>,
    preferred: Option<Slot>,
    refused: Option<Slot>,
) -> Result<Slot> {
    if preferred.is_some() {
        let [a, b] = inspect(terminal, &[], refused)?;
        if let Some(slot) = preferred.filter(|slot| slot.of(a, b).whole) {
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
            "no kernel slot is whole, and no confirmed package carries a kernel: put the package \
             of the installed OS on \
             mnt as dau/packages/installed-kernel.dau"
        ),
    }
}

#[cfg(test)]
mod tests;
