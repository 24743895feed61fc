//! The end-to-end tests. A suite is a site and the cases that use it in order; each case says what it is about, and
//! asserts at the station and on the terminal's disk.

mod cuts;
mod disturbed;
pub mod expect;
mod lost;
mod media;
mod messages;
mod recovery_os;
mod refusals;
mod rollback;
mod upgrades;

use anyhow::Result;

use crate::site::{Options, Site};

/// One test.
#[derive(Debug)]
pub struct Case {
    /// Its name, of letters, digits and `-`.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Does it; the site is running.
    pub run: fn(&mut Site) -> Result<()>,
}

/// Cases on one site.
#[derive(Debug)]
pub struct Suite {
    /// What is particular to the site.
    pub options: fn() -> Options,
    /// In order; each leaves the site as it found it, but for the last.
    pub cases: &'static [Case],
}

/// All but [`MEDIA`]; long ones first, so that none runs alone at the end.
pub static SUITES: &[Suite] = &[
    refusals::REFUSALS,
    rollback::ROLLBACK,
    rollback::HANGS,
    rollback::INIT_DIES,
    lost::BOTH_PACKAGES,
    recovery_os::RECOVERY_OS,
    recovery_os::BROUGHT_ALONG,
    upgrades::FULL,
    cuts::ROOTFS,
    cuts::BEFORE_REPORT,
    upgrades::DEAD_CLOCK,
    disturbed::DOWNLOAD,
    disturbed::STATION_AND_BROKER,
    cuts::UNACKNOWLEDGED,
    upgrades::ROOTFS,
    cuts::KERNEL,
    upgrades::KERNEL,
    messages::TWICE,
    disturbed::EXCHANGED,
];

/// Media that fail, and clocks that jump: only by `--media`, or by name.
pub static MEDIA: &[Suite] = &[
    media::SERVES,
    media::FULL_MNT,
    media::DESTROYED_BOOT,
    media::UNWRITABLE_ROOTFS,
    media::HALF_JOB,
    media::UNREADABLE_ROOTFS,
    media::DESTROYED,
];
