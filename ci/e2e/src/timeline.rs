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
/// Characters.
const LONGEST_BAR: f64 = 40.0;

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

/// Returns a table with a line for each step: name, seconds, and a bar. Bars are in proportion, and
/// the longest one is short enough for a terminal window, however slow the machine is.
pub fn table(steps: &[Step]) -> Vec<String> {
    let longest = steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
    let row = |step: &Step| {
        let bar = "#".repeat((step.seconds / longest * LONGEST_BAR).round() as usize);
        format!("{:58} {:5.2} s  {bar}", step.name, step.seconds)
            .trim_end()
            .to_owned()
    };
    steps.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_into_a_window_and_its_bars_are_in_proportion() {
        let step = |seconds| Step {
            name: LAST,
            seconds,
            worked: 0.0,
        };
        let rows = table(&[step(0.0), step(15.0), step(60.0)]);
        let bars: Vec<usize> = rows.iter().map(|row| row.matches('#').count()).collect();
        assert_eq!(bars, [0, 10, 40]);
        assert!(rows.iter().all(|row| row.len() <= 110), "{rows:#?}");
        assert_eq!(table(&[step(0.0)]).len(), 1);
    }
}
