//! Process 1 of RecoveryOS. It does as little as possible: a child does the work, so that its crash
//! can be counted as a failure, and a hanging child can be killed.

pub mod modules;
pub mod mounts;
mod reap;
pub mod reboot;
pub mod supervisor;
pub mod watchdog;

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::console;
use crate::run::Ended;
use supervisor::ChildEnd;
use watchdog::Watchdog;

/// Kernel argument for a shell on the console when RecoveryOS is stuck.
const SHELL_ARGUMENT: &str = "dau.shell";
/// Time to read the console before a reboot that follows a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// First and longest wait when RecoveryOS is stuck, seconds.
const FIRST_WAIT: u64 = 10;
const LONGEST_WAIT: u64 = 3600;
/// Crashes in a row before a reboot.
const MAX_CRASHES: u32 = 5;

/// Runs RecoveryOS. Never returns: the terminal reboots in the end.
pub fn run() -> ! {
    mounts::early();
    console::ignore_flow_control();
    console::start();
    // A kernel that panics, for instance because this process died, reboots.
    mounts::write_setting("/proc/sys/kernel/panic", "5");
    mounts::write_setting("/proc/sys/kernel/panic_on_oops", "1");
    modules::load_listed();
    let mut watchdog = Watchdog::open();
    let mut waits = 0;
    let mut crashed = None;
    let mut crashes = 0_u32;
    loop {
        match supervisor::work(crashed.take(), &mut watchdog) {
            ChildEnd::Ended(Ended::Reboot) => break,
            ChildEnd::Ended(Ended::Failed) => {
                watchdog.sleep(AFTER_FAILURE);
                break;
            }
            ChildEnd::Ended(Ended::Stuck) => {
                shell_if_asked_for();
                let wait = wait_after(waits);
                waits = waits.saturating_add(1);
                log::error!(
                    "nothing can be done now; looking again in {} s. A package for this terminal \
                     may be put on mnt \
                     as dau/packages/installed.dau",
                    wait.as_secs()
                );
                watchdog.sleep(wait);
            }
            ChildEnd::Crashed(how) => {
                log::error!("{how}");
                crashes = crashes.saturating_add(1);
                if crashes > MAX_CRASHES {
                    break;
                }
                watchdog.sleep(AFTER_FAILURE);
                crashed = Some(how);
            }
        }
    }
    reboot::reboot(watchdog)
}

/// Returns the wait after this many earlier waits: twice as long each time, up to an hour.
fn wait_after(waits: u32) -> Duration {
    let factor = 1u64.checked_shl(waits).unwrap_or(u64::MAX);
    Duration::from_secs(FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT))
}

fn shell_if_asked_for() {
    let asked = std::fs::read_to_string("/proc/cmdline").is_ok_and(|line| {
        line.split_ascii_whitespace()
            .any(|word| word == SHELL_ARGUMENT)
    });
    if !asked {
        return;
    }
    log::warn!("{SHELL_ARGUMENT}: a shell; RecoveryOS goes on when it ends");
    let shell = Command::new("/bin/busybox")
        .arg("sh")
        .stdin(Stdio::inherit())
        .status();
    if let Err(error) = shell {
        log::error!("no shell: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let seconds = |waits| wait_after(waits).as_secs();
        let first: Vec<u64> = (0..10).map(seconds).collect();
        assert_eq!(first, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        for waits in [63, 64, 1000, u32::MAX] {
            assert_eq!(seconds(waits), LONGEST_WAIT);
        }
    }
}
