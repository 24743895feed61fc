//! The power goes: QEMU is killed, nothing is flushed, and what was on its way is lost.

use std::time::Duration;

use anyhow::{ensure, Result};
use dau_boot_state::Slot;

use super::expect::{self, Kind};
use super::{Case, Suite};
use crate::disk::Disk;
use crate::hostile;
use crate::places::{NEW, OLD};
use crate::site::Site;
use crate::terminal::line;

/// A moment in the middle of writing. An emulated disk is too fast for it to be met, so it is slowed down.
struct Moment {
    /// What RecoveryOS prints when it begins to write.
    begins: &'static str,
    /// Bytes a second.
    speed: u64,
    /// Whether the disk shows that a write was cut in two.
    half_written: fn(&Site, &Disk) -> Result<bool>,
}

const IN_KERNEL: Moment = Moment {
    begins: line::WRITING_KERNEL,
    speed: 1 << 20,
    half_written: half_written_kernel,
};

const IN_ROOTFS: Moment = Moment {
    begins: line::KERNEL_WRITTEN,
    speed: 1 << 20,
    half_written: half_written_rootfs,
};

/// From the begin of writing to the cut.
const WRITING: Duration = Duration::from_millis(1500);
/// Cuts that may miss the middle.
const TRIES: u32 = 5;

pub const ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-rootfs",
        about: "power goes while the root filesystem is written; the next power-on finishes",
        run: |site| cut_while_writing(site, &IN_ROOTFS),
    }],
};

pub const KERNEL: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-kernel-slot",
        about: "power goes while the kernel slot is written; the next power-on finishes",
        run: |site| cut_while_writing(site, &IN_KERNEL),
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

fn cut_while_writing(site: &mut Site, moment: &Moment) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    let mut met = false;
    // Not every cut meets half a write: the moment is chosen anew until one does.
    for _ in 0..TRIES {
        site.wait_for_line(&mut mark, line::RECOVERY)?;
        site.terminal.slow_disk(moment.speed)?;
        site.wait_for_line(&mut mark, moment.begins)?;
        std::thread::sleep(WRITING);
        site.power_cut();
        let disk = site.terminal.disk()?;
        let state = disk.boot_state()?;
        ensure!(
            state.upgrade,
            "the flag is gone although the job is not done: {state:?}"
        );
        met = (moment.half_written)(site, disk)?;
        site.terminal.power_on()?;
        if met {
            break;
        }
    }
    ensure!(
        met,
        "none of {TRIES} cuts met the middle of the writing that begins with '{}'",
        moment.begins
    );
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    finish(site, job)
}

/// Some blocks of the kernel slot are the old kernel's and some the new one's.
fn half_written_kernel(site: &Site, disk: &Disk) -> Result<bool> {
    let slot = Slot::B.kernel_name();
    let old = site.places.image(OLD).boot_file(slot)?.unwrap_or_default();
    let new = site.payload(NEW, "full", "kernel.itb")?;
    Ok(is_mixed(
        &disk.boot_file(slot)?.unwrap_or_default(),
        &old,
        &new,
    ))
}

/// The same for the root filesystem.
fn half_written_rootfs(site: &Site, disk: &Disk) -> Result<bool> {
    let new = hostile::rootfs_image(&site.places.package(NEW, "full"))?;
    let length = new.len() as u64;
    let found = disk.read(dau_system::ROOTFS_LABEL, length)?;
    let old = site
        .places
        .image(OLD)
        .read(dau_system::ROOTFS_LABEL, length)?;
    Ok(is_mixed(&found, &old, &new))
}

fn is_mixed(found: &[u8], old: &[u8], new: &[u8]) -> bool {
    const BLOCK: usize = 4096;
    let (mut still_old, mut already_new) = (0, 0);
    let blocks = found
        .chunks(BLOCK)
        .zip(old.chunks(BLOCK))
        .zip(new.chunks(BLOCK));
    for ((found, old), new) in blocks.filter(|((_, old), new)| old != new) {
        still_old += usize::from(found == old);
        already_new += usize::from(found == new);
    }
    still_old > 0 && already_new > 0
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
