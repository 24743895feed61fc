//! A package, as a terminal receives it piece by piece, and as a whole file.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::LazyLock;

use dau_model::hex;
use dau_package::{Head, Keyring, PackageError, Verified, MAX_HEAD};
use openssl::sha::sha256;

use crate::memory;

/// Limit for the check of a whole package: three threads with queues of blocks, and the head.
const MEMORY: usize = 3 << 20;
/// Limit for the head: it is kept twice, and the manifest is parsed from it.
const HEAD_MEMORY: usize = 1 << 20;
/// Prefix of the names of genuinely signed seeds.
const GENUINE: &str = "genuine-";

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::load(&crate::folder().join("keyring")).expect("the keyring is whole")
});

/// Genuine packages by the digest of their manifest.
static SIGNED: LazyLock<HashMap<String, Vec<u8>>> = LazyLock::new(|| {
    let seeds = std::fs::read_dir(crate::folder().join("seeds/package")).expect("there are seeds");
    let genuine = seeds.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(GENUINE)
    });
    genuine
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a seed can be read");
            let head = Head::parse(&bytes).expect("a genuine seed is accepted");
            (head.expect("a seed is whole").manifest_sha256(), bytes)
        })
        .collect()
});

pub fn check(data: &[u8]) {
    let (keyring, signed) = (&*KEYRING, &*SIGNED);
    let head = memory::within(HEAD_MEMORY, || {
        Head::parse(&data[..data.len().min(MAX_HEAD)])
    });
    arrives(data, &head);
    let verified = memory::within(MEMORY, || {
        dau_package::verify(Cursor::new(data), keyring, &mut |_, _| ())
    });
    match (&head, &verified) {
        (_, Ok(verified)) => genuine(data, verified, signed),
        (Err(early), Err(late)) => assert_eq!(
            early.to_string(),
            late.to_string(),
            "the same bytes are refused in two ways"
        ),
        (_, Err(error)) => assert!(
            error.is_refusal(),
            "nothing failed but the package, yet it would be tried again: {error}"
        ),
    }
}

/// Checks that a decision on the first bytes stays when more arrive.
fn arrives(data: &[u8], whole: &Result<Option<Head>, PackageError>) {
    let mut ends: Vec<usize> = (1..=data.len().min(MAX_HEAD) / 512)
        .map(|block| block * 512)
        .collect();
    ends.extend([0, 1, 511, 513, data.len() / 2, data.len() / 3].map(|end| end.min(data.len())));
    let mut decided = None;
    ends.sort_unstable();
    for end in ends {
        let said = match Head::parse(&data[..end]) {
            Ok(None) => None,
            Ok(Some(head)) => Some(Ok((head.manifest_sha256(), head.body_offset))),
            Err(error) => Some(Err(error.to_string())),
        };
        if decided.is_some() {
            assert_eq!(said, decided, "after {end} bytes it is judged anew");
        }
        decided = said;
    }
    if decided.is_some() {
        let at_the_end = match whole {
            Ok(None) => None,
            Ok(Some(head)) => Some(Ok((head.manifest_sha256(), head.body_offset))),
            Err(error) => Some(Err(error.to_string())),
        };
        assert_eq!(decided, at_the_end);
    }
}

/// Checks that an accepted package equals a genuine one in every byte that is installed, as nobody
/// else can sign.
fn genuine(data: &[u8], verified: &Verified, signed: &HashMap<String, Vec<u8>>) {
    let genuine = signed.get(&verified.manifest_sha256);
    let genuine = genuine.expect("the manifest is one that was signed");
    verified.manifest.validate().expect("it was validated");
    let mut end = 0;
    for location in &verified.payloads {
        assert!(location.offset >= end, "payloads overlap");
        end = location.offset + location.len;
        let stored = &data[location.offset as usize..end as usize];
        assert_eq!(hex::encode(sha256(stored)), location.payload.sha256);
        let original = &genuine[location.offset as usize..end as usize];
        assert!(
            stored == original,
            "other bytes than those that were signed"
        );
    }
    // Only signature and certificates may differ.
    let parts = |package: &[u8]| {
        let head = Head::parse(package).expect("it was accepted");
        let head = head.expect("it is whole");
        let rest = package[head.body_offset as usize..].to_vec();
        (head.manifest_bytes, rest)
    };
    assert!(parts(data) == parts(genuine), "one manifest, two files");
    assert_eq!(verified.payloads.len(), verified.manifest.payloads.len());
}
