//! Shared expectations of the disk and the station.

pub use dau_model::Kind;

use std::io::Cursor;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{kernel_name, recovery_name, BootState};
use dau_handoff::{Layout, MNT};
use dau_model::Slot;
use dau_package::{verify_kept, Form, Head, Keyring};
use dau_system::release::Release;

use dau_rig::disk::Handoff;
use dau_rig::places::{NEW, OLD};
use dau_rig::site::{Options, Site, SETTINGS, SET_HERE};
use dau_rig::station::JobView;
use dau_rig::terminal::{line, Mark};

/// Returns options with application settings that differ from the defaults.
pub fn options() -> Options {
    Options {
        settings: vec![(SETTINGS, SET_HERE.to_owned())],
        ..Options::default()
    }
}

/// Expects a successful upgrade in the station's view of a job.
pub fn success(job: &JobView, kind: Kind) -> Result<()> {
    ensure!(
        job.outcome.as_deref() == Some("success"),
        "job {} ended {:?} ({}): {}",
        job.id,
        job.outcome,
        job.word,
        job.message
    );
    let details = &job.details;
    let text = |key: &str| details[key].as_str().unwrap_or_default().to_owned();
    ensure!(
        text("versionBefore") == OLD && text("versionAfter") == version_after(kind),
        "versions in the result: {details}"
    );
    let changed = text("kernelBefore") != text("kernelAfter");
    ensure!(
        changed == kind.has_kernel(),
        "kernels in the result: {details}"
    );
    ensure!(
        !text("parametersBefore").is_empty() && text("parametersBefore") == text("parametersAfter"),
        "parameters in the result: {details}"
    );
    Ok(())
}

/// Expects the disk after a successful upgrade; the terminal must be off.
pub fn upgraded(site: &Site, kind: Kind) -> Result<()> {
    installed(site, kind)?;
    kept_packages(site, kind)
}

/// Expects the same after an upgrade of the root filesystem by a delta of which the agent made the
/// package in `target`: in its own form, it is what a rollback would install.
pub fn upgraded_by_delta(site: &Site, target: &Path) -> Result<()> {
    installed(site, Kind::Rootfs)?;
    let handoff = site.terminal.disk()?.handoff()?;
    let kept = handoff.file(Layout::installed)?;
    let kept = kept.context("there is no installed.dau")?;
    let keyring = Keyring::load(&site.places.pki().join("keyring"))?;
    let verified = verify_kept(Cursor::new(kept), &keyring, &mut |_, _| Ok(()))?;
    let signed = Head::read_from(std::fs::File::open(target)?)?;
    ensure!(
        verified.form == Form::Rebuilt && verified.manifest_sha256 == signed.manifest_sha256(),
        "installed.dau is {:?} {}",
        verified.form,
        verified.manifest.version
    );
    let old = std::fs::read(site.places.package(OLD, "full"))?;
    ensure!(
        handoff.file(Layout::installed_kernel)? == Some(old),
        "installed-kernel.dau is not the old package"
    );
    nothing_left(&handoff)
}

/// Expects what a successful upgrade installs.
fn installed(site: &Site, kind: Kind) -> Result<()> {
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state
            == BootState {
                seq: state.seq,
                ..BootState::factory().steady(slot_after(kind))
            },
        "the boot state is {state:?}"
    );
    for (slot, version, package) in [(Slot::A, OLD, "full"), (Slot::B, NEW, kind.word())] {
        if slot == Slot::A || kind.has_kernel() {
            let kernel = disk.boot_file(kernel_name(slot))?.unwrap_or_default();
            // U-Boot ignores the rest of a longer old kernel behind the new one's end.
            ensure!(
                kernel.starts_with(&site.payload(version, package, "kernel.itb")?),
                "{} is not that of {version}",
                kernel_name(slot)
            );
        }
    }
    disk.check_boot()?;
    os_release(site, version_after(kind))?;
    parameters(site)
}

