//! A new OS that fails on trial.

use anyhow::{ensure, Result};
use dau_package::make::Pki;

use super::case::{Case, Suite};
use super::expect;
use dau_rig::hostile::{self, Signatory};
use dau_rig::places::{NEW, OLD};
use dau_rig::site::{Options, Site, TERMINAL};
use dau_rig::station::JobView;
use dau_rig::terminal::line;

pub const ROLLBACK: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "new-os-fails-health-check",
        about: "the new OS fails its health check; RecoveryOS puts the old one back, parameters included",
        run: fails_health_check,
    }],
};

pub const INIT_DIES: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "new-os-init-dies",
        about: "the new OS's init ends at once and its kernel panics; the tries are used up, \
            RecoveryOS puts the old OS back",
        run: init_dies,
    }],
};

pub const HANGS: Suite = Suite {
    options: || Options {
        // The default of 60 s would work too, but take longer.
        agent: "[watchdog]\ntimeout = 20\n".to_owned(),
        ..expect::options()
    },
    cases: &[Case {
        name: "new-os-agent-hangs",
        about:
            "the new OS's agent stops on trial; the watchdog uses up the tries, RecoveryOS puts \
            the old OS back",
        run: agent_hangs,
    }],
};

fn init_dies(site: &mut Site) -> Result<()> {
    let view = tries_are_used_up(site, "/sbin/init", b"#!/bin/sh\nexit 1\n")?;
    ensure!(
        view.details["log"].as_str().unwrap_or_default().is_empty(),
        "no log was kept, and the result quotes one: {}",
        view.details
    );
    Ok(())
}

fn agent_hangs(site: &mut Site) -> Result<()> {
    let stops = b"#!/bin/sh\nkill -STOP $PPID\n";
    let view = tries_are_used_up(site, "/etc/dau/health.d/05-stop", stops)?;
    let log = view.details["log"].as_str().unwrap_or_default();
    ensure!(
        log.contains("health check 05-stop"),
        "the result does not quote the new OS's log: {log:?}"
    );
    Ok(())
}

/// Upgrades to an OS whose file `path` keeps it from starting. Expects that all tries are used up,
/// the old OS is back, and the result says so.
fn tries_are_used_up(site: &mut Site, path: &str, content: &[u8]) -> Result<JobView> {
    let broken = site.folder.join("broken.dau");
    let signatory = Signatory::of(&Pki::open(site.places.pki())?);
    let genuine = site.places.package(NEW, "full");
    hostile::with_file(&genuine, &signatory, &broken, path, content)?;
    let mut mark = site.terminal.console().mark();
    let package = site.station.upload(&broken)?;
    let job = site.station.order(TERMINAL, package, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    for _ in 0..dau_boot_state::DEFAULT_TRIES {
        let said = site.wait_for_line(&mut mark, line::NORMAL)?;
        ensure!(said.contains("(trial)"), "the bootloader says {said}");
    }
    let said = site.wait_for_line(&mut mark, line::RECOVERY)?;
    ensure!(said.contains("(trial-ended)"), "the bootloader says {said}");
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("rolled-back") && view.word == "trial-ended",
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
    expect::os_release(site, OLD)?;
    expect::parameters(site)?;
    Ok(view)
}

fn fails_health_check(site: &mut Site) -> Result<()> {
    let sick = site.folder.join("sick.dau");
    let signatory = Signatory::of(&Pki::open(site.places.pki())?);
    let check = b"#!/bin/sh\necho 'the protection relay does not answer'\nexit 1\n";
    hostile::with_file(
        &site.places.package(NEW, "full"),
        &signatory,
        &sick,
        "/etc/dau/health.d/50-relay",
        check,
    )?;
    let mut mark = site.terminal.console().mark();
    let package = site.station.upload(&sick)?;
    let job = site.station.order(TERMINAL, package, "full")?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    site.wait_for_line(&mut mark, line::NORMAL)?;
    site.wait_for_line(&mut mark, line::RECOVERY)?;
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("rolled-back") && view.word == "health-executable",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    ensure!(
        view.message
            .contains("the protection relay does not answer"),
        "the result does not say which check failed: {}",
        view.message
    );
    let log = view.details["log"].as_str().unwrap_or_default();
    ensure!(
        log.contains("a health check failed: health-executable"),
        "the result does not quote the new OS's log: {log:?}"
    );
    site.wait_for_version(OLD)?;
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    site.power_cut();
    let state = site.terminal.disk()?.boot_state()?;
    ensure!(
        !state.upgrade && !state.trial,
        "the boot state is {state:?}"
    );
    expect::os_release(site, OLD)?;
    expect::parameters(site)
}
