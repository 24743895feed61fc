//! Downloads that end early: for lack of space, and by cancellation.

use anyhow::{ensure, Context, Result};
use dau_rig::places::NEW;
use dau_rig::site::Site;
use dau_rig::terminal::limit;
use dau_rig::wait;

use crate::scenarios::expect;

/// Bytes per second, slow enough that little is downloaded before the end.
const SLOW: u64 = 128 << 10;

pub(super) fn no_space(site: &mut Site) -> Result<()> {
    let mark = site.terminal.console().mark();
    let size = std::fs::metadata(site.places.package(NEW, "full"))?.len();
    let shell = site.terminal.shell()?;
    let free = shell.run("df -k /mnt | tail -n 1")?;
    let free: u64 = free
        .split_ascii_whitespace()
        .nth(3)
        .context("df's fourth column")?
        .parse()?;
    let room = size / 2 / 1024;
    shell.run(&format!("fallocate -l {} /mnt/full", (free - room) * 1024))?;
    // Slow, so that little is in transit when the terminal closes the connection.
    site.proxy.limit(Some(SLOW));
    let before = site.proxy.bytes_down();
    let job = site.order(NEW, "full")?;
    let view = site.wait_for_result(job)?;
    site.proxy.limit(None);
    ensure!(
        matches!(view.outcome.as_deref(), Some("refused" | "failed")) && view.word == "no-space",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    // The station's data in transit when the terminal closed the connection.
    let fetched = site.proxy.bytes_down() - before;
    ensure!(
        fetched < size / 4,
        "{fetched} bytes were fetched although there was no room"
    );
    site.station.exactly_one_result(job)?;
    site.terminal.shell()?.run("rm /mnt/full")?;
    expect::runs_on(site, mark)
}

pub(super) fn cancel(site: &mut Site) -> Result<()> {
    let mark = site.terminal.console().mark();
    site.proxy.limit(Some(2 << 20));
    let before = site.proxy.bytes_down();
    let job = site.order(NEW, "full")?;
    wait::until("the download to be under way", limit::COMMAND, || {
        Ok((site.proxy.bytes_down() - before > 4 << 20).then_some(()))
    })?;
    site.station.cancel(job)?;
    let view = site.wait_for_result(job)?;
    site.proxy.limit(None);
    ensure!(
        view.outcome.as_deref() == Some("cancelled"),
        "job {job} ended {:?}",
        view.outcome
    );
    site.station.exactly_one_result(job)?;
    expect::runs_on(site, mark)
}
