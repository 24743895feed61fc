//! A package as a terminal meets it: as it arrives, piece by piece, and as a whole file.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::LazyLock;

use dau_boot_state::slot::hex;
use dau_package::{Head, Keyring, PackageError, Verified, MAX_HEAD};
use openssl::sha::sha256;

use crate::memory;

/// What a check of a whole package may take: three threads with queues of pieces, and the head.
const MEMORY: usize = 3 << 20;
/// What the head may take: it is kept twice, and the manifest is read from it.
const HEAD_MEMORY: usize = 1 << 20;
/// Seeds that the signer of the seeds has signed.
const GENUINE: &str = "genuine-";

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::load(&crate::folder().join("keyring")).expect("the keyring is whole")
});

/// Genuine packages, by the digest of their manifest.
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

/// What was decided of the first bytes stays as more of them come.
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

/// Nobody else can sign: what is accepted is a genuine package, byte by byte as far as it is installed.
fn genuine(data: &[u8], verified: &Verified, signed: &HashMap<String, Vec<u8>>) {
    let genuine = signed.get(&verified.manifest_sha256);
    let genuine = genuine.expect("the manifest is one that was signed");
    verified.manifest.validate().expect("it was validated");
    let mut end = 0;
    for location in &verified.payloads {
        assert!(location.offset >= end, "payloads overlap");
        end = location.offset + location.len;
        let stored = &data[location.offset as usize..end as usize];
        assert_eq!(hex(&sha256(stored)), location.payload.sha256);
        let original = &genuine[location.offset as usize..end as usize];
        assert!(
            stored == original,
            "other bytes than those that were signed"
        );
    }
    assert_eq!(verified.payloads.len(), verified.manifest.payloads.len());
}
