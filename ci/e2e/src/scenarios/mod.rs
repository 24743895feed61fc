//! The end-to-end tests. A suite is a site and the cases that use it in order; each case describes
//! what it shows, and checks the station and the terminal's disk.

mod bytes;
mod case;
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

pub use case::{Case, Suite};

/// All suites but [`MEDIA`]; long ones first, so that none runs alone at the end.
pub static SUITES: &[Suite] = &[
    refusals::REFUSALS,
    rollback::ROLLBACK,
    rollback::HANGS,
    rollback::INIT_DIES,
    lost::BOTH_PACKAGES,
    bytes::BUDGET,
    recovery_os::RECOVERY_OS,
    recovery_os::BROUGHT_ALONG,
    upgrades::FULL,
    cuts::ROOTFS,
    cuts::BEFORE_REPORT,
    upgrades::DEAD_CLOCK,
    upgrades::NOISE,
    disturbed::DOWNLOAD,
    disturbed::STATION_AND_BROKER,
    cuts::UNACKNOWLEDGED,
    upgrades::ROOTFS,
    cuts::KERNEL,
    upgrades::KERNEL,
    messages::TWICE,
    disturbed::EXCHANGED,
];

/// Failing media and jumping clocks: run by `--media` or by name only.
pub static MEDIA: &[Suite] = &[
    media::SERVES,
    media::FULL_MNT,
    media::DESTROYED_BOOT,
    media::UNWRITABLE_ROOTFS,
    media::HALF_JOB,
    media::UNREADABLE_ROOTFS,
    media::DESTROYED,
];
