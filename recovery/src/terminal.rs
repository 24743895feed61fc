//! The terminal: three partitions, or folders and files in their place in tests and runs by hand.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use dau_model::Slot;
use dau_system::cmdline::{BootReason, CommandLine};
use dau_system::partitions::{self, FindError};
use dau_system::release::{Release, OS_RELEASE};
use dau_system::volume::Volume;
use dau_system::{BOOT_LABEL, MNT_LABEL, ROOTFS_LABEL};

use crate::failpoint::Failpoint;
use crate::heartbeat;

/// The keyring's folder in RecoveryOS's image.
pub const KEYRING: &str = "/etc/dau/keyring";
/// Time for partitions to appear after the drivers were loaded.
const DEVICE_WAIT: Duration = Duration::from_secs(20);

/// The terminal that a run works on.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// Partition boot.
    pub boot: Volume,
    /// Partition mnt.
    pub mnt: Volume,
    /// Partition rootfs, as bytes.
    pub rootfs: RootfsDevice,
    /// Partition rootfs, mounted. A folder given by hand stands only for its files, which are then
    /// not those of the written image.
    pub rootfs_files: Volume,
    /// Directory of the keyring.
    pub keyring: PathBuf,
    /// RecoveryOS's own release.
    pub release: Release,
    /// U-Boot's reason for starting RecoveryOS.
    pub reason: Option<BootReason>,
    /// The slot of the running RecoveryOS.
    pub recovery: Option<Slot>,
    /// Failpoints, where tests cut the power.
    pub failpoint: Failpoint,
    /// Called whenever the work makes progress.
    pub progress: fn(),
}

/// The device of the root filesystem.
#[derive(Debug, Clone)]
pub enum RootfsDevice {
    /// The partition with this label.
    Label(&'static str),
    /// A device or a plain file.
    Path(PathBuf),
}

impl Terminal {
    /// Returns the terminal that this program runs on, for the child of process 1.
    pub fn real() -> Self {
        let partition = |label: &str, file_system: &str, mount_point: &str| Volume::Partition {
            label: label.to_owned(),
            file_system: file_system.to_owned(),
            mount_point: PathBuf::from(mount_point),
        };
        let command_line = CommandLine::read();
        Terminal {
            boot: partition(BOOT_LABEL, "vfat", "/run/boot"),
            mnt: partition(MNT_LABEL, "ext4", "/run/mnt"),
            rootfs: RootfsDevice::Label(ROOTFS_LABEL),
            rootfs_files: partition(ROOTFS_LABEL, "ext4", "/run/rootfs"),
            keyring: PathBuf::from(KEYRING),
            release: Release::read(OS_RELEASE.as_ref()).unwrap_or_else(|error| {
                log::warn!("cannot read {OS_RELEASE}: {error}");
                Release::default()
            }),
            reason: command_line.reason,
            recovery: command_line.recovery,
            failpoint: Failpoint::default(),
            progress: heartbeat::tick,
        }
    }

    /// Waits until the partitions exist, as drivers find disks at their own pace.
    pub fn wait_for_partitions(&self) -> Result<(), FindError> {
        let volumes = [&self.boot, &self.mnt, &self.rootfs_files];
        let labels = volumes.map(|volume| match volume {
            Volume::Partition { label, .. } => Some(label),
            Volume::Directory(_) => None,
        });
        let mut waited = Duration::ZERO;
        loop {
            let missing = labels
                .into_iter()
                .flatten()
                .find_map(|label| partitions::find_by_label(label).err());
            match missing {
                None => return Ok(()),
                Some(error) if waited >= DEVICE_WAIT => return Err(error),
                Some(_) => {
                    let pause = Duration::from_millis(20);
                    std::thread::sleep(pause);
                    waited = waited.saturating_add(pause);
                }
            }
        }
    }
}

impl RootfsDevice {
    /// Returns the device or file.
    pub fn path(&self) -> Result<PathBuf> {
        match self {
            RootfsDevice::Label(label) => Ok(partitions::find_by_label(label)?),
            RootfsDevice::Path(path) => Ok(path.clone()),
        }
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> Result<u64> {
        let path = self.path()?;
        File::open(&path)
            .and_then(|mut file| file.seek(SeekFrom::End(0)))
            .with_context(|| format!("cannot learn the size of {}", path.display()))
    }
}
