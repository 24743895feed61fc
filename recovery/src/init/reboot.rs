//! Reboots the terminal.

use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{umount2, MntFlags};
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::watchdog::Watchdog;

/// Mount points that a run may leave behind.
const MOUNT_POINTS: [&str; 3] = ["/run/rootfs", "/run/boot", "/run/mnt"];

/// Ends all processes, unmounts, syncs, reboots.
pub fn reboot(mut watchdog: Watchdog) -> ! {
    log::info!("rebooting");
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for point in MOUNT_POINTS {
        // EINVAL: not mounted, as it should be.
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
        // If the kernel does not reboot, a watchdog does: it is fed only once a minute.
        std::thread::sleep(Duration::from_secs(60));
    }
}
