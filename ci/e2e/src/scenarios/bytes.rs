//! What an upgrade takes of the terminal's link, counted outside the terminal.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_package::make::Pki;
use dau_package::Head;
use dau_rig::hostile::{self, Signatory};
use dau_rig::places::{NEW, OLD};
use dau_rig::site::{Options, Site, TERMINAL};
use serde_json::json;

use super::case::{Case, Suite};
use super::expect;

/// A slow link, in bytes per second: little is on its way when it drops.
const SLOW: u64 = 256 << 10;

/// A bad link: bytes per second, bytes between two drops, silence before a drop.
const BAD: (u64, u64, Duration) = (64 << 10, 200_000, Duration::from_secs(1));
/// Bytes that the new root filesystem has and the old one has not: so large is the delta at least.
const NEWS: usize = 700_000;
/// Where they are.
const NEWS_AT: &str = "/usr/share/dau-news";

pub const BUDGET: Suite = Suite {
    options,
    cases: &[
        Case {
            name: "budget-too-small",
            about: "a package beyond the budget is refused before its first megabyte; the terminal serves on",
            run: too_small,
        },
        Case {
            name: "upgrade-delta",
            about: "a delta that the station makes upgrades a terminal over a slow link that drops, within its budget",
            run: by_delta,
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

/// The station makes a delta from what EVENT_LINKUP names; order, bad link, rebuild, RecoveryOS.
fn by_delta(site: &mut Site) -> Result<()> {
    site.proxy.limit(None);
    let old = site.places.package(OLD, "full");
    let target = site.folder.join("target.dau");
    let signatory = Signatory::of(&Pki::open(site.places.pki())?);
    let news = noise();
    let genuine = site.places.package(NEW, "rootfs");
    hostile::with_file(&genuine, &signatory, &target, NEWS_AT, &news)?;
    let (base, package) = (site.station.upload(&old)?, site.station.upload(&target)?);
    let base_sha256 = Head::read_from(std::fs::File::open(&old)?)?.manifest_sha256();
    let known = site.station.terminal(TERMINAL)?.context("no terminal")?;
    ensure!(
        known.link_up["dau"]["packages"] == json!([base_sha256]),
        "EVENT_LINKUP names other bases: {}",
        known.link_up
    );
    let size = site.station.delta(base, package)?;
    let whole = std::fs::metadata(&target)?.len();
    let budget = size + size / 4;
    ensure!(budget < whole, "the delta has {size} bytes of {whole}");

    let (speed, bytes, silence) = BAD;
    site.proxy.limit(Some(speed));
    site.proxy.drop_every(bytes, silence);
    let before = site.proxy.bytes();
    let job = site
        .station
        .order_within(TERMINAL, package, "rootfs", budget)?;
    let view = site.wait_for_result(job)?;
    let spent = site.proxy.bytes() - before;
    site.proxy.limit(None);
    site.proxy.drop_every(0, Duration::ZERO);
    expect::success(&view, expect::Kind::Rootfs)?;
    ensure!(view.delta, "the whole package was sent");
    let used = view.details["bytesUsed"].as_u64().unwrap_or(0);
    println!("        delta {size} bytes, used {used}, seen on the link {spent}, budget {budget}");
    ensure!(
        (size..=budget).contains(&used) && spent <= budget,
        "{used} bytes were used, {spent} seen on the link, for a delta of {size}, budget {budget}"
    );
    let names = view.details["stages"].as_array().into_iter().flatten();
    ensure!(
        names
            .map(|stage| &stage["name"])
            .any(|name| name == "rebuild"),
        "no rebuild in the result: {}",
        view.details
    );
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    let rootfs = site.terminal.disk()?.ext4(dau_system::ROOTFS_LABEL)?;
    ensure!(
        rootfs.read(NEWS_AT)?.is_some_and(|found| found == news),
        "{NEWS_AT} is not what the delta brought"
    );
    expect::upgraded_by_delta(site, &target)
}

/// Returns bytes that no compressor makes less of, the same each time.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..NEWS).map(|_| next()).collect()
}
