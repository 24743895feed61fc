//! Tests of the whole way: list, backup, read-back, restore, comparison.

mod backup;
mod foreign;
mod hostile;
mod owners;
mod round_trip;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A terminal: the old OS's root, a root freshly written by an upgrade, and mnt's folder of backups.
struct Terminal {
    dir: tempfile::TempDir,
    set: ParameterSet,
}

impl Terminal {
    /// With a parameter list of these lines.
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

/// True when the machine lets this user set `user.*` attributes where temporary files lie.
fn attributes_work(dir: &Path) -> bool {
    xattr::set(dir, "user.dau-test", b"1").is_ok()
}
