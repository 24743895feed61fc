//! Upgrades disturbed by failures other than of power, or by an intruder.

use anyhow::{ensure, Result};
use dau_handoff::{Layout, MNT};

use super::case::{Case, Suite};
use super::expect::{self, Kind};
use dau_rig::disk::Handoff;
use dau_rig::hostile::{self, Tampering};
use dau_rig::places::{NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::{limit, line};
use dau_rig::wait;

/// Speed of the slow connection, bytes per second.
const SLOW: u64 = 6 << 20;
/// Bytes that may be in transit when a connection ends (sockets, QEMU, TLS), plus the cost of a new
/// connection.
const LOST: u64 = 2 << 20;

pub const DOWNLOAD: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "station-killed-in-download",
        about: "the station is killed in mid-download; the download resumes without fetching anything twice",
        run: station_killed,
    }],
};

pub const STATION_AND_BROKER: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "station-and-broker-killed",
        about: "both are killed while RecoveryOS is at work; job and result are not lost",
        run: both_killed,
    }],
};

pub const EXCHANGED: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "package-exchanged-on-mnt",
        about:
            "the package is exchanged after arming; RecoveryOS refuses it and the old OS runs on",
        run: exchanged,
    }],
};

fn station_killed(site: &mut Site) -> Result<()> {
    site.proxy.limit(Some(SLOW));
    let size = std::fs::metadata(site.places.package(NEW, "full"))?.len();
    let job = site.order(NEW, "full")?;
    let half = |site: &Site, part: u64| {
        let proxy = &site.proxy;
        wait::until("part of the download", limit::JOB, || {
            Ok((proxy.bytes_down() > size * part / 100).then_some(()))
        })
    };
    half(site, 40)?;
    site.station.kill();
    std::thread::sleep(std::time::Duration::from_secs(3));
    site.station.start_again()?;
    // Then the connection alone.
    half(site, 70)?;
    site.proxy.cut();
    let view = site.wait_for_result(job)?;
    let fetched = site.proxy.bytes_down();
    expect::success(&view, Kind::Full)?;
    ensure!(
        fetched >= size && fetched <= size + size / 100 + LOST,
        "{fetched} bytes were fetched of a package of {size}"
    );
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Full)
}

fn both_killed(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "rootfs")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.station.kill();
    site.broker.kill();
    site.wait_for_line(&mut mark, line::NORMAL)?;
    site.broker.start_again()?;
    site.station.start_again()?;
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Rootfs)?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Rootfs)
}

fn exchanged(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.power_cut();
    let hostile = site.folder.join("hostile.dau");
    hostile::tamper(
        &site.places.package(NEW, "full"),
        Tampering::Rootfs,
        &hostile,
    )?;
    let disk = site.terminal.disk()?;
    ensure!(disk.boot_state()?.upgrade, "the flag is not set");
    let candidate = Handoff::inside(&Layout::new(MNT.as_ref()).candidate())?;
    let mnt = disk.ext4_in_place(dau_system::MNT_LABEL)?;
    mnt.put(&candidate, &hostile, "0100644")?;
    drop(mnt);

    site.terminal.power_on()?;
    let view = site.wait_for_result(job)?;
    ensure!(
        matches!(view.outcome.as_deref(), Some("failed" | "refused"))
            && view.word == "md5-mismatch",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    site.wait_for_version(OLD)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    expect::untouched(site)
}
