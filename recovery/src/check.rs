//! Check mode: the first and only boot of a new RecoveryOS before it is in charge. It looks at all that it would work with,
//! changes nothing, and takes charge in one write of the boot state. See docs/adr for why.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::slot::READ_ONLY;
use dau_boot_state::{fit, Slot};
use dau_handoff::Layout;
use dau_package::{Head, Keyring, MAX_HEAD};
use dau_system::volume::Volume;

use crate::terminal::Terminal;
use crate::{commit, console};

/// What a run of RecoveryOS calls.
const TOOLS: [&str; 3] = ["e2fsck", "resize2fs", "mkfs.ext4"];

/// Checks this RecoveryOS and, if all holds, puts it in charge.
///
/// # Errors
/// Whatever keeps it from doing its work: it is then not in charge.
pub fn run(terminal: &Terminal) -> Result<()> {
    log::info!(
        "check mode: RecoveryOS {} of slot {}",
        terminal.release.version,
        terminal.recovery.map_or("?", Slot::recovery_name)
    );
    let slot = terminal
        .recovery
        .context("the bootloader does not say which slot this is")?;
    terminal.wait_for_partitions()?;
    ensure!(
        !terminal.release.product.is_empty() && !terminal.release.version.is_empty(),
        "its os-release names no product or no version"
    );
    let keyring = Keyring::load(&terminal.keyring)?;
    if let Volume::Partition { .. } = terminal.boot {
        tools()?;
    }
    terminal.rootfs.size()?;
    look(&terminal.rootfs_files, "rootfs", |_| Ok(()))?;
    look(&terminal.mnt, "mnt", |path| {
        way_back(terminal, &keyring, path)
    })?;
    look(&terminal.boot, "boot", |path| {
        fit::check(&path.join(slot.recovery_name()))
            .map(|_| ())
            .with_context(|| format!("{}, which runs,", slot.recovery_name()))
    })?;
    let state = commit::load(terminal)?;
    match state {
        Some(state) if state.upgrade || state.trial || state.check => {
            bail!("the boot state says that something else is to be done: {state:?}")
        }
        Some(_) => {}
        None => bail!("no copy of the boot state is valid"),
    }
    commit::save(terminal, |state| state.in_charge(slot))?;
    log::info!("this RecoveryOS is in charge now");
    Ok(())
}

/// The package for the way back must be one that this RecoveryOS would put back: with another keyring or product it would
/// leave the terminal without any. A terminal without that package has no way back anyhow.
fn way_back(terminal: &Terminal, keyring: &Keyring, mnt: &Path) -> Result<()> {
    let path = Layout::new(mnt).installed();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot open installed.dau"),
    };
    let mut prefix = Vec::new();
    file.take(MAX_HEAD as u64)
        .read_to_end(&mut prefix)
        .context("cannot read installed.dau")?;
    let head = Head::parse(&prefix)
        .and_then(|head| match head {
            Some(head) => head.verify(keyring).map(|_| Some(head)),
            None => Ok(None),
        })
        .context("installed.dau would not be put back")?
        .context("installed.dau is torn")?;
    ensure!(
        head.manifest.product == terminal.release.product,
        "it is for {}, the terminal has {} installed",
        terminal.release.product,
        head.manifest.product
    );
    Ok(())
}

/// Mounts for reading, looks, unmounts.
fn look(volume: &Volume, name: &str, inside: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let opened = volume
        .open_with(READ_ONLY)
        .with_context(|| format!("partition {name}"))?;
    let seen = inside(opened.path());
    opened.close()?;
    seen
}

fn tools() -> Result<()> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    for tool in TOOLS {
        let found = std::env::split_paths(&folders).any(|folder| folder.join(tool).exists());
        ensure!(found, "{tool} is missing in its image");
    }
    Ok(())
}

/// The log is kept on mnt in the end, where that takes writes; it decides nothing.
pub fn keep_log(terminal: &Terminal) {
    let Ok(opened) = terminal.mnt.open() else {
        return;
    };
    console::keep_in(&Layout::new(opened.path()).logs());
    console::keep_in_memory();
    if let Err(error) = opened.close() {
        log::warn!("{error}");
    }
}
