//! Backups as an attacker or a failing medium would leave them: mnt has no signature.

use std::io::{empty, Read, Write};
use std::os::unix::fs::symlink;

use super::super::archive::Writer;
use super::super::entry::{Entry, Kind, Role, Time};
use super::*;

fn entry(path: &str, kind: Kind) -> Entry {
    let own = std::os::unix::fs::MetadataExt::uid;
    let group = std::os::unix::fs::MetadataExt::gid;
    let here = fs::metadata("/proc/self").unwrap();
    Entry {
        path: path.into(),
        kind,
        role: Role::Parameter,
        required: false,
        mode: 0o644,
        uid: own(&here).into(),
        gid: group(&here).into(),
        modified: Time::default(),
        attributes: vec![],
    }
}

fn file(path: &str, content: &str) -> (Entry, String) {
    let size = content.len() as u64;
    (entry(path, Kind::File { size }), content.to_owned())
}

fn link(path: &str, target: impl Into<PathBuf>) -> (Entry, String) {
    let target = target.into();
    (entry(path, Kind::Link { target }), String::new())
}

fn hard_link(path: &str, first: &str) -> (Entry, String) {
    let first = first.into();
    (entry(path, Kind::HardLink { first }), String::new())
}

fn craft(tar: &Path, entries: &[(Entry, String)]) {
    let mut writer = Writer::new(fs::File::create(tar).unwrap());
    for (entry, content) in entries {
        let segments = crate::parameters::sparse::dense(content.len() as u64);
        writer.append(entry, &segments, content.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
}

/// Restores a crafted backup; nothing outside the new root may change.
fn attack(terminal: &Terminal, entries: &[(Entry, String)]) -> Result<Restored, ParametersError> {
    let victim = write(terminal.dir.path(), "outside/victim", "untouched");
    craft(&terminal.tar(), entries);
    let result = terminal.restore();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let names = fs::read_dir(victim.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "something was put outside the root");
    result
}

fn assert_damaged(result: Result<impl std::fmt::Debug, ParametersError>, reason: &str) {
    match result {
        Err(error @ ParametersError::Damaged { .. }) => {
            assert!(error.to_string().contains(reason), "{error}");
        }
        other => panic!("{reason}: {other:?}"),
    }
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    for (attack_name, path) in [
        ("dotdot-path", "/../outside/victim"),
        ("dotdot-in-the-middle", "/etc/../../outside/victim"),
        ("absolute-path", "//etc/victim"),
        ("dot-path", "/etc/./victim"),
        ("trailing-slash", "/etc/victim/"),
        ("empty-path", "/"),
        ("long-dotdot-path", &format!("/{}/../../x", "n".repeat(120))),
    ] {
        let terminal = Terminal::new("");
        let result = attack(&terminal, &[file(path, "attack")]);
        assert_damaged(result, "is not a plain one below the root");
        assert_eq!(
            fs::read_dir(terminal.new_root()).unwrap().count(),
            0,
            "{attack_name}"
        );
    }
}

#[test]
fn parent_is_symlink_out_of_root() {
    let terminal = Terminal::new("");
    let outside = terminal.dir.path().join("outside");
    fs::create_dir_all(terminal.new_root().join("etc")).unwrap();
    symlink(&outside, terminal.new_root().join("etc/absolute")).unwrap();
    symlink("../../outside", terminal.new_root().join("etc/relative")).unwrap();
    attack(
        &terminal,
        &[
            file("/etc/absolute/victim", "attack"),
            file("/etc/relative/victim", "attack"),
        ],
    )
    .unwrap();
    // As the terminal itself sees it: `..` ends at the root.
    assert_eq!(read(&terminal.new_root(), "outside/victim"), "attack");
}

#[test]
fn symlink_planted_by_the_archive_itself() {
    let terminal = Terminal::new("");
    let outside = terminal.dir.path().join("outside");
    attack(
        &terminal,
        &[
            link("/etc/app", outside.clone()),
            file("/etc/app/victim", "attack"),
            link("/etc/file", outside.join("victim")),
        ],
    )
    .unwrap();
    let terminal = Terminal::new("");
    let twice = [
        link("/etc/x", outside.join("victim")),
        file("/etc/x", "attack"),
    ];
    assert_damaged(attack(&terminal, &twice), "comes twice");
}

#[test]
fn symlink_in_the_place_of_the_temporary_file() {
    let terminal = Terminal::new("");
    let victim = terminal.dir.path().join("outside/victim");
    fs::create_dir_all(terminal.new_root().join("etc")).unwrap();
    symlink(&victim, terminal.new_root().join("etc").join(TEMPORARY)).unwrap();
    attack(&terminal, &[file("/etc/settings", "attack")]).unwrap();
    assert_eq!(read(&terminal.new_root(), "etc/settings"), "attack");
    let planted = link(&format!("/etc/{TEMPORARY}"), victim);
    assert_damaged(attack(&terminal, &[planted]), "in use while restoring");
}

#[test]
fn hardlink_to_outside() {
    for first in ["/../outside/victim", "/etc/shadow", "/etc/zz"] {
        let terminal = Terminal::new("");
        write(&terminal.new_root(), "etc/shadow", "secret");
        let entries = [
            file("/etc/a", ""),
            hard_link("/etc/b", first),
            file("/etc/zz", ""),
        ];
        let result = attack(&terminal, &entries);
        assert!(
            matches!(result, Err(ParametersError::Damaged { .. })),
            "{result:?}"
        );
        assert!(!terminal.new_root().join("etc/b").exists());
    }
}

#[test]
fn places_that_hold_no_parameters() {
    for path in ["/dev/x", "/proc/x", "/sys/x", "/run/x", "/mnt/dau/job.json"] {
        let terminal = Terminal::new("");
        assert_damaged(attack(&terminal, &[file(path, "")]), "holds no parameters");
    }
}

#[test]
fn device_node() {
    use tar::EntryType;
    for kind in [
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::GNULongName,
        EntryType::XGlobalHeader,
        EntryType::new(b'Z'),
    ] {
        let terminal = Terminal::new("");
        let mut header = tar::Header::new_ustar();
        header.set_path("etc/device").unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o666);
        header.set_size(0);
        header.set_cksum();
        let file = fs::File::create(terminal.tar()).unwrap();
        let mut builder = tar::Builder::new(file);
        builder.append(&header, empty()).unwrap();
        builder.into_inner().unwrap();
        assert_damaged(terminal.restore(), "/etc/device is no file, folder or link");
    }
}

#[test]
fn truncated_archive() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/a", &"a".repeat(3000));
    terminal.file("etc/app/b", "b");
    let record = terminal.backup().unwrap();
    let whole = fs::read(terminal.tar()).unwrap();
    // At the end of every block and at some places between.
    for length in (0..whole.len()).step_by(256) {
        fs::write(terminal.tar(), &whole[..length]).unwrap();
        assert!(
            terminal.read_back(&record).is_err(),
            "read back at {length}"
        );
        assert!(terminal.restore().is_err(), "restored at {length}");
        let restored = terminal.new_root().join("etc/app/a");
        if let Ok(content) = fs::read_to_string(restored) {
            assert_eq!(content.len(), 3000, "half a file at {length}");
        }
        fs::remove_dir_all(terminal.new_root()).unwrap();
        fs::create_dir(terminal.new_root()).unwrap();
    }
}

