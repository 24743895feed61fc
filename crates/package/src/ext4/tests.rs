use std::process::Command;

use super::*;

/// Returns the start of a file system of 4 MiB made by mkfs.ext4.
fn made(options: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .args(options)
        .arg(file.path())
        .arg("4M")
        .status();
    assert!(status.unwrap().success());
    let mut bytes = std::fs::read(file.path()).unwrap();
    bytes.truncate(SUPER_BLOCK_END);
    bytes
}

const IMAGE: u64 = 4 << 20;

fn judge(start: &[u8]) -> Result<(), Ext4Error> {
    SuperBlock::parse(start)?.check(IMAGE)
}

fn changed(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut start = made(&["-b", "4096"]);
    start[START + offset..][..bytes.len()].copy_from_slice(bytes);
    start
}

#[test]
fn what_mkfs_makes_is_read_and_taken() {
    for options in [
        &["-b", "4096"][..],
        &["-b", "1024", "-O", "^metadata_csum,uninit_bg"],
        &["-b", "4096", "-O", "^64bit,^has_journal"],
    ] {
        let start = made(options);
        let found = SuperBlock::parse(&start).unwrap();
        assert_eq!(found.size, IMAGE, "{options:?}");
        assert_eq!(found.block_size.to_string(), options[1]);
        assert_eq!(found.check(IMAGE), Ok(()), "{options:?}");
        // An image may be longer than its file system.
        assert_eq!(found.check(IMAGE + 4096), Ok(()));
    }
}

#[test]
fn features_that_terminals_do_not_support_are_named() {
    for feature in ["encrypt", "verity", "casefold", "bigalloc", "quota", "mmp"] {
        let start = made(&["-b", "4096", "-O", feature]);
        let Err(Ext4Error::Features(found)) = judge(&start) else {
            panic!("{feature} was taken");
        };
        assert_eq!(found, [feature]);
    }
    // Bits unknown to all versions of ext4.
    for (offset, name) in [(0x5C, "compat"), (0x60, "incompat"), (0x64, "ro_compat")] {
        let mut start = made(&["-b", "4096"]);
        start[START + offset + 3] |= 0x40;
        let expected = Ext4Error::Features(vec![format!("{name} 0x40000000")]);
        assert_eq!(judge(&start), Err(expected));
    }
}

#[test]
fn hostile_super_blocks() {
    let cases = [
        ("no-magic", changed(0x38, &[0, 0]), "not an ext4"),
        ("old-revision", changed(0x4C, &[0; 4]), "old revision"),
        (
            "block-shift",
            changed(0x18, &[0xFF; 4]),
            "impossible blocks",
        ),
        (
            "blocks-of-64-KiB",
            changed(0x18, &[6, 0, 0, 0]),
            "cut short",
        ),
        ("no-blocks", changed(0x4, &[0; 4]), "impossible size"),
        ("one-block-more", changed(0x4, &[1, 4, 0, 0]), "cut short"),
        ("2^64-blocks", changed(0x150, &[0xFF; 4]), "impossible size"),
        ("mounted", changed(0x3A, &[0, 0]), "cleanly"),
        ("with-errors", changed(0x3A, &[3, 0]), "cleanly"),
    ];
    for (attack, start, expected) in cases {
        let error = judge(&start).expect_err(attack).to_string();
        assert!(error.contains(expected), "{attack}: {error}");
    }
    let whole = made(&["-b", "4096"]);
    for length in [0, START, SUPER_BLOCK_END - 1] {
        assert_eq!(judge(&whole[..length]), Err(Ext4Error::NotExt4));
    }
}
