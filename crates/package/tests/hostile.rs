//! Hostile packages, each named after the attack and refused for the right reason.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use common::{
    assert_refused, ext4_image, repair_checksum, sha256, tar, tar_open, Bench, Member, Parts,
};
use dau_model::Kind;
use dau_package::{Algorithm, Head, MAX_HEAD};
use tar::EntryType;

fn bench() -> Bench {
    Bench::new(Algorithm::Ed25519)
}

#[test]
fn the_package_that_the_attacks_start_from_is_accepted() {
    let bench = bench();
    let verified = bench.verify(&Parts::new(&bench).bytes()).unwrap();
    assert_eq!(verified.manifest.kind, Kind::Kernel);
}

/// Attacks on the outer tar; the members are genuine.
#[test]
fn members() {
    type Attack = fn(&mut Vec<Member>);
    let attacks: &[(&str, &str, Attack)] = &[
        ("empty-archive", "truncated", |m| m.clear()),
        ("path-traversal", "unexpected-member", |m| {
            m[0].name = b"../manifest.json".into()
        }),
        ("absolute-path", "unexpected-member", |m| {
            m[3].name = b"/system.tar".into()
        }),
        ("dot-slash", "unexpected-member", |m| {
            m[0].name = b"./manifest.json".into()
        }),
        ("name-with-newline", "unexpected-member", |m| {
            m[0].name = b"manifest.json\n".into()
        }),
        ("name-not-utf8", "unexpected-member", |m| {
            m[0].name = vec![0xFF; 100]
        }),
        ("duplicate-manifest", "unexpected-member", |m| {
            m.insert(1, m[0].clone())
        }),
        ("duplicate-signature", "unexpected-member", |m| {
            m.insert(2, m[1].clone())
        }),
        ("duplicate-system-tar", "unexpected-member", |m| {
            m.insert(4, m[3].clone())
        }),
        ("members-out-of-order", "unexpected-member", |m| {
            m.swap(0, 1)
        }),
        ("md5-before-system-tar", "unexpected-member", |m| {
            m.swap(3, 4)
        }),
        ("trailing-member", "unexpected-member", |m| {
            m.push(Member::new("autorun.sh", "reboot"))
        }),
        ("leading-member", "unexpected-member", |m| {
            m.insert(0, Member::new("a", "b"))
        }),
        ("missing-signature", "unexpected-member", |m| {
            drop(m.remove(1))
        }),
        ("missing-signature-and-signer", "unsigned", |m| {
            drop(m.drain(1..3))
        }),
        ("missing-signer", "unexpected-member", |m| drop(m.remove(2))),
        ("missing-md5-file", "truncated", |m| drop(m.pop())),
        ("symlink-member", "malformed", |m| {
            m[3].entry_type = EntryType::Symlink
        }),
        ("hardlink-member", "malformed", |m| {
            m[0].entry_type = EntryType::Link
        }),
        ("directory-member", "malformed", |m| {
            m[0].entry_type = EntryType::Directory
        }),
        ("device-member", "malformed", |m| {
            m[3].entry_type = EntryType::Block
        }),
        ("sparse-member", "malformed", |m| {
            m[3].entry_type = EntryType::GNUSparse
        }),
        ("extended-header", "unexpected-member", |m| {
            let mut extended = Member::new("PaxHeaders/m", "30 path=../../../etc/passwd\n");
            extended.entry_type = EntryType::XHeader;
            m.insert(0, extended);
        }),
        ("long-name", "unexpected-member", |m| {
            let mut long = Member::new("././@LongLink", "../../../etc/passwd");
            long.entry_type = EntryType::GNULongName;
            m.insert(0, long);
        }),
        ("huge-manifest", "too-large", |m| {
            m[0].content.resize(65 << 10, b' ')
        }),
        ("huge-signature", "too-large", |m| {
            m[1].content.resize(5 << 10, 0)
        }),
        ("huge-signer", "too-large", |m| {
            m[2].content.resize(65 << 10, b'\n')
        }),
        ("huge-md5-file", "too-large", |m| {
            m[4].content.resize(200, b'\n')
        }),
        ("system-tar-longer-than-signed", "malformed", |m| {
            m[3].content.extend([0; 512])
        }),
        ("system-tar-shorter-than-signed", "malformed", |m| {
            let length = m[3].content.len() - 512;
            m[3].content.truncate(length);
        }),
        ("system-tar-altered", "md5-mismatch", |m| {
            m[3].content[600] ^= 1
        }),
        ("system-tar-and-md5-file-altered", "md5-mismatch", |m| {
            m[3].content[600] ^= 1;
            let line = format!("{}  system.tar\n", common::md5(&m[3].content));
            m[4].content = line.into_bytes();
        }),
        ("signature-empty", "signature-invalid", |m| {
            m[1].content.clear()
        }),
        ("signature-of-another-manifest", "signature-invalid", |m| {
            let text = String::from_utf8(m[0].content.clone()).unwrap();
            m[0].content = text.replace("qemu-aarch64", "qemu-armv7hf").into_bytes();
        }),
        ("signer-without-certificate", "malformed", |m| {
            m[2].content.clear()
        }),
        ("signer-with-remarks", "malformed", |m| {
            m[2].content.splice(0..0, *b"hello\n").for_each(drop)
        }),
        ("signer-is-a-zip-bomb-of-certificates", "malformed", |m| {
            let one = m[2].content.clone();
            (0..20).for_each(|_| m[2].content.extend_from_slice(&one));
        }),
        ("signer-chain-without-signer", "signature-invalid", |m| {
            let text = String::from_utf8(m[2].content.clone()).unwrap();
            let second = text.rfind("-----BEGIN").unwrap();
            m[2].content = text[second..].into();
        }),
    ];
    let bench = bench();
    for (attack, word, change) in attacks {
        let mut members = Parts::new(&bench).members();
        change(&mut members);
        assert_refused(&bench, attack, &tar(&members), word);
    }
}

