//! Media that fail while the normal OS runs.

use anyhow::{ensure, Context, Result};
use dau_boot_state::{BootState, COPY_NAMES};
use dau_rig::places::{NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::fault::{Access, Fault, BLOCK, SECTOR};
use dau_system::{BOOT_LABEL, MNT_LABEL};

use super::steps::{ended, goes_through, restart, takes_no_writes};
use crate::scenarios::expect::{self, Kind};

pub(super) fn boot_takes_no_writes(site: &mut Site) -> Result<()> {
    let faults = takes_no_writes(site, BOOT_LABEL, SECTOR)?;
    restart(site, vec![faults])?;
    site.wait_for_version(OLD)?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "boot")?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    restart(site, Vec::new())?;
    site.wait_for_version(OLD)?;
    site.power_cut();
    expect::untouched(site)?;
    restart(site, Vec::new())
}

pub(super) fn mnt_takes_no_writes(site: &mut Site) -> Result<()> {
    let faults = takes_no_writes(site, MNT_LABEL, BLOCK)?;
    restart(site, vec![faults])?;
    site.wait_for_version(OLD)?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "refused", "refused")?;
    ensure!(
        view.message.contains("cannot be kept"),
        "job {job} says: {}",
        view.message
    );
    site.power_cut();
    expect::untouched(site)?;
    restart(site, Vec::new())
}

pub(super) fn mnt_full(site: &mut Site) -> Result<()> {
    let shell = site.terminal.shell()?;
    // dd fails once the disk is full.
    shell.run("! dd if=/dev/zero of=/mnt/full bs=1M && sync")?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    // The space that dd left may suffice for the job's file, but never for the package.
    let word = match view.message.contains("No space left") {
        true => "refused",
        false => "no-space",
    };
    ended(site, &view, "refused", word)?;
    site.power_cut();
    expect::untouched(site)?;
    restart(site, Vec::new())?;
    site.terminal.shell()?.run("rm /mnt/full && sync")?;
    let job = site.order(NEW, "kernel")?;
    goes_through(site, job, Kind::Kernel)
}

pub(super) fn boot_destroyed(site: &mut Site) -> Result<()> {
    let destroy = "dd if=/dev/zero of=$(findfs LABEL=boot) bs=1M count=4 && sync";
    site.terminal.shell()?.run(destroy)?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "boot")?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

pub(super) fn clock_jumps(site: &mut Site) -> Result<()> {
    site.power_cut();
    // After the end of every certificate.
    site.terminal.set_clock(Some("2090-01-01T00:00:00"));
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()?;
    let year = site.terminal.shell()?.run("date +%Y")?;
    ensure!(year.trim() == "2090", "the clock says {year}");
    // The agent has run for a minute and is shut down cleanly, so it had the chance to save that
    // time.
    site.terminal.shut_down()?;
    site.terminal.set_clock(None);
    site.terminal.power_on()?;
    site.wait_for_version(OLD)?;
    let year = site.terminal.shell()?.run("date +%Y")?;
    ensure!(year.trim() != "2090", "the clock still says {year}");
    Ok(())
}

pub(super) fn state_copy_unreadable(site: &mut Site) -> Result<()> {
    site.power_cut();
    // The copy that the next write replaces.
    let disk = site.terminal.disk()?;
    let counts = disk.boot_state()?;
    let mut older = None;
    for name in COPY_NAMES {
        let bytes = disk.boot_file(name)?.unwrap_or_default();
        if BootState::decode(&bytes).ok().as_ref() != Some(&counts) {
            older = Some(name);
        }
    }
    let older = older.context("one copy does not count")?;
    let extents = disk.boot_extents(older)?;
    let faults = extents
        .into_iter()
        .map(|extent| Fault::all_of(extent, SECTOR, Access::Read));
    let faults = faults.collect();
    restart(site, faults)?;
    site.wait_for_version(OLD)?;
    let job = site.order(NEW, "kernel")?;
    goes_through(site, job, Kind::Kernel)
}
