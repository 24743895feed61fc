//! What an upgrade takes of the terminal's link, counted outside the terminal.

use anyhow::{ensure, Result};
use dau_rig::places::NEW;
use dau_rig::site::{Options, Site, TERMINAL};

use super::case::{Case, Suite};
use super::expect;

/// A slow link, in bytes per second: little is on its way when it drops.
const SLOW: u64 = 256 << 10;

pub const BUDGET: Suite = Suite {
    options,
    cases: &[
        Case {
            name: "budget-too-small",
            about: "a package beyond the budget is refused before its first megabyte; the terminal serves on",
            run: too_small,
        },
    ],
};

fn options() -> Options {
    Options {
        one_link: true,
        ..expect::options()
    }
}

fn too_small(site: &mut Site) -> Result<()> {
    let mark = site.terminal.console().mark();
    site.proxy.limit(Some(SLOW));
    let size = std::fs::metadata(site.places.package(NEW, "full"))?.len();
    let budget = size / 2;
    let package = site.station.upload(&site.places.package(NEW, "full"))?;
    let before = site.proxy.bytes();
    let job = site
        .station
        .order_within(TERMINAL, package, "full", budget)?;
    let view = site.wait_for_result(job)?;
    let spent = site.proxy.bytes() - before;
    ensure!(
        view.outcome.as_deref() == Some("refused") && view.word == "budget",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    ensure!(spent < 1 << 20, "{spent} bytes of {budget} were spent");
    site.station.exactly_one_result(job)?;
    expect::runs_on(site, mark)
}
