//! Tests of the whole way: list, backup, read-back, restore, comparison.

mod backup;
mod foreign;
mod hostile;
mod owners;
mod round_trip;
mod sparse;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A terminal: the old OS's root, a new root written by an upgrade, and mnt's folder of backups.
struct Terminal {
    dir: tempfile::TempDir,
    set: ParameterSet,
}

impl Terminal {
    /// Returns a terminal with a parameter list of these lines.
    fn new(list: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["old/etc/dau/parameters.d", "new", "backup"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let old = dir.path().join("old");
        fs::write(old.join("etc/dau/parameters.d/app.list"), list).unwrap();
        let set = ParameterSet::load(&old, Path::new(LISTS_DIR)).unwrap();
        Terminal { dir, set }
    }

    fn old(&self) -> PathBuf {
        self.dir.path().join("old")
    }

    fn new_root(&self) -> PathBuf {
        self.dir.path().join("new")
    }

    fn tar(&self) -> PathBuf {
        self.dir.path().join("backup/1.tar")
    }

    fn digest_file(&self) -> PathBuf {
        self.dir.path().join("backup/1.tar.sha256")
    }

    /// Writes a file on the old root, with the folders above it.
    fn file(&self, path: &str, content: &str) -> PathBuf {
        write(&self.old(), path, content)
    }

    fn backup(&self) -> Result<ParametersRecord, ParametersError> {
        backup(&self.old(), &self.set, &self.tar(), &self.digest_file())
    }

    fn read_back(&self, record: &ParametersRecord) -> Result<(), ParametersError> {
        read_back(&self.tar(), &self.digest_file(), record)
    }

    fn restore(&self) -> Result<Restored, ParametersError> {
        restore(&self.tar(), &self.new_root())
    }

    /// Returns the names in a folder of the new root; none if it does not exist.
    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.new_root().join(folder));
        let names = entries.into_iter().flatten();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn compare(&self, root: &Path) -> Comparison {
        compare(root, &self.tar()).unwrap()
    }
}

fn write(root: &Path, path: &str, content: &str) -> PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

/// Returns true if this user may set `user.*` attributes in the folder of temporary files.
fn attributes_work(dir: &Path) -> bool {
    xattr::set(dir, "user.dau-test", b"1").is_ok()
}
