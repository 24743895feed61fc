//! Where the seconds of an upgrade go: what the serial console shows of it.

use std::time::Instant;

use dau_rig::terminal::{line, Console, Mark};

/// A step of the time out of service, and the line on the console that ends it.
const STEPS: [(&str, &str); 14] = [
    ("old OS: services end, shutdown", line::U_BOOT),
    (
        "U-Boot: boot state, RecoveryOS loaded, checked, unpacked",
        line::KERNEL,
    ),
    ("RecoveryOS: kernel", line::RECOVERY_INIT),
    ("RecoveryOS: modules, mnt, job", line::VERIFYING),
    (
        "RecoveryOS: package verified, image unpacked and compared",
        line::IMAGE_CHECKED,
    ),
    (
        "RecoveryOS: backup checked, job written",
        line::WRITING_KERNEL,
    ),
    (
        "RecoveryOS: kernel written, read back",
        line::KERNEL_WRITTEN,
    ),
    (
        "RecoveryOS: root filesystem written, read back",
        line::BLOCKS_WRITTEN,
    ),
    (
        "RecoveryOS: root filesystem grown, checked",
        line::ROOTFS_WRITTEN,
    ),
    ("RecoveryOS: parameters restored, compared", line::RESTORED),
    ("RecoveryOS: commit", line::COMMITTED),
    ("RecoveryOS: reboot", line::U_BOOT),
    (
        "U-Boot: boot state, kernel loaded, checked, unpacked",
        line::KERNEL,
    ),
    ("new OS: kernel", line::INIT),
];
/// The step that the application's first answer ends.
const LAST: &str = "new OS: init, services";

/// A step, and what it took.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
    /// Seconds of processor of the emulator.
    pub worked: f64,
}

/// Returns the steps from the last answer of the old OS to the first of the new one; `mark` is
/// somewhere in the old OS's console. A step whose line another builder's console lacks is part of
/// the next one.
pub fn steps(console: &Console, mut mark: Mark, (last, first): (Instant, Instant)) -> Vec<Step> {
    let ends = STEPS.iter();
    let ends = ends.filter_map(|(name, line)| Some((*name, console.time_of(&mut mark, line)?)));
    let ends: Vec<_> = ends.chain([(LAST, first)]).collect();
    let mut before = last;
    let mut steps = Vec::new();
    for (name, at) in ends {
        steps.push(Step {
            name,
            seconds: at.saturating_duration_since(before).as_secs_f64(),
            worked: console.worked(at) - console.worked(before),
        });
        before = at;
    }
    steps
}

/// Returns a line of a table: name, seconds and a bar.
pub fn row(name: &str, seconds: f64) -> String {
    let bar = "#".repeat((seconds * 10.0).round() as usize);
    format!("{name:58} {seconds:5.2} s  {bar}")
        .trim_end()
        .to_owned()
}
