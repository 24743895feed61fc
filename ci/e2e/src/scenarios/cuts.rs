//! Power cuts: QEMU is killed, nothing is flushed, and data in transit is lost.

use anyhow::{ensure, Context, Result};
use dau_boot_state::kernel_name;
use dau_model::Slot;

use super::case::{Case, Suite};
use super::expect::{self, Kind};
use dau_rig::disk::Disk;
use dau_rig::hostile;
use dau_rig::places::{NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::{limit, line};
use dau_rig::wait;

/// A moment in the middle of a write. The emulated disk must be slowed down to hit it.
struct Moment {
    /// RecoveryOS's console line before the write.
    begins: &'static str,
    /// Returns the content of the disk before and after the write.
    blocks: fn(&Site) -> Result<Change>,
    /// Reads that content from a disk; the number is its length in bytes after the write.
    read: fn(&Disk, usize) -> Result<Vec<u8>>,
}

/// The content of a kernel slot or the root filesystem before and after a write.
struct Change {
    old: Vec<u8>,
    new: Vec<u8>,
}

const IN_KERNEL: Moment = Moment {
    begins: line::WRITING_KERNEL,
    blocks: |site| {
        Ok(Change {
            old: read_kernel(&site.places.image(OLD), 0)?,
            new: site.payload(NEW, "full", "kernel.itb")?,
        })
    },
    read: read_kernel,
};

const IN_ROOTFS: Moment = Moment {
    begins: line::KERNEL_WRITTEN,
    blocks: |site| {
        let new = hostile::rootfs_image(&site.places.package(NEW, "full"))?;
        let old = read_rootfs(&site.places.image(OLD), new.len())?;
        Ok(Change { old, new })
    },
    read: read_rootfs,
};

/// Write speed of the disk, bytes per second.
const SPEED: u64 = 1 << 20;

pub const ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-rootfs",
        about: "power is cut while the root filesystem is written; the next power-on finishes",
        run: |site| cut_while_writing(site, &IN_ROOTFS),
    }],
};

pub const KERNEL: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-in-kernel-slot",
        about: "power is cut while the kernel slot is written; the next power-on finishes",
        run: |site| cut_while_writing(site, &IN_KERNEL),
    }],
};

pub const BEFORE_REPORT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-after-commit",
        about: "power is cut between commit and report; exactly one result arrives",
        run: after_commit,
    }],
};

pub const UNACKNOWLEDGED: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "power-cut-before-acknowledgement",
        about:
            "power is cut after the result was sent and before the station took it; exactly one \
            is recorded",
        run: before_acknowledgement,
    }],
};

/// Cuts the power once the disk itself shows some old and some new blocks: written data stays in
/// memory for a while, so the console does not tell when.
fn cut_while_writing(site: &mut Site, moment: &Moment) -> Result<()> {
    let change = (moment.blocks)(site)?;
    let is_half_written = |disk: &Disk| -> Result<bool> {
        Ok(change.is_half_done(&(moment.read)(disk, change.new.len())?))
    };
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.terminal.slow_disk(SPEED)?;
    site.wait_for_line(&mut mark, moment.begins)?;
    wait::until("a half-written disk", limit::JOB, || {
        Ok(is_half_written(site.terminal.disk_in_use())?.then_some(()))
    })?;
    site.power_cut();
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state.upgrade,
        "the flag is gone although the job is not done: {state:?}"
    );
    ensure!(is_half_written(disk)?, "the cut came after the write");
    site.terminal.power_on()?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    finish(site, job)
}

fn read_kernel(disk: &Disk, _: usize) -> Result<Vec<u8>> {
    let slot = disk.boot_file(kernel_name(Slot::B))?;
    slot.context("the image has no second kernel slot")
}

fn read_rootfs(disk: &Disk, length: usize) -> Result<Vec<u8>> {
    disk.read(dau_system::ROOTFS_LABEL, length as u64)
}

impl Change {
    /// Returns whether some of the blocks that change are still old and some already new.
    fn is_half_done(&self, found: &[u8]) -> bool {
        const BLOCK: usize = 4096;
        let (mut still_old, mut already_new) = (0, 0);
        let before_and_after = self.old.chunks(BLOCK).zip(self.new.chunks(BLOCK));
        for (found, (old, new)) in found.chunks(BLOCK).zip(before_and_after) {
            if old != new {
                still_old += usize::from(found == old);
                already_new += usize::from(found == new);
            }
        }
        still_old > 0 && already_new > 0
    }
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
    let heard = site.mqtt().listen(dau_rig::site::TERMINAL)?;
    let job = site.order(NEW, "rootfs")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.station.kill();
    heard.wait("a result on MQTT", limit::JOB, |message| {
        message.message_type == dau_protocol::message_type::JOB_RESULT
    })?;
    site.power_cut();
    site.station.start_again()?;
    site.terminal.power_on()?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Rootfs)?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Rootfs)
}

/// Finishes as a full upgrade without a cut does.
fn finish(site: &mut Site, job: i64) -> Result<()> {
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Full)?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Full)
}
