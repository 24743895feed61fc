//! The end.

use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{umount2, MntFlags};
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::watchdog::Watchdog;

/// What a run may have left mounted.
const MOUNT_POINTS: [&str; 3] = ["/run/rootfs", "/run/boot", "/run/mnt"];

/// Ends what still runs, unmounts, syncs, reboots.
pub fn reboot(mut watchdog: Watchdog) -> ! {
    log::info!("rebooting");
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for point in MOUNT_POINTS {
        // EINVAL: nothing is mounted there, as should be.
        if let Err(errno) = umount2(point, MntFlags::empty()) {
            if errno != Errno::EINVAL && errno != Errno::ENOENT {
                log::warn!("cannot unmount {point}: {errno}");
            }
        }
    }
    nix::unistd::sync();
    loop {
        watchdog.pet();
        let Err(errno) = nix::sys::reboot::reboot(RebootMode::RB_AUTOBOOT);
        log::error!("cannot reboot: {errno}");
        // The watchdog, where there is one, does what the kernel would not: it is petted once a minute only.
        std::thread::sleep(Duration::from_secs(60));
    }
}
