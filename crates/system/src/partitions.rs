//! Partitions by their GPT name, read from sysfs (no udev, no blkid).
//!
//! Source: the `PARTNAME` and `DEVNAME` keys that the Linux block layer puts into
//! `/sys/class/block/<partition>/uevent` (block/partitions/core.c, `part_uevent`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's list of block devices.
pub const SYS_CLASS_BLOCK: &str = "/sys/class/block";

/// A reason why a label identifies no partition.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// sysfs could not be read.
    #[error("cannot list block devices in {path}: {source}")]
    List {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No partition has the label.
    #[error("no partition is labelled '{0}': check the disk and its partition table")]
    NotFound(String),
    /// Several partitions have the label, so none can be chosen.
    #[error("several partitions are labelled '{label}' ({devices}): remove the other disk")]
    Ambiguous {
        /// The label.
        label: String,
        /// Their device names.
        devices: String,
    },
}

/// Returns the device (`/dev/...`) of the only partition labelled `label`.
///
/// A removable disk with the same label (a technician's stick) is ignored if there is a fixed one.
pub fn find_by_label(label: &str) -> Result<PathBuf, FindError> {
    find_in(Path::new(SYS_CLASS_BLOCK), label)
}

/// Does the same as [`find_by_label`] in a copy of `/sys/class/block`.
pub fn find_in(sys_class_block: &Path, label: &str) -> Result<PathBuf, FindError> {
    let list_error = |source| FindError::List {
        path: sys_class_block.to_owned(),
        source,
    };
    let mut fixed = Vec::new();
    let mut removable = Vec::new();
    for entry in fs::read_dir(sys_class_block).map_err(list_error)? {
        let folder = entry.map_err(list_error)?.path();
        // The device of a partition may vanish between listing and reading; ignore it.
        let Ok(uevent) = fs::read_to_string(folder.join("uevent")) else {
            continue;
        };
        if value(&uevent, "PARTNAME") != Some(label) {
            continue;
        }
        let Some(name) = value(&uevent, "DEVNAME") else {
            continue;
        };
        let list = if is_removable(&folder) {
            &mut removable
        } else {
            &mut fixed
        };
        list.push(format!("/dev/{name}"));
    }
    let mut found = if fixed.is_empty() { removable } else { fixed };
    found.sort();
    match found.as_slice() {
        [] => Err(FindError::NotFound(label.to_owned())),
        [one] => Ok(PathBuf::from(one)),
        _ => Err(FindError::Ambiguous {
            label: label.to_owned(),
            devices: found.join(", "),
        }),
    }
}

fn value<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Tells whether the disk of a partition is removable.
fn is_removable(partition: &Path) -> bool {
    // A class entry is a link to .../<disk>/<partition>; `removable` is in the disk's folder.
    let Ok(real) = fs::canonicalize(partition) else {
        return false;
    };
    real.parent()
        .and_then(|disk| fs::read_to_string(disk.join("removable")).ok())
        .is_some_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(sys: &Path, disk: &str, name: &str, label: &str, removable: bool) {
        let folder = sys.join("devices").join(disk).join(name);
        fs::create_dir_all(&folder).unwrap();
        let text = if removable { "1\n" } else { "0\n" };
        fs::write(sys.join("devices").join(disk).join("removable"), text).unwrap();
        fs::write(
            folder.join("uevent"),
            format!("DEVNAME={name}\nPARTNAME={label}\n"),
        )
        .unwrap();
        let class = sys.join("class");
        fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&folder, class.join(name)).unwrap();
    }

    #[test]
    fn found_by_label_whatever_the_number() {
        let sys = tempfile::tempdir().unwrap();
        partition(sys.path(), "vda", "vda7", "rootfs", false);
        partition(sys.path(), "vda", "vda1", "rootfs-old", false);
        let class = sys.path().join("class");
        assert_eq!(find_in(&class, "rootfs").unwrap(), Path::new("/dev/vda7"));
        assert!(matches!(
            find_in(&class, "mnt"),
            Err(FindError::NotFound(_))
        ));
    }

    #[test]
    fn a_stick_with_the_same_label_is_not_taken() {
        let sys = tempfile::tempdir().unwrap();
        partition(sys.path(), "sda", "sda1", "mnt", true);
        partition(sys.path(), "vda", "vda3", "mnt", false);
        assert_eq!(
            find_in(&sys.path().join("class"), "mnt").unwrap(),
            Path::new("/dev/vda3")
        );
    }

    #[test]
    fn two_fixed_disks_with_the_label_are_refused() {
        let sys = tempfile::tempdir().unwrap();
        partition(sys.path(), "vda", "vda3", "mnt", false);
        partition(sys.path(), "vdb", "vdb3", "mnt", false);
        let error = find_in(&sys.path().join("class"), "mnt").unwrap_err();
        assert!(
            error.to_string().contains("/dev/vda3, /dev/vdb3"),
            "{error}"
        );
    }
}
