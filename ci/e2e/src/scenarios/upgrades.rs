//! Undisturbed upgrades.

use anyhow::{ensure, Result};

use super::case::{Case, Suite};
use super::expect::{self, Kind};
use dau_rig::places::NEW;
use dau_rig::site::{Options, Site};

pub const FULL: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "upgrade-full",
        about: "kernel and root filesystem are replaced, the parameters survive",
        run: |site| upgrade(site, Kind::Full),
    }],
};

pub const KERNEL: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "upgrade-kernel",
        about: "the kernel alone is replaced, in the other slot",
        run: |site| upgrade(site, Kind::Kernel),
    }],
};

pub const ROOTFS: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "upgrade-rootfs",
        about: "the root filesystem alone is replaced, the parameters survive",
        run: |site| upgrade(site, Kind::Rootfs),
    }],
};

pub const DEAD_CLOCK: Suite = Suite {
    options: || Options {
        clock: Some("1970-01-01T00:00:00".to_owned()),
        ..expect::options()
    },
    cases: &[Case {
        name: "clock-at-1970",
        about: "a terminal whose clock starts in 1970 at every power-on is upgraded all the same",
        run: dead_clock,
    }],
};

pub const NOISE: Suite = Suite {
    options: || Options {
        noise: true,
        ..expect::options()
    },
    cases: &[Case {
        name: "boot-noise",
        about: "noise on the serial line stops no boot of a whole upgrade: U-Boot, RecoveryOS, normal OS",
        run: noisy,
    }],
};

/// Runs a whole upgrade and checks every result of it.
pub fn upgrade(site: &mut Site, kind: Kind) -> Result<()> {
    let job = site.order(NEW, kind.word())?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, kind)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, kind)?;
    let outcome = site.result_on_disk(job)?.outcome;
    ensure!(
        outcome == dau_model::Outcome::Success,
        "mnt says {outcome:?}"
    );
    Ok(())
}

/// Does the same without a shell, which the noise would disturb.
fn noisy(site: &mut Site) -> Result<()> {
    let job = site.order(NEW, Kind::Full.word())?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Full)?;
    site.terminal.wait_until_serving()?;
    site.power_cut();
    expect::upgraded(site, Kind::Full)
}

fn dead_clock(site: &mut Site) -> Result<()> {
    // The terminal's own clock confirms that the emulated time is wrong.
    let hardware = site.terminal.shell()?.run("cat /sys/class/rtc/rtc0/date")?;
    ensure!(
        hardware.contains("1970-"),
        "the hardware clock says {hardware}"
    );
    upgrade(site, Kind::Full)
}
