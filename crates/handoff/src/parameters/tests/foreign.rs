//! Ordinary tools can open the backup.

use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::process::Command;

use super::*;

fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stderr), "", "{command:?}");
    text(&output.stdout)
}

#[test]
fn gnu_tar_extracts_what_was_backed_up() {
    let terminal = Terminal::new("/etc/app\n/var/db/*\n");
    let long = "deep/".repeat(30) + &"n".repeat(200);
    for (path, content) in [
        ("etc/app/settings", "pickup = 5"),
        ("etc/app/empty", ""),
        (&format!("etc/app/{long}"), "long"),
        ("etc/app/\u{7535}\u{7f51} \\n", "utf-8 and a backslash"),
        ("var/db/points", &"p".repeat(70_000)),
    ] {
        terminal.file(path, content);
    }
    let old = terminal.old();
    let settings = old.join("etc/app/settings");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o4751)).unwrap();
    fs::File::options()
        .write(true)
        .open(&settings)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 123_456_789))
        .unwrap();
    fs::hard_link(&settings, old.join("etc/app/zz")).unwrap();
    symlink("t".repeat(300), old.join("etc/app/link")).unwrap();
    let attributes = attributes_work(terminal.dir.path());
    if attributes {
        for (name, value) in [("user.plain", &b"v"[..]), ("user.a=b%3D", b"\n\0\xff\n=")] {
            xattr::set(&settings, name, value).unwrap();
        }
    }
    let record = terminal.backup().unwrap();

    let new = terminal.new_root();
    let backups = terminal.tar();
    let backups = backups.parent().unwrap();
    run(Command::new("sha256sum")
        .args(["-c", "1.tar.sha256"])
        .current_dir(backups));
    run(Command::new("tar")
        .args([
            "--xattrs",
            "--xattrs-include=*",
            "--same-permissions",
            "-xf",
        ])
        .arg(terminal.tar())
        .arg("-C")
        .arg(&new));
    // The files extracted by GNU tar equal the backup.
    let comparison = terminal.compare(&new);
    assert_eq!(comparison.changed, [] as [PathBuf; 0]);
    assert_eq!(comparison.digest, record.digest);
    let metadata = fs::metadata(new.join("etc/app/settings")).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.mtime_nsec()),
        (0o4751, 123_456_789)
    );
    if attributes {
        let value = xattr::get(new.join("etc/app/settings"), "user.a=b%3D").unwrap();
        assert_eq!(value.as_deref(), Some(&b"\n\0\xff\n="[..]));
    }
}
