//! Check mode: the first boot of a new RecoveryOS, before it is in charge. It checks everything it
//! needs for its work, changes nothing, and takes charge in one write of the boot state. See
//! docs/adr for why.

use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::{fit, recovery_name};
use dau_handoff::Layout;
use dau_package::{Head, Keyring, PackageError};
use dau_system::volume::Volume;

use crate::terminal::Terminal;
use crate::{boot, console};

/// Programs that RecoveryOS runs.
const TOOLS: [&str; 2] = ["e2fsck", "resize2fs"];

/// Checks this RecoveryOS and, if all is well, puts it in charge.
///
/// # Errors
/// The fault that would keep it from its work; it is then not in charge.
pub fn run(terminal: &Terminal) -> Result<()> {
    log::info!(
        "check mode: RecoveryOS {} of slot {}",
        terminal.release.version,
        terminal.recovery.map_or("?", recovery_name)
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
        fit::check(&path.join(recovery_name(slot)))
            .map(|_| ())
            .with_context(|| format!("{}, which runs,", recovery_name(slot)))
    })?;
    let state = boot::load(terminal)?;
    match state {
        Some(state) if state.upgrade || state.trial || state.check => {
            bail!("the boot state says that something else is to be done: {state:?}")
        }
        Some(_) => {}
        None => bail!("no copy of the boot state is valid"),
    }
    boot::save(terminal, |state| state.in_charge(slot))?;
    log::info!("this RecoveryOS is in charge now");
    Ok(())
}

/// Checks that this RecoveryOS would reinstall the packages for a rollback: with another keyring or
/// product, or if it did not know a package's form, it would leave the terminal without any. A terminal
/// without them, or whose packages are damaged behind their heads, cannot be rolled back anyway.
fn way_back(terminal: &Terminal, keyring: &Keyring, mnt: &Path) -> Result<()> {
    let layout = Layout::new(mnt);
    for path in [layout.installed(), layout.installed_kernel()] {
        would_take(terminal, keyring, &path)
            .with_context(|| format!("{} would not be put back", path.display()))?;
    }
    Ok(())
}

fn would_take(terminal: &Terminal, keyring: &Keyring, path: &Path) -> Result<()> {
    let file = match dau_system::durable::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("it cannot be opened"),
    };
    let head = Head::read_from(&file)?;
    head.verify(keyring)?;
    match dau_package::form_of(&file) {
        Err(error @ PackageError::UnexpectedMember { .. }) => {
            return Err(error).context("its form is unknown")
        }
        Err(error) => log::warn!("{} is damaged: {error}", path.display()),
        Ok(_) => {}
    }
    ensure!(
        head.manifest.product == terminal.release.product,
        "it is for {}, this RecoveryOS for {}",
        head.manifest.product,
        terminal.release.product,
    );
    Ok(())
}

/// Mounts read-only, calls `inside`, unmounts.
fn look(volume: &Volume, name: &str, inside: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let opened = volume
        .open_read_only()
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

/// Saves the log on mnt, if mnt can be written; nothing depends on it.
pub fn keep_log(terminal: &Terminal) {
    let Ok(opened) = terminal.mnt.open() else {
        return;
    };
    console::keep_in(&Layout::new(opened.path()));
    console::keep_in_memory();
    if let Err(error) = opened.close() {
        log::warn!("{error}");
    }
}
