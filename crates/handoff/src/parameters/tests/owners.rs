//! Owners, access control lists, capabilities: only root may set these everywhere.

use std::os::unix::fs::{chown, lchown, symlink, MetadataExt, PermissionsExt};

use super::*;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const CAPABILITY: &str = "security.capability";

/// Returns a POSIX access control list in the form of a Linux attribute
/// (include/uapi/linux/posix_acl_xattr.h): owner rw, user 1234 r, group r, mask r, others nothing.
fn access_list() -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, 6_u16, u32::MAX),
        (0x02, 4, 1234),
        (0x04, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Returns CAP_NET_BIND_SERVICE, effective and permitted (include/uapi/linux/capability.h, revision
/// 2).
fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn access_lists_survive_and_are_not_inherited_from_the_new_system() {
    let terminal = Terminal::new("/etc/app\n");
    let listed = terminal.file("etc/app/listed", "");
    terminal.file("etc/app/plain", "");
    let new = terminal.new_root();
    fs::create_dir_all(new.join("etc/app")).unwrap();
    let inherited = xattr::set(new.join("etc/app"), DEFAULT, &access_list());
    if xattr::set(&listed, ACCESS, &access_list()).is_err() || inherited.is_err() {
        eprintln!("not tested: no access control lists where temporary files lie");
        return;
    }
    let record = terminal.backup().unwrap();
    assert_eq!(terminal.restore().unwrap().digest, record.digest);
    let list = |path: &str| xattr::get(new.join(path), ACCESS).unwrap();
    assert_eq!(list("etc/app/listed"), Some(access_list()));
    assert_eq!(list("etc/app/plain"), None);
    assert_eq!(xattr::get(new.join("etc/app"), DEFAULT).unwrap(), None);
    assert_eq!(terminal.compare(&new).digest, record.digest);
}

#[test]
fn owners_and_capabilities_survive() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tested: needs root");
        return;
    }
    let terminal = Terminal::new("/etc/app/*\n");
    let program = terminal.file("etc/app/program", "");
    let folder = terminal.old().join("etc/app/folder");
    let link = terminal.old().join("etc/app/link");
    fs::create_dir(&folder).unwrap();
    symlink("program", &link).unwrap();
    chown(terminal.old().join("etc/app"), Some(7), Some(8)).unwrap();
    chown(&program, Some(1000), Some(4_000_000_000)).unwrap();
    chown(&folder, Some(3_000_000), Some(5)).unwrap();
    lchown(&link, Some(9), Some(10)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6751)).unwrap();
    xattr::set(&program, CAPABILITY, &capability()).unwrap();

    let record = terminal.backup().unwrap();
    terminal.read_back(&record).unwrap();
    assert_eq!(terminal.restore().unwrap().digest, record.digest);
    let app = terminal.new_root().join("etc/app");
    for (name, owner, mode) in [
        ("", (7, 8), 0o755),
        ("program", (1000, 4_000_000_000), 0o6751),
        ("folder", (3_000_000, 5), 0o755),
        ("link", (9, 10), 0o777),
    ] {
        let metadata = fs::symlink_metadata(app.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), owner, "{name}");
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
    }
    let found = xattr::get(app.join("program"), CAPABILITY).unwrap();
    assert_eq!(found, Some(capability()));
    assert_eq!(terminal.compare(&terminal.new_root()).digest, record.digest);
    chown(app.join("program"), Some(1000), Some(0)).unwrap();
    assert_eq!(
        terminal.compare(&terminal.new_root()).changed,
        [Path::new("/etc/app/program")]
    );
}