/// Attacks on bytes between and after members.
#[test]
fn bytes() {
    type Attack = fn(Vec<u8>) -> Vec<u8>;
    fn at(mut bytes: Vec<u8>, offset: usize, new: &[u8]) -> Vec<u8> {
        bytes[offset..offset + new.len()].copy_from_slice(new);
        bytes
    }
    /// Writes into the first header and repairs its checksum.
    fn header(bytes: Vec<u8>, offset: usize, new: &[u8]) -> Vec<u8> {
        let mut bytes = at(bytes, offset, new);
        repair_checksum(&mut bytes);
        bytes
    }
    let attacks: &[(&str, &str, Attack)] = &[
        ("not-a-package", "malformed", |_| b"PK\x03\x04".repeat(1000)),
        ("empty-file", "truncated", |_| Vec::new()),
        ("appended-bytes", "trailing-bytes", |b| {
            [&b[..], b"x"].concat()
        }),
        ("appended-archive", "trailing-bytes", |b| {
            [&b[..], &b[..]].concat()
        }),
        ("appended-megabyte-of-zeros", "trailing-bytes", |b| {
            [&b[..], &[0; 1 << 20]].concat()
        }),
        ("one-block-of-zeros-less", "truncated", |b| {
            b[..b.len() - 512].to_vec()
        }),
        ("ten-KiB-of-zeros-more", "trailing-bytes", |b| {
            [&b[..], &[0; 10240]].concat()
        }),
        ("byte-in-the-last-block", "trailing-bytes", |b| {
            let end = b.len() - 1;
            at(b, end, b"x")
        }),
        ("name-continued-after-its-end", "malformed", |b| {
            header(b, 14, b"x")
        }),
        ("mode-of-a-program-of-root", "malformed", |b| {
            header(b, 100, b"0007777\0")
        }),
        ("time-of-another-day", "malformed", |b| {
            header(b, 136, b"77777777777\0")
        }),
        ("link-name", "malformed", |b| header(b, 157, b"evil")),
        ("owner", "malformed", |b| header(b, 265, b"root")),
        ("bytes-after-the-header", "malformed", |b| {
            header(b, 500, b"HIDDEN")
        }),
        ("checksum-in-seven-digits", "malformed", |b| {
            let digits = b[148..154].to_vec();
            at(at(b, 148, b"0"), 149, &[&digits[..], b"\0"].concat())
        }),
        ("no-end-of-archive", "truncated", |b| {
            b[..b.len() - 1024].to_vec()
        }),
        ("half-an-end-of-archive", "truncated", |b| {
            b[..b.len() - 512].to_vec()
        }),
        ("size-binary", "malformed", |b| {
            header(b, 124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0])
        }),
        ("size-negative", "malformed", |b| {
            header(b, 124, b"-0000001000\0")
        }),
        ("size-of-8-GiB", "too-large", |b| {
            header(b, 124, b"77777777777\0")
        }),
        ("checksum-wrong", "malformed", |b| at(b, 148, b"000000\0 ")),
        ("format-before-posix", "malformed", |b| {
            header(b, 257, &[0; 8])
        }),
        ("name-continued-in-prefix", "unexpected-member", |b| {
            header(b, 345, b"../../etc")
        }),
        ("data-hidden-in-padding", "malformed", |b| {
            let end = 512
                + b[512..]
                    .windows(2)
                    .position(|pair| pair == b"\n\0")
                    .unwrap();
            at(b, end + 1, b"x")
        }),
    ];
    let bench = bench();
    for (attack, word, change) in attacks {
        assert_refused(&bench, attack, &change(Parts::new(&bench).bytes()), word);
    }
}

