//! Holes stay holes, and are never read or stored.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use super::*;

const MIB: u64 = 1 << 20;

/// Makes a file of `size` bytes with `data` at these offsets.
fn holes(path: &Path, size: u64, data: &[(u64, &str)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    for (offset, bytes) in data {
        file.write_all_at(bytes.as_bytes(), *offset).unwrap();
    }
    file.set_len(size).unwrap();
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// Makes all kinds of files with holes.
fn kinds(folder: &Path) -> Vec<PathBuf> {
    type Data = &'static [(u64, &'static str)];
    let kinds: [(&str, u64, Data); 6] = [
        ("lastlog", 256 * MIB, &[]),
        ("start", 64 * MIB, &[(0, "start")]),
        ("middle", 64 * MIB + 5, &[(30 * MIB + 7, "middle")]),
        ("end", 64 * MIB + 3, &[(64 * MIB, "end")]),
        (
            "three",
            1 << 40,
            &[(9, "a"), (10 * MIB, "b"), (1 << 39, "c")],
        ),
        ("plain", 5, &[(0, "plain")]),
    ];
    kinds
        .into_iter()
        .map(|(name, size, data)| {
            let path = folder.join(name);
            holes(&path, size, data);
            path
        })
        .collect()
}

#[test]
fn holes_stay_holes_both_ways() {
    let terminal = Terminal::new("/var/log/app\n");
    let old = kinds(&terminal.old().join("var/log/app"));
    let measured = measure(&terminal.old(), &terminal.set).unwrap();
    let record = terminal.backup().unwrap();
    terminal.read_back(&record).unwrap();
    let length = fs::metadata(terminal.tar()).unwrap().len();
    assert!(length < MIB, "{length}");
    assert!(length <= measured.archive, "{length} of {measured:?}");

    let restored = terminal.restore().unwrap();
    assert_eq!(restored.digest, record.digest);
    let mut taken = 0;
    for path in old {
        let name = path.file_name().unwrap();
        let new = terminal.new_root().join("var/log/app").join(name);
        let sizes = [&path, &new].map(|path| fs::metadata(path).unwrap().len());
        assert_eq!(sizes[0], sizes[1], "{}", new.display());
        taken += allocated(&new);
        assert!(allocated(&new) <= 64 << 10, "{}", new.display());
    }
    assert!(taken <= measured.rootfs, "{taken} of {measured:?}");
    let comparison = terminal.compare(&terminal.new_root());
    assert_eq!(comparison.changed, [] as [PathBuf; 0]);
    assert_eq!(comparison.digest, record.digest);
    // The new system continues in the same way.
    let (tar, line) = (terminal.tar(), terminal.digest_file());
    let again = backup(&terminal.new_root(), &terminal.set, &tar, &line).unwrap();
    assert_eq!(again.digest, record.digest);
}

#[test]
fn a_hole_and_stored_zeros_are_the_same_content() {
    let terminal = Terminal::new("/app\n");
    holes(&terminal.old().join("app/a"), MIB, &[(0, "x")]);
    terminal.backup().unwrap();
    terminal.restore().unwrap();
    let path = terminal.new_root().join("app/a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let dense = fs::read(&path).unwrap();
    fs::write(&path, dense).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    assert!(allocated(&path) >= MIB);
    assert_eq!(
        terminal.compare(&terminal.new_root()).changed,
        [] as [PathBuf; 0]
    );
    file.write_all_at(b"y", MIB / 2).unwrap();
    file.set_modified(time).unwrap();
    let changed = terminal.compare(&terminal.new_root()).changed;
    assert_eq!(changed, [Path::new("/app/a")]);
}

#[test]
fn gnu_tar_keeps_the_holes() {
    let terminal = Terminal::new("/var/log/app\n");
    let mut old = kinds(&terminal.old().join("var/log/app"));
    // A terabyte is too large for some test machines' file systems.
    old.retain(|path| !path.ends_with("three"));
    fs::remove_file(terminal.old().join("var/log/app/three")).unwrap();
    let record = terminal.backup().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--same-permissions").arg("-xf").arg(terminal.tar());
    let output = tar.arg("-C").arg(terminal.new_root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    for path in old {
        let name = path.file_name().unwrap();
        let new = terminal.new_root().join("var/log/app").join(name);
        assert!(allocated(&new) <= 64 << 10, "{}", new.display());
    }
    assert_eq!(terminal.compare(&terminal.new_root()).digest, record.digest);
}

#[test]
fn a_file_that_no_terminal_holds_is_named_before_anything_is_written() {
    let terminal = Terminal::new("/app\n");
    let path = terminal.old().join("app/huge");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(&path).unwrap();
    // The largest size of this file system.
    let sizes = [i64::MAX as u64, 8 << 40, 3 << 40];
    if !sizes.into_iter().any(|size| file.set_len(size).is_ok()) {
        return;
    }
    let measured = measure(&terminal.old(), &terminal.set).unwrap_err();
    let backed_up = terminal.backup().unwrap_err();
    for error in [measured, backed_up] {
        let text = error.to_string();
        assert!(text.starts_with("/app/huge has "), "{text}");
    }
    let left = fs::read_dir(terminal.tar().parent().unwrap()).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn what_a_set_takes_is_known_before() {
    let terminal = Terminal::new("/app\n/etc/x/y/z\n");
    terminal.file("app/a", &"a".repeat(100_000));
    terminal.file("app/b", "b");
    fs::hard_link(terminal.old().join("app/a"), terminal.old().join("app/c")).unwrap();
    terminal.file("etc/x/y/z", "z");
    let measured = measure(&terminal.old(), &terminal.set).unwrap();
    // app, a, b, c; etc, x, y, z.
    assert_eq!((measured.entries, measured.inodes), (8, 7));
    assert_eq!(measured.largest, Some(("/app/a".into(), 102_400)));
    terminal.backup().unwrap();
    let length = fs::metadata(terminal.tar()).unwrap().len();
    assert!(
        (length..2 * length).contains(&measured.archive),
        "{measured:?}"
    );
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let terminal = Terminal::new("/app\n");
    terminal.file("app/a", "a");
    fs::create_dir(terminal.tar()).unwrap();
    terminal.backup().unwrap_err();
    fs::remove_dir(terminal.tar()).unwrap();
    let folder = terminal.tar().parent().unwrap().to_owned();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    // The remains of a power cut are replaced.
    fs::write(folder.join(".1.tar.tmp"), "torn").unwrap();
    terminal.backup().unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}
