//! Upgrades of RecoveryOS, by one that works and one that does not start.

use anyhow::{ensure, Context, Result};
use dau_boot_state::{kernel_name, recovery_name, BootState};
use dau_model::Slot;
use dau_package::make::Pki;
use serde_json::json;

use super::case::{Case, Suite};
use super::expect;
use dau_rig::hostile::{self, Signatory};
use dau_rig::places::{NEW, OLD};
use dau_rig::site::{Site, TERMINAL};
use dau_rig::station::JobView;
use dau_rig::terminal::line;

pub const RECOVERY_OS: Suite = Suite {
    options: expect::options,
    cases: &[
        Case {
            name: "recovery-os-does-not-come-up",
            about:
                "a new RecoveryOS whose kernel panics; the old one stays in charge, in both slots",
            run: does_not_come_up,
        },
        Case {
            name: "upgrade-recovery-os",
            about: "RecoveryOS is replaced in the other slot, checks itself and takes charge",
            run: upgrade,
        },
    ],
};

pub const BROUGHT_ALONG: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "upgrade-full-with-recovery-os",
        about: "a full package brings a RecoveryOS: it is upgraded once the new OS is confirmed, \
            with one result for both",
        run: brought_along,
    }],
};

/// Returns the payload of the RecoveryOS package.
fn payload(site: &Site) -> Result<Vec<u8>> {
    site.payload(NEW, "recovery", "recovery.itb")
}

fn does_not_come_up(site: &mut Site) -> Result<()> {
    let (broken, package) = (
        site.folder.join("broken.itb"),
        site.folder.join("broken.dau"),
    );
    hostile::recovery_without_init(&payload(site)?, &site.places, &broken)?;
    let signatory = Signatory::of(&Pki::open(site.places.pki())?);
    hostile::recovery_package(
        &site.places.package(NEW, "full"),
        &signatory,
        &broken,
        &package,
    )?;
    let mut mark = site.terminal.console().mark();
    let package = site.station.upload(&package)?;
    let job = site.station.order(TERMINAL, package, "recovery")?;
    site.wait_for_line(&mut mark, line::CHECK)?;
    site.wait_for_line(&mut mark, line::NORMAL)?;
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("failed") && view.word == "recovery-not-proven",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    ended(site, job, &view, OLD)?;
    site.power_cut();
    let disk = site.terminal.disk()?;
    in_charge(site, Slot::A)?;
    let (a, b) = (
        disk.boot_file(recovery_name(Slot::A))?,
        disk.boot_file(recovery_name(Slot::B))?.unwrap_or_default(),
    );
    let a = a.context("recovery-a.itb is gone")?;
    ensure!(
        b.starts_with(&a),
        "the broken RecoveryOS still stands in slot b"
    );
    expect::os_release(site, OLD)?;
    expect::parameters(site)?;
    site.start()
}

fn upgrade(site: &mut Site) -> Result<()> {
    let mut mark = site.terminal.console().mark();
    let job = site.order(NEW, "recovery")?;
    site.wait_for_line(&mut mark, line::CHECK)?;
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("success"),
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    ensure!(
        view.message.contains(NEW),
        "the result does not say which RecoveryOS: {}",
        view.message
    );
    ended(site, job, &view, NEW)?;
    new_one_in_charge(site)?;
    in_charge(site, Slot::B)?;
    let disk = site.terminal.disk()?;
    let factory = site.places.image(OLD);
    for name in [
        recovery_name(Slot::A),
        kernel_name(Slot::A),
        kernel_name(Slot::B),
    ] {
        ensure!(
            disk.boot_file(name)? == factory.boot_file(name)?,
            "{name} was changed"
        );
    }
    disk.check_boot()?;
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}

fn brought_along(site: &mut Site) -> Result<()> {
    let (recovery, package) = (
        site.folder.join("recovery.itb"),
        site.folder.join("with-recovery.dau"),
    );
    std::fs::write(&recovery, payload(site)?)?;
    hostile::with_recovery(
        &site.places.package(NEW, "full"),
        &Signatory::of(&Pki::open(site.places.pki())?),
        &recovery,
        &package,
    )?;
    let mut mark = site.terminal.console().mark();
    let package = site.station.upload(&package)?;
    let job = site.station.order(TERMINAL, package, "full")?;
    for moment in [line::RECOVERY, line::CHECK, line::NORMAL] {
        site.wait_for_line(&mut mark, moment)?;
    }
    let view = site.wait_for_result(job)?;
    expect::success(&view, expect::Kind::Full)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    new_one_in_charge(site)?;
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state.kernel == Slot::B && !state.trial && !state.upgrade,
        "the boot state is {state:?}"
    );
    disk.check_boot()?;
    expect::os_release(site, NEW)?;
    expect::parameters(site)
}

/// Expects the new RecoveryOS at the station, and in charge on the disk; switches the terminal off.
fn new_one_in_charge(site: &mut Site) -> Result<()> {
    let said = site.station.terminal(TERMINAL)?;
    let said = said
        .context("the station does not know the terminal")?
        .link_up;
    ensure!(
        said["dau"]["recoveryVersion"] == json!(NEW) && said["dau"]["recoverySlot"] == json!("b"),
        "EVENT_LINKUP says {said}"
    );
    site.power_cut();
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state.recovery == Slot::B && !state.check,
        "the boot state is {state:?}"
    );
    let slot = disk.boot_file(recovery_name(Slot::B))?.unwrap_or_default();
    ensure!(
        slot.starts_with(&payload(site)?),
        "slot b does not hold the new RecoveryOS"
    );
    Ok(())
}

/// Expects the old normal OS, one result at the station, and RecoveryOS named in it.
fn ended(site: &mut Site, job: i64, view: &JobView, recovery: &str) -> Result<()> {
    ensure!(
        view.details["versionAfter"] == json!(OLD)
            && view.details["recoveryBefore"] == json!(OLD)
            && view.details["recoveryAfter"] == json!(recovery),
        "versions in the result: {}",
        view.details
    );
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)
}

fn in_charge(site: &Site, slot: Slot) -> Result<()> {
    let state = site.terminal.disk()?.boot_state()?;
    let expected = BootState {
        seq: state.seq,
        ..BootState::factory().in_charge(slot)
    };
    ensure!(state == expected, "the boot state is {state:?}");
    Ok(())
}
