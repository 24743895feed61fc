//! What several tests expect of a disk and of the station.

use anyhow::{ensure, Context, Result};
use dau_boot_state::{BootState, Slot};
use dau_handoff::Layout;
use dau_system::release::Release;

use crate::places::{NEW, OLD};
use crate::site::{Options, Site};
use crate::station::JobView;

/// The example application's settings: parameters that must survive.
pub const SETTINGS: &str = "/etc/dau-example/settings.toml";
/// As an operator left it on this terminal.
pub const SET_HERE: &str = "# Set on site\nstation_address = 47\n";

/// A site whose terminal was set to something of its own.
pub fn options() -> Options {
    Options {
        settings: vec![(SETTINGS, SET_HERE.to_owned())],
        ..Options::default()
    }
}

/// Which parts an upgrade replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Full,
    Kernel,
    Rootfs,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::Kernel => "kernel",
            Kind::Rootfs => "rootfs",
        }
    }

    fn has_kernel(self) -> bool {
        self != Kind::Rootfs
    }

    fn has_rootfs(self) -> bool {
        self != Kind::Kernel
    }

    /// Kernel slot that runs afterwards.
    fn slot(self) -> Slot {
        if self.has_kernel() {
            Slot::B
        } else {
            Slot::A
        }
    }

    /// OS version that runs afterwards.
    fn version(self) -> &'static str {
        if self.has_rootfs() {
            NEW
        } else {
            OLD
        }
    }
}

/// The station's view of an upgrade that went well.
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
        text("versionBefore") == OLD && text("versionAfter") == kind.version(),
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

/// The disk after an upgrade of this kind that went well; the terminal has no power.
pub fn upgraded(site: &Site, kind: Kind) -> Result<()> {
    let disk = site.terminal.disk()?;
    let state = disk.boot_state()?;
    ensure!(
        state
            == BootState {
                seq: state.seq,
                ..BootState::factory().steady(kind.slot())
            },
        "the boot state is {state:?}"
    );
    for (slot, version, package) in [(Slot::A, OLD, "full"), (Slot::B, NEW, kind.word())] {
        if slot == Slot::A || kind.has_kernel() {
            let kernel = disk.boot_file(slot.kernel_name())?.unwrap_or_default();
            // What a longer kernel left behind the end is not looked at by U-Boot.
            ensure!(
                kernel.starts_with(&site.payload(version, package, "kernel.itb")?),
                "{} is not that of {version}",
                slot.kernel_name()
            );
        }
    }
    disk.check_boot()?;
    os_release(site, kind.version())?;
    parameters(site)?;
    kept_packages(site, kind)
}

/// What is kept for the way back, and that nothing else is.
fn kept_packages(site: &Site, kind: Kind) -> Result<()> {
    let handoff = site.terminal.disk()?.handoff()?;
    let new = std::fs::read(site.places.package(NEW, kind.word()))?;
    let old = std::fs::read(site.places.package(OLD, "full"))?;
    let (installed, kernel) = match kind {
        Kind::Full => (new, None),
        Kind::Rootfs => (new, Some(old)),
        Kind::Kernel => (old, Some(new)),
    };
    ensure!(
        handoff.file(Layout::installed)? == Some(installed),
        "installed.dau is not what runs"
    );
    ensure!(
        handoff.file(Layout::installed_kernel)? == kernel,
        "installed-kernel.dau is not what it must be"
    );
    ensure!(
        handoff.file(Layout::candidate)?.is_none(),
        "candidate.dau is still there"
    );
    handoff.mnt().check().context("mnt")
}

/// The OS version on the root filesystem, and that the file system is sound.
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

/// The parameters are as they were set on this terminal.
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

/// The disk of a terminal that refused whatever it was given: as it left the factory. It has no power.
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
        for name in [slot.kernel_name(), slot.recovery_name()] {
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
