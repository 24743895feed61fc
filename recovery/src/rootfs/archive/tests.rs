use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use dau_handoff::Kind;

use crate::run::Ended;
use crate::tests_support::{made, Device};

/// A tar as GNU tar makes it, in a package.
fn package(name: &str, tree: &std::path::Path, more: &[&str]) {
    let tar = tree.with_extension("tar");
    let status = Command::new("tar")
        .args(["--format=posix", "--xattrs", "-cf"])
        .arg(&tar)
        .arg("-C")
        .arg(tree)
        .args(more)
        .arg(".")
        .status();
    assert!(status.unwrap().success());
    made().package(
        name,
        (None, Some(tar)),
        2,
        crate::tests_support::PRODUCT,
        "pki",
    );
}

#[test]
fn an_archive_is_unpacked_with_all_that_belongs_to_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("usr/bin/tool"), vec![7; 300_000]).unwrap();
    fs::set_permissions(
        tree.join("usr/bin/tool"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    fs::hard_link(tree.join("usr/bin/tool"), tree.join("usr/bin/alias")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/tool", tree.join("tool")).unwrap();
    fs::write(tree.join("etc/relay.conf"), "fresh").unwrap();
    let long = tree.join("etc").join("a-very-long-name".repeat(10));
    fs::write(&long, "long").unwrap();
    // Not every file system that tests run on keeps them.
    let has_xattrs = xattr::set(&long, "user.origin", b"factory").is_ok();
    nix::unistd::mkfifo(
        &tree.join("etc/pipe"),
        nix::sys::stat::Mode::from_bits_truncate(0o640),
    )
    .unwrap();
    fs::set_permissions(tree.join("usr/bin"), fs::Permissions::from_mode(0o700)).unwrap();
    let time = fs::metadata(tree.join("usr")).unwrap().modified().unwrap();
    package("archive", &tree, &[]);

    let device = Device::armed(Kind::Rootfs, "archive");
    fs::write(device.path("rootfs/left-over"), "of the old OS").unwrap();
    assert_eq!(device.run(), Ended::Reboot);
    assert!(device.state().unwrap().trial, "{:?}", device.job());
    let root = device.path("rootfs");
    assert!(!root.join("left-over").exists());
    assert_eq!(
        fs::read(root.join("usr/bin/alias")).unwrap(),
        vec![7; 300_000]
    );
    let tool = fs::metadata(root.join("usr/bin/tool")).unwrap();
    assert_eq!(tool.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&tool), 2);
    assert_eq!(
        fs::read_link(root.join("tool")).unwrap().to_str(),
        Some("/usr/bin/tool")
    );
    let folder = fs::metadata(root.join("usr/bin")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let found = fs::metadata(root.join("usr")).unwrap().modified().unwrap();
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    assert_eq!(seconds(found), seconds(time));
    let pipe = fs::metadata(root.join("etc/pipe")).unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&pipe));
    assert_eq!(
        fs::read(root.join("etc").join(long.file_name().unwrap())).unwrap(),
        b"long"
    );
    // The parameters stand over what the archive brought.
    assert_eq!(device.settings(), crate::tests_support::SETTINGS);
    if has_xattrs {
        let file = root.join("etc").join(long.file_name().unwrap());
        let found = xattr::get(file, "user.origin").unwrap();
        assert_eq!(found.as_deref(), Some(&b"factory"[..]));
    }
}

#[test]
fn an_archive_that_leads_out_of_its_root_is_an_error_and_writes_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(dir.path().join("escaped"), "out").unwrap();
    package(
        "climbing",
        &tree,
        &["-P", "--transform=s,^escaped,../escaped,", "../escaped"],
    );
    let device = Device::armed(Kind::Rootfs, "climbing");
    assert_eq!(device.run(), Ended::Failed);
    let error = device.job().attempts.last_error.unwrap();
    assert!(error.contains("leads out of it"), "{error}");
    assert!(!device.path("escaped").exists());
}