/// The signature does not cover tar headers: if any of their bytes could change, one manifest would
/// have many files.
#[test]
fn no_byte_of_a_header_can_be_another() {
    let bench = bench();
    let members = Parts::new(&bench).members();
    let package = tar(&members);
    let mut start = 0;
    for member in &members {
        for offset in 0..512 {
            // NUL becomes a space, which also ends a number.
            let mut changed = package.clone();
            changed[start + offset] ^= b' ';
            if !(148..156).contains(&offset) {
                repair_checksum(&mut changed[start..]);
            }
            let name = String::from_utf8_lossy(&member.name);
            let accepted = bench.verify(&changed).is_ok();
            assert!(!accepted, "{name}, byte {offset} of its header");
        }
        start += 512 + member.content.len().next_multiple_of(512);
    }
}

/// Packages signed by a genuine signer although their contents contradict each other.
#[test]
fn genuinely_signed_nonsense() {
    type Attack = fn(&mut Parts);
    let attacks: &[(&str, &str, Attack)] = &[
        (
            "md5-file-wrong-though-the-signature-is-right",
            "md5-mismatch",
            |p| {
                p.md5_file = Some(format!("{}  system.tar\n", "0".repeat(32)).into_bytes());
            },
        ),
        ("md5-file-for-another-file", "malformed", |p| {
            p.md5_file = Some(format!("{}  ../../etc/shadow\n", "0".repeat(32)).into_bytes());
        }),
        ("md5-file-in-capitals", "malformed", |p| {
            let digest = common::md5(&tar(&p.system)).to_uppercase();
            p.md5_file = Some(format!("{digest}  system.tar\n").into_bytes());
        }),
        ("md5-file-of-binary-mode", "malformed", |p| {
            let digest = common::md5(&tar(&p.system));
            p.md5_file = Some(format!("{digest} *system.tar\n").into_bytes());
        }),
        ("md5-file-of-two-lines", "malformed", |p| {
            let line = format!("{}  system.tar\n", "0".repeat(32));
            p.md5_file = Some(line.repeat(2).into_bytes());
        }),
        ("md5-file-not-utf8", "malformed", |p| {
            p.md5_file = Some(vec![0xFF; 45])
        }),
        ("md5-wrong-in-the-manifest", "md5-mismatch", |p| {
            p.manifest.system.md5 = "0".repeat(32)
        }),
        (
            "sha256-wrong-as-after-an-md5-collision",
            "sha256-mismatch",
            |p| {
                p.manifest.system.sha256 = "0".repeat(64);
            },
        ),
        ("sha256-of-payload-wrong", "sha256-mismatch", |p| {
            p.manifest.payloads[0].sha256 = "0".repeat(64);
            p.manifest.payloads[0].image_sha256 = "0".repeat(64);
        }),
        ("payload-traverses-path", "unexpected-member", |p| {
            p.system[0].name = b"../../kernel.itb".into();
        }),
        ("payload-is-a-symlink", "malformed", |p| {
            p.system[0].entry_type = EntryType::Symlink
        }),
        ("payload-of-another-size", "malformed", |p| {
            p.system[0].content.truncate(600);
        }),
        ("payload-missing", "truncated", |p| p.system.clear()),
        ("payload-not-in-the-manifest", "unexpected-member", |p| {
            // Within the zero padding of tar programs.
            p.system.push(Member::new("extra", "x"));
        }),
        ("manifest-of-format-2", "manifest-invalid", |p| {
            p.manifest.format = 2
        }),
        ("manifest-not-json", "manifest-invalid", |p| {
            p.manifest_bytes = Some(b"<xml/>".into())
        }),
        ("manifest-not-utf8", "manifest-invalid", |p| {
            p.manifest_bytes = Some(vec![0xFF; 10])
        }),
        ("manifest-nested-deeply", "manifest-invalid", |p| {
            p.manifest_bytes = Some("[".repeat(60_000).into_bytes());
        }),
        ("product-traverses-path", "manifest-invalid", |p| {
            p.manifest.product = "../x".into()
        }),
    ];
    let bench = bench();
    for (attack, word, change) in attacks {
        let mut parts = Parts::new(&bench);
        change(&mut parts);
        assert_refused(&bench, attack, &parts.bytes(), word);
    }
}

