//! Media that fail while RecoveryOS works.

use anyhow::{ensure, Context, Result};
use dau_boot_state::COPY_NAMES;
use dau_handoff::{Layout, MNT};
use dau_rig::disk::Handoff;
use dau_rig::hostile;
use dau_rig::places::{NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::fault::{Access, Fault, BLOCK};
use dau_rig::terminal::line;
use dau_system::{MNT_LABEL, ROOTFS_LABEL};

use super::steps::{ended, goes_through, restart};
use crate::scenarios::expect::{self, Kind};

/// Finds a block in the middle of both versions' root filesystems whose old and new bytes `wanted`
/// accepts.
fn rootfs_block(site: &mut Site, wanted: fn(&[u8], &[u8]) -> bool) -> Result<u64> {
    site.power_cut();
    let new = hostile::rootfs_image(&site.places.package(NEW, "rootfs"))?;
    let disk = site.terminal.disk()?;
    let old = disk.read(ROOTFS_LABEL, new.len() as u64)?;
    let block = BLOCK as usize;
    let blocks = old.chunks(block).zip(new.chunks(block)).enumerate();
    let number = blocks
        .skip(new.len() / block / 4)
        .find(|(_, (old, new))| wanted(old, new))
        .context("there is no such block")?
        .0;
    Ok(disk.partition(ROOTFS_LABEL)?.start + number as u64 * BLOCK)
}

pub(super) fn rootfs_unreadable(site: &mut Site) -> Result<()> {
    // A block of no file, so the normal OS does not read it.
    let block = rootfs_block(site, |old, new| {
        old.iter().chain(new).all(|byte| *byte == 0)
    })?;
    let mut mark = site.terminal.console().mark();
    restart(
        site,
        vec![Fault {
            access: Access::Read,
            once: true,
            sectors: vec![block],
        }],
    )?;
    let job = site.order(NEW, "rootfs")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.wait_for_line(&mut mark, "cannot read the root filesystem at byte")?;
    goes_through(site, job, Kind::Rootfs)
}

pub(super) fn rootfs_unwritable(site: &mut Site) -> Result<()> {
    let block = rootfs_block(site, |old, new| old != new)?;
    restart(
        site,
        vec![Fault {
            access: Access::Write,
            once: false,
            sectors: vec![block],
        }],
    )?;
    let job = site.order(NEW, "rootfs")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "install-failed")?;
    ensure!(
        view.message.contains("cannot write the root filesystem"),
        "job {job} says: {}",
        view.message
    );
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

pub(super) fn half_job(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "rootfs")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.wait_for_line(&mut mark, line::ROOTFS_WRITTEN)?;
    site.power_cut();
    let disk = site.terminal.disk()?;
    ensure!(disk.boot_state()?.upgrade, "it is committed already");
    let layout = Layout::new(MNT.as_ref());
    let path = Handoff::inside(&layout.job())?;
    disk.change_ext4(MNT_LABEL, |mnt| {
        let whole = mnt.read(&path)?.context("there is a job")?;
        mnt.write(&path, &whole[..whole.len() / 2], "0100600")
    })?;
    site.terminal.power_on()?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "unknown-to-terminal")?;
    site.power_cut();
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        !state.upgrade && !state.trial,
        "the boot state is {state:?}"
    );
    let aside = Handoff::inside(&layout.job().with_extension("damaged"))?;
    ensure!(
        disk.ext4(MNT_LABEL)?.exists(&aside)?,
        "the damaged job is not put aside"
    );
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

pub(super) fn states_and_mnt_destroyed(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "kernel")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.power_cut();
    let disk = site.terminal.disk()?;
    ensure!(disk.boot_state()?.upgrade, "the flag is not set");
    for name in COPY_NAMES {
        for extent in disk.boot_extents(name)? {
            disk.blank(extent.start, extent.size)?;
        }
    }
    disk.boot_state().err().context("a copy is still valid")?;
    // ext4's super block lies in the second KiB, its group descriptors in the next block.
    disk.blank(disk.partition(MNT_LABEL)?.start, 2 * BLOCK)?;
    site.terminal.power_on()?;
    let said = site.wait_for_line(&mut mark, line::RECOVERY)?;
    ensure!(said.contains("no-state"), "the console says: {said}");
    goes_through(site, job, Kind::Kernel)
}
