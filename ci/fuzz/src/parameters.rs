//! A parameter backup, as RecoveryOS restores it as root from mnt, which has no signature.

use std::fs::{self, Permissions};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;

use dau_handoff::parameters::{compare, read_back, restore, ParametersError};
use dau_handoff::ParametersRecord;

use crate::file::{self, InMemory};
use crate::memory;

/// One extended header, and the paths so far.
const MEMORY: usize = 4 << 20;
/// A file beside the root that must not change.
const WITNESS: &str = "witness";
const TESTIMONY: &str = "as it was";

pub fn check(data: &[u8]) {
    let tar = InMemory::new(data);
    let folder = tempfile::tempdir_in(file::folder()).expect("there is room");
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    fs::create_dir_all(root.join("etc/app")).expect("there is room");
    fs::create_dir(&outside).expect("there is room");
    fs::write(outside.join(WITNESS), TESTIMONY).expect("there is room");
    // Ways out of the root, as an application might have left them.
    symlink("../../outside", root.join("etc/out")).expect("there is room");
    symlink(&outside, root.join("etc/absolute")).expect("there is room");
    symlink("../../outside/witness", root.join("etc/app/file")).expect("there is room");
    let before = seen(&outside);

    let record = ParametersRecord {
        backup_sha256: String::new(),
        digest: String::new(),
        entries: 0,
    };
    let path = tar.path();
    let read = memory::within(MEMORY, || compare(&root, &path));
    let known = memory::within(MEMORY, || read_back(&path, &path, &record));
    known.expect_err("a backup without its digest was taken");
    let restored = memory::within(MEMORY, || restore(&path, &root));
    assert_eq!(
        seen(&outside),
        before,
        "something outside of the root was changed"
    );
    match &restored {
        Ok(restored) => {
            read.expect("what is put back can be read");
            let compared = compare(&root, &path).expect("what was put back can be read");
            assert_eq!(compared.changed, Vec::<std::path::PathBuf>::new());
            assert_eq!(compared.digest, restored.digest);
        }
        Err(ParametersError::Io { .. }) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    open_up(folder.path());
}

/// Returns names, kinds, owners, modes and contents.
fn seen(folder: &Path) -> Vec<(String, u32, u32, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("it can be listed").flatten();
    let mut seen: Vec<_> = entries
        .map(|entry| {
            let data = entry.path().symlink_metadata().expect("it is there");
            let content = fs::read(entry.path()).unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, data.mode(), data.uid(), content)
        })
        .collect();
    seen.sort();
    seen
}

/// Makes folders readable, so that an ordinary user can remove them.
fn open_up(folder: &Path) {
    let Ok(data) = folder.symlink_metadata() else {
        return;
    };
    if !data.is_dir() {
        return;
    }
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}