#[test]
fn an_error_names_the_member_and_what_to_do() {
    let bench = bench();
    let mut parts = Parts::new(&bench);
    parts.manifest.payloads[0].sha256 = "0".repeat(64);
    parts.manifest.payloads[0].image_sha256 = "0".repeat(64);
    let found = sha256(&parts.system[0].content);
    let text = bench.verify(&parts.bytes()).unwrap_err().to_string();
    assert!(
        text.contains("kernel.itb") && text.contains(&found),
        "{text}"
    );

    let members = Parts::new(&bench).members();
    let package = tar_open(&members[..3]);
    let text = bench.verify(&package).unwrap_err().to_string();
    assert!(
        text.contains("system.tar") && text.contains("fetch it again"),
        "{text}"
    );
}

/// A terminal decides while the package arrives: it never needs more than the limit, and never
/// changes its decision.
#[test]
fn the_head_is_judged_as_soon_as_it_is_there() {
    let bench = bench();
    let package = bench.build(5000, ext4_image(4096).len());
    let complete = Head::parse(&package).unwrap().unwrap();
    let end = complete.body_offset as usize;
    for length in 0..end {
        assert!(
            Head::parse(&package[..length]).unwrap().is_none(),
            "{length} bytes"
        );
    }
    let head = Head::parse(&package[..end]).unwrap().unwrap();
    assert_eq!(head.manifest, complete.manifest);
    assert_eq!(&package[end..end + 10], b"system.tar");
    head.verify(&bench.keyring).unwrap();
    // The head of a whole package limits its length.
    assert_eq!(*head.package_sizes().end(), package.len() as u64);
    let content = package.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let least = content.next_multiple_of(512) + 1024;
    assert_eq!(*head.package_sizes().start(), least as u64);
    let read = Head::read_from(package.as_slice()).unwrap();
    assert_eq!(read.manifest_bytes, head.manifest_bytes);
    let torn = Head::read_from(&package[..end - 1]).unwrap_err();
    assert_eq!(torn.word(), "truncated");
}

/// Even members of the largest size end within the limit.
#[test]
fn the_head_never_asks_for_more_than_its_limit() {
    let bench = bench();
    let mut members = Parts::new(&bench).members();
    members[0].content.resize(64 << 10, b' ');
    members[1].content.resize(4 << 10, 0);
    members[2].content.resize(64 << 10, b'\n');
    let package = tar(&members);
    assert!(Head::parse(&package[..MAX_HEAD]).unwrap().is_some());
}
