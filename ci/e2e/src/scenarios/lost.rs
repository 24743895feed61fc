//! A terminal with no installable package left, until a technician comes.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_handoff::Layout;

use super::case::{Case, Suite};
use super::expect;
use dau_rig::disk::Handoff;
use dau_rig::places::{NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::line;

pub const BOTH_PACKAGES: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "both-packages-lost",
        about: "new and old package are damaged with rootfs half written; RecoveryOS waits and \
            takes a technician's package",
        run: both_packages_lost,
    }],
};

/// Write speed of the disk in bytes per second, so that a cut hits the middle of a write.
const SLOW: u64 = 1 << 20;

fn both_packages_lost(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.terminal.slow_disk(SLOW)?;
    site.wait_for_line(&mut mark, line::KERNEL_WRITTEN)?;
    std::thread::sleep(Duration::from_millis(1500));
    site.power_cut();
    let on_disk = site.terminal.disk()?.handoff()?.job()?;
    let on_disk = on_disk.context("there is no job")?;
    ensure!(
        on_disk.attempts.rootfs_touched,
        "power went too early: {:?}",
        on_disk.attempts
    );
    let layout = Layout::new(dau_handoff::MNT.as_ref());
    let disk = site.terminal.disk()?;
    disk.change_ext4(dau_system::MNT_LABEL, |mnt| {
        for package in [layout.candidate(), layout.installed()] {
            mnt.write(&Handoff::inside(&package)?, b"rotten", "0100600")?;
        }
        Ok(())
    })?;
    site.terminal.power_on()?;
    // It says so, and tries again after growing waits.
    for wait in ["10 s", "20 s"] {
        let said = site.wait_for_line(&mut mark, line::STUCK)?;
        ensure!(
            said.contains(&format!("again in {wait}")),
            "the console says: {said}"
        );
    }
    site.power_cut();
    let on_disk = site.terminal.disk()?.handoff()?.job()?;
    let error = on_disk.and_then(|job| job.attempts.last_error);
    ensure!(
        error
            .as_deref()
            .is_some_and(|error| error.contains("Nor can")),
        "the job says {error:?}"
    );
    let disk = site.terminal.disk()?;
    disk.change_ext4(dau_system::MNT_LABEL, |mnt| {
        mnt.put(
            &Handoff::inside(&layout.installed())?,
            &site.places.package(OLD, "full"),
            "0100600",
        )
    })?;
    site.terminal.power_on()?;
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("failed"),
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    site.wait_for_version(OLD)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}