#[test]
fn trailing_data() {
    let terminal = Terminal::new("");
    craft(&terminal.tar(), &[file("/etc/a", "a")]);
    let mut tar = fs::File::options()
        .append(true)
        .open(terminal.tar())
        .unwrap();
    tar.write_all(b"x").unwrap();
    assert_damaged(terminal.restore(), "something follows its end");
}

#[test]
fn flipped_byte() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/settings", "pickup = 5");
    let record = terminal.backup().unwrap();
    let whole = fs::read(terminal.tar()).unwrap();
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        fs::write(terminal.tar(), &flipped).unwrap();
        let error = terminal.read_back(&record).unwrap_err();
        let named = matches!(
            error,
            ParametersError::OtherBackup {
                what: "its SHA-256",
                ..
            }
        );
        assert!(named, "{position}: {error}");
        // Without the record a flipped bit may stay unnoticed; it must do no harm.
        if position % 41 == 0 {
            let _ = terminal.restore();
        }
    }
}

#[test]
fn digest_file_exchanged() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/settings", "pickup = 5");
    let record = terminal.backup().unwrap();
    let line = fs::read_to_string(terminal.digest_file()).unwrap();
    for exchanged in [
        String::new(),
        line.replace("1.tar", "2.tar"),
        line.to_uppercase(),
        format!("{line}{line}"),
        "0".repeat(100_000),
        line.replacen(&line[..1], if line.starts_with('0') { "1" } else { "0" }, 1),
    ] {
        fs::write(terminal.digest_file(), exchanged).unwrap();
        let error = terminal.read_back(&record).unwrap_err();
        assert!(error.to_string().contains("1.tar.sha256"), "{error}");
    }
}

#[test]
fn a_backup_that_was_copied_under_another_name_is_whole() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/settings", "pickup = 5");
    terminal.backup().unwrap();
    let tar = terminal.tar().with_file_name("2.tar");
    let digest_file = tar.with_extension("tar.sha256");
    fs::copy(terminal.tar(), &tar).unwrap();
    fs::copy(terminal.digest_file(), &digest_file).unwrap();
    assert!(matches_digest_file(&tar, &digest_file).unwrap());
    fs::write(&tar, "other").unwrap();
    assert!(!matches_digest_file(&tar, &digest_file).unwrap());
    fs::write(&digest_file, "").unwrap();
    assert!(!matches_digest_file(&tar, &digest_file).unwrap());
}