/// Expects exactly the packages needed for a rollback.
fn kept_packages(site: &Site, kind: Kind) -> Result<()> {
    let handoff = site.terminal.disk()?.handoff()?;
    let new = std::fs::read(site.places.package(NEW, kind.word()))?;
    let old = std::fs::read(site.places.package(OLD, "full"))?;
    let (installed, kernel) = match kind {
        Kind::Full => (new, None),
        Kind::Rootfs => (new, Some(old)),
        Kind::Kernel => (old, Some(new)),
        Kind::Recovery => (old, None),
    };
    ensure!(
        handoff.file(Layout::installed)? == Some(installed),
        "installed.dau is not what runs"
    );
    ensure!(
        handoff.file(Layout::installed_kernel)? == kernel,
        "installed-kernel.dau is not what it must be"
    );
    nothing_left(&handoff)
}

/// Expects no unfinished package on mnt.
fn nothing_left(handoff: &Handoff) -> Result<()> {
    ensure!(
        handoff.file(Layout::candidate)?.is_none(),
        "candidate.dau is still there"
    );
    handoff.mnt().check().context("mnt")
}

/// Expects this OS version on the root filesystem, and no errors in the file system.
pub fn os_release(site: &Site, version: &str) -> Result<()> {
    let rootfs = site.terminal.disk()?.ext4(dau_system::ROOTFS_LABEL)?;
    let release = rootfs.read("/usr/lib/os-release")?;
    let release = match release {
        Some(text) => text,
        None => rootfs.text("/etc/os-release")?.into_bytes(),
    };
    let release = Release::parse(&String::from_utf8_lossy(&release));
    ensure!(
        release.version == version,
        "rootfs holds {:?}, not {version}",
        release.version
    );
    rootfs.check().context("rootfs")
}

/// Expects the parameters as they were set on this terminal.
pub fn parameters(site: &Site) -> Result<()> {
    let rootfs = site.terminal.disk()?.ext4(dau_system::ROOTFS_LABEL)?;
    let settings = rootfs.text(SETTINGS)?;
    ensure!(
        settings == SET_HERE,
        "{SETTINGS} was changed to: {settings}"
    );
    let mode = rootfs.owner_and_mode(SETTINGS)?;
    ensure!(mode == "0:0 0644", "{SETTINGS} is now {mode}");
    Ok(())
}

/// Expects the disk as it left the factory, after refusals; the terminal must be off.
pub fn untouched(site: &Site) -> Result<()> {
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state
            == BootState {
                seq: state.seq,
                ..BootState::factory()
            },
        "the boot state is {state:?}"
    );
    let factory = site.places.image(OLD);
    for slot in [Slot::A, Slot::B] {
        for name in [kernel_name(slot), recovery_name(slot)] {
            ensure!(
                disk.boot_file(name)? == factory.boot_file(name)?,
                "{name} was changed"
            );
        }
    }
    os_release(site, OLD)?;
    parameters(site)?;
    let handoff = disk.handoff()?;
    let installed = std::fs::read(site.places.package(OLD, "full"))?;
    ensure!(
        handoff.file(Layout::installed)? == Some(installed),
        "installed.dau was changed"
    );
    handoff.mnt().check().context("mnt")
}

/// Expects that the application serves, that nothing rebooted since `since`, and that mnt holds no
/// package.
pub fn runs_on(site: &mut Site, since: Mark) -> Result<()> {
    let booted = site.terminal.console().count(since, line::NORMAL)
        + site.terminal.console().count(since, line::RECOVERY);
    ensure!(booted == 0, "the terminal rebooted");
    site.terminal.wait_until_serving()?;
    // Through a pipe, as busybox colours its output on a terminal.
    let folder = Layout::new(Path::new(MNT)).packages();
    let list = format!("ls {} | cat", folder.display());
    let packages = site.terminal.shell()?.run(&list)?;
    let packages: Vec<&str> = packages.split_ascii_whitespace().collect();
    ensure!(
        packages == ["installed.dau"],
        "on mnt there is {packages:?}"
    );
    Ok(())
}

/// Returns the kernel slot that runs after an upgrade of this kind.
fn slot_after(kind: Kind) -> Slot {
    match kind.has_kernel() {
        true => Slot::B,
        false => Slot::A,
    }
}

/// Returns the OS version that runs after an upgrade of this kind.
fn version_after(kind: Kind) -> &'static str {
    match kind.has_rootfs() {
        true => NEW,
        false => OLD,
    }
}
