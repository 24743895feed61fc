//! Shared steps.

use anyhow::{ensure, Result};
use dau_rig::places::OLD;
use dau_rig::site::Site;
use dau_rig::station::JobView;
use dau_rig::terminal::fault::{Access, Fault};

use crate::scenarios::expect::{self, Kind};

/// Power-cycles the terminal with these faults, and waits for its application.
pub(super) fn restart(site: &mut Site, faults: Vec<Fault>) -> Result<()> {
    site.power_cut();
    site.terminal.set_faults(&faults)?;
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()
}

/// Cuts the power and returns a fault that fails all writes to a partition in units of `unit`
/// bytes.
pub(super) fn takes_no_writes(site: &mut Site, label: &str, unit: u64) -> Result<Fault> {
    site.power_cut();
    let extent = site.terminal.disk()?.partition(label)?;
    Ok(Fault::all_of(extent, unit, Access::Write))
}

/// Expects that the job ended with this outcome and word, and that the old OS runs.
pub(super) fn ended(site: &mut Site, view: &JobView, outcome: &str, word: &str) -> Result<()> {
    ensure!(
        view.outcome.as_deref() == Some(outcome) && view.word == word,
        "job {} ended {:?} ({}): {}",
        view.id,
        view.outcome,
        view.word,
        view.message
    );
    site.terminal.wait_until_serving()?;
    site.wait_for_version(OLD)
}

/// Expects that the job succeeds and the disk holds the new version.
pub(super) fn goes_through(site: &mut Site, job: i64, kind: Kind) -> Result<()> {
    let view = site.wait_for_result(job)?;
    expect::success(&view, kind)?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, kind)
}
