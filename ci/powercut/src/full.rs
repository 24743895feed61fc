//! The full check of a crash state: the power comes back, and the terminal runs until the job is over.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{BootState, Slot};
use dau_e2e::disk::Disk;
use dau_e2e::scenarios::expect::{SETTINGS, SET_HERE};
use dau_e2e::station::JobView;
use dau_e2e::terminal::Storage;
use dau_system::release::{Release, OS_RELEASE};

use crate::checkers;
use crate::ground::{copy_folder, Ground};
use crate::record::{Folder, Notes, Scenario, Studio};

/// What follows a result is on the disk by then.
const SETTLED: Duration = Duration::from_secs(5);
/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 15;

/// Runs a terminal with the disk `disk.img` in `folder` until its job is over. `acknowledged`: the station had taken the
/// result before the cut.
///
/// # Errors
/// What is not as it must be; `folder` then holds the disk and the console's log.
pub fn check(studio: &Studio, notes: &Notes, acknowledged: bool, folder: &Path) -> Result<String> {
    let recording: Folder = studio.recording(&notes.name);
    let kept = match acknowledged {
        true => recording.reported(),
        false => recording.ordered(),
    };
    let running = folder.join("running");
    copy_folder(&kept, &running)?;
    let ground = Ground::start(&studio.places, &studio.pki()?, &running)?;
    let disk = Disk::new(folder.join("disk.img"));
    let mut terminal = ground.terminal(folder, disk, Storage::Unflushed)?;
    terminal.power_on()?;
    let version = notes.scenario.version();
    let ended = (|| -> Result<JobView> {
        let view = ground.wait_for_result(&mut terminal, notes.job)?;
        ground.wait_for_version(&mut terminal, version)?;
        terminal.wait_until_serving()?;
        Ok(view)
    })();
    std::thread::sleep(SETTLED);
    terminal.power_cut();
    let view =
        ended.with_context(|| dau_e2e::process::tail(terminal.console().log(), CONSOLE_LINES))?;
    let outcome = view.outcome.clone().unwrap_or_default();
    ensure!(
        outcome == notes.scenario.outcome(),
        "the job ended {outcome} ({}): {}",
        view.word,
        view.message
    );
    let events = ground.station.events(notes.job)?;
    let results = events.iter().filter(|kind| *kind == "result").count();
    ensure!(results == 1, "{results} results at the station: {events:?}");
    disk_fits(terminal.disk()?, notes.scenario, folder)?;
    Ok(outcome)
}

/// The disk holds what the result says.
fn disk_fits(disk: &Disk, scenario: Scenario, folder: &Path) -> Result<()> {
    let version = scenario.version();
    let state = disk.boot_state()?;
    let expected = BootState {
        seq: state.seq,
        ..scenario.boot_state()
    };
    ensure!(state == expected, "the boot state is {state:?}");
    disk.check_boot()?;
    let recovery = [Slot::A, Slot::B].map(Slot::recovery_name);
    for name in recovery.into_iter().chain([state.kernel.kernel_name()]) {
        let path = folder.join(name);
        std::fs::write(&path, disk.boot_file(name)?.unwrap_or_default())?;
        dau_boot_state::fit::check(&path).with_context(|| name.to_owned())?;
        std::fs::remove_file(&path)?;
    }
    for label in [dau_system::ROOTFS_LABEL, dau_system::MNT_LABEL] {
        let copy = disk.extract(disk.partition(label)?)?;
        checkers::mend(copy.path())
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
