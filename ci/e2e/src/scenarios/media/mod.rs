//! Media faults other than power cuts, and clocks that jump.

mod in_service;
mod in_upgrade;
mod steps;

use super::case::{Case, Suite};
use super::expect;
use in_service::{
    boot_destroyed, boot_takes_no_writes, clock_jumps, mnt_full, mnt_takes_no_writes,
    state_copy_unreadable,
};
use in_upgrade::{half_job, rootfs_unreadable, rootfs_unwritable, states_and_mnt_destroyed};

/// The normal OS on a failing medium: orders end, and the terminal serves.
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
            about: "the clock says 2090 for one boot: the terminal serves, and links up again once \
                the clock is right",
            run: clock_jumps,
        },
        Case {
            name: "state-copy-cannot-be-read",
            about: "a copy of the boot state cannot be read: it is made anew elsewhere, and the \
                upgrade goes through",
            run: state_copy_unreadable,
        },
    ],
};

pub const FULL_MNT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "mnt-is-full",
        about: "mnt is full: the order is refused, the terminal serves, and upgrades once there is room",
        run: mnt_full,
    }],
};

pub const DESTROYED_BOOT: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "boot-destroyed-in-service",
        about:
            "the file system of boot is destroyed while the terminal serves: the job fails, and \
            the terminal serves on",
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
        about: "a block of rootfs takes no writes: after three tries the old OS is put back, and \
            the result says why",
        run: rootfs_unwritable,
    }],
};

pub const HALF_JOB: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "half-a-job-file",
        about: "half of job.json is lost while RecoveryOS writes rootfs: the old OS is put back, \
            and the job ends at the station",
        run: half_job,
    }],
};

pub const DESTROYED: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "states-and-mnt-destroyed",
        about: "both copies of the boot state and the super block of mnt are destroyed while \
            armed; the upgrade goes through",
        run: states_and_mnt_destroyed,
    }],
};
