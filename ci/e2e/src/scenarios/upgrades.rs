//! Upgrades that nothing disturbs.

use anyhow::{ensure, Result};

use super::expect::{self, Kind};
use super::{Case, Suite};
use crate::places::NEW;
use crate::site::{Options, Site};

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

/// A whole upgrade, with all that is to be seen afterwards.
pub fn upgrade(site: &mut Site, kind: Kind) -> Result<()> {
    let job = site.order(NEW, kind.word())?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, kind)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, kind)?;
    let outcome = site.result_on_disk(job)?.outcome;
    ensure!(
        outcome == dau_handoff::Outcome::Success,
        "mnt says {outcome:?}"
    );
    Ok(())
}

fn dead_clock(site: &mut Site) -> Result<()> {
    // The clock is believed only once the terminal itself says so.
    let hardware = site.terminal.shell()?.run("cat /sys/class/rtc/rtc0/date")?;
    ensure!(
        hardware.contains("1970-"),
        "the hardware clock says {hardware}"
    );
    upgrade(site, Kind::Full)
}
