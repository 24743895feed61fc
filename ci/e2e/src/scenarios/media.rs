//! Media that fail otherwise than by losing power, and clocks that jump.

use anyhow::{ensure, Context, Result};
use dau_boot_state::COPY_NAMES;
use dau_handoff::{Layout, MNT};
use dau_system::{BOOT_LABEL, MNT_LABEL, ROOTFS_LABEL};

use super::expect::{self, Kind};
use super::{Case, Suite};
use crate::disk::Handoff;
use crate::hostile;
use crate::places::{NEW, OLD};
use crate::site::Site;
use crate::station::JobView;
use crate::terminal::fault::{Access, Fault, BLOCK, SECTOR};
use crate::terminal::line;

/// The normal OS with a medium that fails: orders end, and the terminal serves.
pub const SERVES: Suite = Suite {
    options: expect::options,
    cases: &[
        Case {
            name: "boot-takes-no-writes",
            about: "no write to boot works: the job fails before anything changes, and the terminal serves",
            run: boot_takes_no_writes,
        },
        Case {
            name: "mnt-takes-no-writes",
            about: "no write to mnt works: the order is refused, and the terminal serves",
            run: mnt_takes_no_writes,
        },
        Case {
            name: "clock-jumps-and-comes-back",
            about: "the clock says 2090 for one boot: the terminal serves, and links up again once the clock is right",
            run: clock_jumps,
        },
        Case {
            name: "state-copy-cannot-be-read",
            about: "a copy of the boot state cannot be read: it is made anew elsewhere, and the upgrade goes through",
            run: state_copy_unreadable,
        },
    ],
};

pub const FULL_MNT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "mnt-is-full",
        about: "not a byte is free on mnt: the order is refused, the terminal serves, and upgrades once there is room",
        run: mnt_full,
    }],
};

pub const DESTROYED_BOOT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "boot-destroyed-in-service",
        about: "the file system of boot is destroyed while the terminal serves: the job fails, and the terminal serves on",
        run: boot_destroyed,
    }],
};

pub const UNREADABLE_ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "rootfs-block-cannot-be-read",
        about:
            "a block of rootfs cannot be read: RecoveryOS writes it, and the upgrade goes through",
        run: rootfs_unreadable,
    }],
};

pub const UNWRITABLE_ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "rootfs-block-takes-no-writes",
        about: "a block of rootfs takes no writes: after three tries the old OS is put back, and the result says why",
        run: rootfs_unwritable,
    }],
};

pub const HALF_JOB: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "half-a-job-file",
        about: "half of job.json is lost while RecoveryOS writes rootfs: the old OS is put back, and the job ends at the station",
        run: half_job,
    }],
};

pub const DESTROYED: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "states-and-mnt-destroyed",
        about: "both copies of the boot state and the super block of mnt are destroyed while armed; the upgrade goes through",
        run: states_and_mnt_destroyed,
    }],
};

/// Power-cycles the terminal with these faults, and waits for its application.
fn restart(site: &mut Site, faults: Vec<Fault>) -> Result<()> {
    site.power_cut();
    site.terminal.set_faults(&faults)?;
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()
}

fn takes_no_writes(site: &mut Site, label: &str, unit: u64) -> Result<Fault> {
    site.power_cut();
    let extent = site.terminal.disk()?.partition(label)?;
    Ok(Fault::all_of(extent, unit, Access::Write))
}

/// The job ended with this outcome and word, and the old OS runs.
fn ended(site: &mut Site, view: &JobView, outcome: &str, word: &str) -> Result<()> {
    ensure!(
        view.outcome.as_deref() == Some(outcome) && view.word == word,
        "job {} ended {:?} ({}): {}",
        view.id,
        view.outcome,
        view.word,
        view.message
    );
    site.terminal.wait_until_serving()?;
    site.wait_for_version(OLD)
}

/// The job ends well, and the disk holds the new version.
fn goes_through(site: &mut Site, job: i64, kind: Kind) -> Result<()> {
    let view = site.wait_for_result(job)?;
    expect::success(&view, kind)?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, kind)
}

fn boot_takes_no_writes(site: &mut Site) -> Result<()> {
    let faults = takes_no_writes(site, BOOT_LABEL, SECTOR)?;
    restart(site, vec![faults])?;
    site.wait_for_version(OLD)?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "boot")?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    restart(site, Vec::new())?;
    site.wait_for_version(OLD)?;
    site.power_cut();
    expect::untouched(site)?;
    restart(site, Vec::new())
}

fn mnt_takes_no_writes(site: &mut Site) -> Result<()> {
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

fn mnt_full(site: &mut Site) -> Result<()> {
    let shell = site.terminal.shell()?;
    // dd ends by an error: there is no room left.
    shell.run("! dd if=/dev/zero of=/mnt/full bs=1M && sync")?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    // What dd could not fill may still be enough for the job's file, and never for the package.
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

fn boot_destroyed(site: &mut Site) -> Result<()> {
    let destroy = "dd if=/dev/zero of=$(findfs LABEL=boot) bs=1M count=4 && sync";
    site.terminal.shell()?.run(destroy)?;
    let job = site.order(NEW, "kernel")?;
    let view = site.wait_for_result(job)?;
    ended(site, &view, "failed", "boot")?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

fn clock_jumps(site: &mut Site) -> Result<()> {
    site.power_cut();
    // Beyond every certificate's end.
    site.terminal.set_clock(Some("2090-01-01T00:00:00"));
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()?;
    let year = site.terminal.shell()?.run("date +%Y")?;
    ensure!(year.trim() == "2090", "the clock says {year}");
    // The agent has had its minute, and goes down in an orderly way: it could have kept that time.
    site.terminal.shut_down()?;
    site.terminal.set_clock(None);
    site.terminal.power_on()?;
    site.wait_for_version(OLD)?;
    let year = site.terminal.shell()?.run("date +%Y")?;
    ensure!(year.trim() != "2090", "the clock still says {year}");
    Ok(())
}

fn state_copy_unreadable(site: &mut Site) -> Result<()> {
    site.power_cut();
    // The one that the next write goes to.
    let disk = site.terminal.disk()?;
    let counts = disk.boot_state()?;
    let mut older = None;
    for name in COPY_NAMES {
        let bytes = disk.boot_file(name)?.unwrap_or_default();
        if dau_boot_state::BootState::decode(&bytes).ok().as_ref() != Some(&counts) {
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

/// A block of rootfs in the middle of what both versions bring, such that `wanted` holds of its old and new bytes.
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

fn rootfs_unreadable(site: &mut Site) -> Result<()> {
    // No file: the normal OS does not read it.
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

fn rootfs_unwritable(site: &mut Site) -> Result<()> {
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
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

fn half_job(site: &mut Site) -> Result<()> {
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

fn states_and_mnt_destroyed(site: &mut Site) -> Result<()> {
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
    // ext4's super block stands in the second KiB, the descriptors of its groups in the next block.
    disk.blank(disk.partition(MNT_LABEL)?.start, 2 * BLOCK)?;
    site.terminal.power_on()?;
    let said = site.wait_for_line(&mut mark, line::RECOVERY)?;
    ensure!(said.contains("no-state"), "the console says: {said}");
    goes_through(site, job, Kind::Kernel)
}