#[test]
fn backup_and_digest_file_exchanged_together() {
    let terminal = Terminal::new("/etc/app\n");
    let path = terminal.file("etc/app/settings", "pickup = 5");
    let record = terminal.backup().unwrap();
    fs::write(path, "pickup = 9999").unwrap();
    let other = terminal.backup().unwrap();
    assert!(terminal.read_back(&record).is_err());
    // A record that was only partly exchanged does not let it through.
    let half = ParametersRecord {
        backup_sha256: other.backup_sha256,
        ..record.clone()
    };
    let text = terminal.read_back(&half).unwrap_err().to_string();
    assert!(text.contains("parameters' digest"), "{text}");
}

#[test]
fn headers_of_every_kind_of_nonsense_are_errors() {
    let terminal = Terminal::new("");
    craft(&terminal.tar(), &[file("/etc/a", "a"), link("/etc/b", "x")]);
    let whole = fs::read(terminal.tar()).unwrap();
    // Replaces a field of the first entry's own header (after the extended one) and corrects the
    // checksum.
    for (what, offset, bytes) in [
        (
            "huge size",
            124,
            &b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        ),
        ("size no number", 124, b"zzzzzzzzzzz\0"),
        ("size beyond the end", 124, b"77777777777\0"),
        ("mode no number", 100, b"xxxxxxx\0"),
        ("owner no number", 108, b"xxxxxxx\0"),
        (
            "owner beyond 32 bits",
            108,
            b"\x80\x00\x00\x7f\xff\xff\xff\xff",
        ),
    ] {
        let mut bent = whole.clone();
        bent[1024 + offset..1024 + offset + bytes.len()].copy_from_slice(bytes);
        let header = &mut bent[1024..1536];
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        fs::write(terminal.tar(), bent).unwrap();
        assert!(terminal.restore().is_err(), "{what}");
    }
}

#[test]
fn endless_names_and_attributes_are_bounded() {
    let terminal = Terminal::new("");
    let mut huge = file("/etc/a", "");
    huge.0.attributes = vec![(b"user.x".to_vec(), vec![0; 2 * 1024 * 1024])];
    let mut writer = Writer::new(fs::File::create(terminal.tar()).unwrap());
    let error = writer.append(&huge.0, &[], empty().take(0)).unwrap_err();
    assert!(error.to_string().contains("/etc/a are too large"));
}

#[test]
fn maps_of_holes_of_every_kind_of_nonsense_are_errors() {
    let terminal = Terminal::new("");
    let sparse = |map: &str, size: &str, content: &str| {
        let mut records = Vec::new();
        for (key, value) in [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "etc/app/holes"),
            ("GNU.sparse.realsize", size),
            ("mtime", "0"),
        ] {
            super::super::archive::push_record(&mut records, key.as_bytes(), value.as_bytes());
        }
        let mut builder = tar::Builder::new(fs::File::create(terminal.tar()).unwrap());
        let mut add = |kind, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o600);
            let own = std::os::unix::fs::MetadataExt::uid;
            header.set_uid(own(&fs::metadata("/proc/self").unwrap()).into());
            header.set_gid(nix::unistd::getgid().as_raw().into());
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        };
        add(tar::EntryType::XHeader, &records);
        let mut bytes = map.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend_from_slice(content.as_bytes());
        add(tar::EntryType::Regular, &bytes);
        builder.into_inner().unwrap();
        terminal.restore()
    };
    for (map, size, content) in [
        ("", "10", ""),
        ("x\n", "10", ""),
        ("\n", "10", ""),
        ("-1\n0\n1\n", "10", "x"),
        ("1\n0\n2\n", "10", "x"),
        ("1\n0\n1\n", "10", "xy"),
        ("1\n0\n11\n", "10", "x"),
        ("1\n10\n1\n", "10", "x"),
        ("2\n5\n1\n0\n1\n", "10", "xy"),
        ("2\n0\n2\n1\n1\n", "10", "xyz"),
        ("2\n0\n0\n1\n1\n", "10", "x"),
        ("1\n18446744073709551615\n2\n", "10", "xy"),
        ("99999999999999999999999\n", "10", ""),
        ("4294967296\n", "10", ""),
        ("0\n", "9223372036854775807", ""),
        ("0\n", "-1", ""),
        ("0\n", "", ""),
    ] {
        let result = sparse(map, size, content);
        assert_damaged(result, "hole");
        assert_eq!(terminal.names_in("etc/app"), [] as [String; 0], "{map:?}");
    }
    sparse("2\n4\n2\n10\n0\n", "10", "xy").unwrap();
    assert_eq!(
        read(&terminal.new_root(), "etc/app/holes"),
        "\0\0\0\0xy\0\0\0\0"
    );
}
