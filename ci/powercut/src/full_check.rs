//! The full check of a crash state: the power comes back, and the terminal runs until the job is
//! over.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{kernel_name, recovery_name, BootState};
use dau_model::Slot;
use dau_rig::disk::Disk;
use dau_rig::site::{SETTINGS, SET_HERE, TERMINAL};
use dau_rig::station::JobView;
use dau_rig::terminal::{limit, Storage};
use dau_system::release::{Release, OS_RELEASE};

use crate::backend::{copy_folder, Backend};
use crate::checkers;
use crate::notes::{Folder, Notes};
use crate::record::Studio;
use crate::scenario::Scenario;

/// Time for the writes that follow a result.
const SETTLED: Duration = Duration::from_secs(5);
/// Lines of the console shown with a failure.
const CONSOLE_LINES: usize = 15;

/// Runs a terminal with the disk `disk.img` in `folder` until its job is over. `acknowledged`:
/// whether the station had acknowledged the result before the cut. Returns the job's outcome.
///
/// # Errors
/// Says what is wrong; `folder` then holds the disk and the console's log.
pub fn check(studio: &Studio, notes: &Notes, acknowledged: bool, folder: &Path) -> Result<String> {
    let recording: Folder = studio.recording(&notes.name);
    let kept = match acknowledged {
        true => recording.reported(),
        false => recording.ordered(),
    };
    let running = folder.join("running");
    copy_folder(&kept, &running)?;
    let mut backend = Backend::start(&studio.places, &studio.pki()?, &running)?;
    let disk = Disk::new(folder.join("disk.img"));
    let mut terminal = backend.terminal(folder, disk, Storage::Unflushed)?;
    terminal.power_on()?;
    let version = notes.scenario.version();
    let mut run = || -> Result<JobView> {
        let view = backend.station.wait_for_result(&mut terminal, notes.job)?;
        backend
            .station
            .wait_for_version((TERMINAL, &mut terminal), version, limit::JOB)?;
        terminal.wait_until_serving()?;
        Ok(view)
    };
    let ended = run();
    std::thread::sleep(SETTLED);
    terminal.power_cut();
    let view =
        ended.with_context(|| dau_rig::process::tail(terminal.console().log(), CONSOLE_LINES))?;
    let outcome = view.outcome.clone().unwrap_or_default();
    ensure!(
        outcome == notes.scenario.outcome(),
        "the job ended {outcome} ({}): {}",
        view.word,
        view.message
    );
    backend.station.exactly_one_result(notes.job)?;
    disk_fits(terminal.disk()?, notes.scenario, folder)?;
    Ok(outcome)
}

/// Checks that the disk agrees with the result.
fn disk_fits(disk: &Disk, scenario: Scenario, folder: &Path) -> Result<()> {
    let version = scenario.version();
    let state = disk.boot_state()?;
    let expected = BootState {
        seq: state.seq,
        ..scenario.boot_state()
    };
    ensure!(state == expected, "the boot state is {state:?}");
    disk.check_boot()?;
    let recovery = [Slot::A, Slot::B].map(recovery_name);
    for name in recovery.into_iter().chain([kernel_name(state.kernel)]) {
        let path = folder.join(name);
        std::fs::write(&path, disk.boot_file(name)?.unwrap_or_default())?;
        dau_boot_state::fit::check(&path).with_context(|| name.to_owned())?;
        std::fs::remove_file(&path)?;
    }
    for label in [dau_system::ROOTFS_LABEL, dau_system::MNT_LABEL] {
        let copy = disk.extract(disk.partition(label)?)?;
        checkers::repair(copy.path())
            .and_then(|()| checkers::check(copy.path()))
            .with_context(|| label.to_owned())?;
    }
    let rootfs = disk.ext4(dau_system::ROOTFS_LABEL)?;
    let found = Release::parse(&match rootfs.read("/usr/lib/os-release")? {
        Some(text) => String::from_utf8_lossy(&text).into_owned(),
        None => rootfs.text(OS_RELEASE)?,
    });
    ensure!(found.version == version, "rootfs holds {}", found.version);
    let settings = rootfs.text(SETTINGS)?;
    ensure!(
        settings == SET_HERE,
        "{SETTINGS} was changed to: {settings}"
    );
    Ok(())
}
