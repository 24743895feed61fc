//! The power goes: QEMU is killed, nothing is flushed, and what was on its way is lost.

use anyhow::{ensure, Result};
use dau_boot_state::Slot;

use super::expect::{self, Kind};
use super::{Case, Suite};
use crate::disk::Disk;
use crate::places::{NEW, OLD};
use crate::site::Site;
use crate::terminal::line;

/// Bytes a second while a moment in the middle of writing is waited for: an emulated disk is too fast to be met.
const SLOW: u64 = 8 << 20;

/// What RecoveryOS prints when it begins to write.
pub mod step {
    /// The kernel slot.
    pub const KERNEL: &str = "write-kernel";
    /// The root filesystem.
    pub const ROOTFS: &str = "write-rootfs";
}

pub const ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-rootfs",
        about: "power goes while the root filesystem is written; the next power-on finishes",
        run: |site| cut_while_writing(site, step::ROOTFS, half_written_rootfs),
    }],
};

pub const KERNEL: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-kernel-slot",
        about: "power goes while the kernel slot is written; the next power-on finishes",
        run: |site| cut_while_writing(site, step::KERNEL, half_written_kernel),
    }],
};

pub const BEFORE_REPORT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-after-commit",
        about: "power goes between commit and report; exactly one result arrives",
        run: after_commit,
    }],
};

pub const UNACKNOWLEDGED: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-before-acknowledgement",
        about: "power goes after the result was sent and before the station took it; exactly one is recorded",
        run: before_acknowledgement,
    }],
};

fn cut_while_writing(
    site: &mut Site,
    step: &str,
    half_written: fn(&Site, &Disk) -> Result<bool>,
) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.terminal.slow_disk(SLOW)?;
    site.wait_for_line(&mut mark, step)?;
    // Not every kill meets half a write: the moment is chosen anew until it does.
    let mut met = false;
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        site.power_cut();
        let disk = site.terminal.disk()?;
        let state = disk.boot_state()?;
        ensure!(
            state.upgrade,
            "the flag is gone before the commit: {state:?}"
        );
        met = half_written(site, disk)?;
        site.terminal.power_on()?;
        if met {
            break;
        }
        site.wait_for_line(&mut mark, line::RECOVERY)?;
        site.terminal.slow_disk(SLOW)?;
        site.wait_for_line(&mut mark, step)?;
    }
    ensure!(met, "no cut met the middle of {step}");
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    finish(site, job)
}

/// Part of the kernel slot is the new kernel, part is not.
fn half_written_kernel(site: &Site, disk: &Disk) -> Result<bool> {
    let new = site.payload(NEW, "full", "kernel.itb")?;
    let found = disk.boot_file(Slot::B.kernel_name())?.unwrap_or_default();
    Ok(found != new
        && disk.boot_file(Slot::A.kernel_name())?
            == site.places.image(OLD).boot_file(Slot::A.kernel_name())?)
}

/// Some blocks of the root filesystem are the old OS's and some the new one's.
fn half_written_rootfs(site: &Site, disk: &Disk) -> Result<bool> {
    const BLOCK: usize = 4096;
    let old = crate::hostile::rootfs_image(&site.places.package(OLD, "full"))?;
    let new = crate::hostile::rootfs_image(&site.places.package(NEW, "full"))?;
    let found = disk.read(dau_system::ROOTFS_LABEL, new.len().min(old.len()) as u64)?;
    let (mut still_old, mut already_new) = (0, 0);
    for ((found, old), new) in found
        .chunks(BLOCK)
        .zip(old.chunks(BLOCK))
        .zip(new.chunks(BLOCK))
    {
        if old != new {
            still_old += usize::from(found == old);
            already_new += usize::from(found == new);
        }
    }
    Ok(still_old > 0 && already_new > 0)
}

fn after_commit(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.wait_for_line(&mut mark, line::NORMAL)?;
    site.power_cut();
    let state = site.terminal.disk()?.boot_state()?;
    ensure!(
        state.trial && !state.upgrade && state.kernel == Slot::B,
        "not committed: {state:?}"
    );
    let view = site.station.job(job)?;
    ensure!(
        view.outcome.is_none(),
        "reported before the new OS ran: {view:?}"
    );
    site.terminal.power_on()?;
    finish(site, job)
}

fn before_acknowledgement(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let heard = site.mqtt().listen(crate::site::TERMINAL)?;
    let job = site.order(NEW, "rootfs")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.station.kill();
    heard.wait("a result on MQTT", crate::terminal::limit::JOB, |message| {
        message.message_type == dau_protocol::message_type::JOB_RESULT
    })?;
    site.power_cut();
    site.station.start_again()?;
    site.terminal.power_on()?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Rootfs)?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Rootfs)
}

/// What follows is a full upgrade like any other.
fn finish(site: &mut Site, job: i64) -> Result<()> {
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Full)?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Full)
}
