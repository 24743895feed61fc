//! Deltas and bases that were made to do harm, or were damaged. Each attack is signed, as only signed
//! bytes are interpreted.

use std::io::Write;
use std::os::unix::fs::FileExt;

use dau_package::{DeltaOf, Manifest, PackageError, Payload, PayloadType};

use super::common::{sha256, tar_open, Member, Parts};
use super::*;

/// Changes bytes of a copy of a file in the middle of what is stored.
fn damaged(pair: &Pair, path: &Path, offset: u64) -> PathBuf {
    let copy = pair.bench.path("damaged.dau");
    fs::copy(path, &copy).unwrap();
    open(&copy).write_all_at(&[0xFF; 16], offset).unwrap();
    copy
}

#[test]
fn a_damaged_base_is_found_at_the_piece() {
    let pair = Pair::new();
    let size = fs::metadata(&pair.old).unwrap().len();
    for offset in [20_000, size / 2, size / 3 * 2] {
        let base = damaged(&pair, &pair.old, offset);
        let error = pair.rebuild(&base, "out.dau").unwrap_err();
        assert!(error.is_refusal(), "{offset}: {error}");
    }
}

#[test]
fn another_base_is_refused_by_its_manifest() {
    let pair = Pair::new();
    let error = pair.rebuild(&pair.new, "out.dau").unwrap_err();
    assert_eq!(error.word().as_str(), "delta-base", "{error}");
}

#[test]
fn a_changed_delta_is_refused_before_it_is_read() {
    let pair = Pair::new();
    let size = fs::metadata(&pair.delta).unwrap().len();
    for offset in (600..size).step_by(5000) {
        let path = damaged(&pair, &pair.delta, offset);
        let file = File::open(&path).unwrap();
        assert!(Delta::verify(file, &pair.bench.keyring, &mut |_, _| Ok(())).is_err());
    }
}

/// The bytes of the target's kernel, all of them literals.
fn kernel() -> Vec<u8> {
    let mut kernel = fit_image(700);
    kernel[8..].fill(9);
    kernel
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

/// A payload of three streams.
fn payload(frames: [Vec<u8>; 3]) -> Vec<u8> {
    let mut bytes = b"dau-dlt1".to_vec();
    for frame in &frames {
        bytes.extend_from_slice(&(frame.len() as u64).to_le_bytes());
    }
    frames
        .iter()
        .for_each(|frame| bytes.extend_from_slice(frame));
    bytes
}

/// The digest of the only piece, and operations.
fn operations(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = openssl::sha::sha256(&kernel()).to_vec();
    for mut number in numbers.iter().copied() {
        while number > 0x7F {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    bytes
}

/// A signed delta from the package of [`Parts`] to one of another kernel, with this payload.
fn signed(bench: &Bench, payload: &[u8], change: impl FnOnce(&mut Manifest)) -> PathBuf {
    signed_from(bench, &Parts::new(bench), payload, change)
}

/// Does the same from another base.
fn signed_from(
    bench: &Bench,
    base: &Parts,
    payload: &[u8],
    change: impl FnOnce(&mut Manifest),
) -> PathBuf {
    let manifest_of_base = base.clone().members()[0].content.clone();
    fs::write(bench.path("base.dau"), base.clone().bytes()).unwrap();
    let mut target = Parts::new(bench);
    target.manifest.version = "1.2.0".into();
    target.manifest.payloads[0].sha256 = sha256(&kernel());
    target.manifest.payloads[0].image_sha256 = sha256(&kernel());
    target.system = vec![Member::new("kernel.itb", kernel())];
    let members = target.members();
    let head = tar_open(&members[..3]);
    let mut delta = Parts::new(bench);
    delta.manifest.version = "1.2.0".into();
    delta.manifest.delta = Some(DeltaOf {
        base: sha256(&manifest_of_base),
        target: sha256(&members[0].content),
        rebuilt_size: 1 << 20,
    });
    let parts = [
        (PayloadType::TargetHead, head.as_slice()),
        (PayloadType::Delta, payload),
    ];
    delta.manifest.payloads = parts
        .map(|(payload_type, bytes)| Payload {
            name: payload_type.member().into(),
            payload_type,
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            image_size: bytes.len() as u64,
            image_sha256: sha256(bytes),
        })
        .to_vec();
    delta.system = parts
        .map(|(kind, bytes)| Member::new(kind.member(), bytes))
        .to_vec();
    change(&mut delta.manifest);
    let path = bench.path("hostile.delta.dau");
    fs::write(&path, delta.bytes()).unwrap();
    path
}

fn apply(bench: &Bench, path: &Path) -> Result<(), RebuildError> {
    let file = File::open(path).unwrap();
    let delta = Delta::verify(file, &bench.keyring, &mut |_, _| Ok(())).unwrap();
    let base = File::open(bench.path("base.dau")).unwrap();
    let output = open(&bench.path("out.dau"));
    output.set_len(0).unwrap();
    let mut rebuild = Rebuild::new(&delta, &base, &output)?;
    while rebuild.step(&mut || Ok(()))? {}
    rebuild.finish()
}

/// Kinds, as the low bits of an operation's first number.
const ZEROS: u64 = 0;
const LITERAL: u64 = 1;
const COPY: u64 = 2;

#[test]
fn hostile_payloads_are_refused_by_name() {
    let bench = Bench::new(Algorithm::Ed25519);
    let literals = || frame(&kernel());
    let nothing = || frame(&[]);
    let with = |numbers: &[u64]| payload([frame(&operations(numbers)), nothing(), literals()]);
    let right = [700 << 2 | LITERAL];
    let genuine = with(&right);
    apply(&bench, &signed(&bench, &genuine, |_| ())).unwrap();

    let huge_window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&kernel()).unwrap();
        encoder.finish().unwrap()
    };
    let mut endless = operations(&[]);
    endless.extend_from_slice(&[0xFF; 64]);
    let mut too_long_number = operations(&[]);
    too_long_number
        .extend_from_slice(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7F]);
    let many: Vec<u64> = (0..700).map(|_| 1 << 2 | ZEROS).collect();
    let sizes = |sizes: [u64; 3]| {
        let mut bytes = genuine.clone();
        for (at, size) in sizes.iter().enumerate() {
            bytes[8 + 8 * at..][..8].copy_from_slice(&size.to_le_bytes());
        }
        bytes
    };
    let attacks = [
        ("another magic", [b"DAU".as_slice(), &genuine[3..]].concat()),
        ("cut in its header", genuine[..20].to_vec()),
        ("sizes beyond every file", sizes([u64::MAX; 3])),
        (
            "sizes that overflow together",
            sizes([u64::MAX / 2, u64::MAX / 2, 5]),
        ),
        (
            "bytes after the last frame",
            [genuine.as_slice(), b"more"].concat(),
        ),
        (
            "streams that are not zstd",
            payload([vec![1; 60], vec![2; 60], vec![3; 60]]),
        ),
        ("no streams", payload([Vec::new(), Vec::new(), Vec::new()])),
        (
            "operations that never begin",
            payload([nothing(), nothing(), literals()]),
        ),
        (
            "operations that end before the piece",
            with(&[10 << 2 | LITERAL]),
        ),
        ("no length", with(&[LITERAL, 700 << 2 | LITERAL])),
        ("longer than its piece", with(&[701 << 2 | LITERAL])),
        ("as long as 64 bits go", with(&[u64::MAX])),
        (
            "more literals than there are",
            payload([
                frame(&operations(&right)),
                nothing(),
                frame(&kernel()[..699]),
            ]),
        ),
        ("copy before the base", with(&[8 << 2 | COPY, 1])),
        ("copy behind the base", with(&[8 << 2 | COPY, 2 * 700])),
        (
            "copy across the base's end",
            with(&[8 << 2 | COPY, 2 * 696]),
        ),
        (
            "copy as far as 64 bits go",
            with(&[8 << 2 | COPY, u64::MAX]),
        ),
        (
            "a number without end",
            payload([frame(&endless), nothing(), literals()]),
        ),
        (
            "a number of more than 64 bits",
            payload([frame(&too_long_number), nothing(), literals()]),
        ),
        ("zeros for the whole piece, one by one", with(&many)),
        (
            "a window of 128 MiB",
            payload([frame(&operations(&right)), nothing(), huge_window]),
        ),
        (
            "operations after the last piece",
            with(&[700 << 2 | LITERAL, 1 << 2 | ZEROS]),
        ),
        (
            "literals after the last piece",
            payload([
                frame(&operations(&right)),
                nothing(),
                frame(&[kernel(), vec![1]].concat()),
            ]),
        ),
        (
            "a second frame after the literals",
            payload([
                frame(&operations(&right)),
                nothing(),
                [literals(), literals()].concat(),
            ]),
        ),
        (
            "other bytes than the digest's",
            payload([frame(&operations(&right)), nothing(), frame(&[5; 700])]),
        ),
    ];
    for (attack, payload) in attacks {
        let error = apply(&bench, &signed(&bench, &payload, |_| ())).unwrap_err();
        assert_eq!(error.word().as_str(), "delta-mismatch", "{attack}: {error}");
    }
}

/// Work is bounded too: each MiB of the base may cost a frame.
#[test]
fn attack_by_a_piece_of_too_many_parts_of_the_base() {
    let bench = Bench::new(Algorithm::Ed25519);
    let mut base = Parts::new(&bench);
    let mut content = fit_image(70 * MIB);
    content[8..].fill(9);
    let digest = sha256(&content);
    let payload_of_base = &mut base.manifest.payloads[0];
    (payload_of_base.size, payload_of_base.image_size) =
        (content.len() as u64, content.len() as u64);
    (payload_of_base.sha256, payload_of_base.image_sha256) = (digest.clone(), digest);
    base.system = vec![Member::new("kernel.itb", content)];
    for (parts, taken) in [(64, true), (65, false)] {
        // Eight literals, a byte of each of so many MiB, and the rest as literals.
        let mut numbers = vec![8 << 2 | LITERAL, 1 << 2 | COPY, 2 * 100];
        for _ in 1..parts {
            numbers.extend([1 << 2 | COPY, 2 * (MIB as u64 - 1)]);
        }
        let rest = 700 - 8 - parts;
        numbers.push(rest << 2 | LITERAL);
        let literals = kernel()[parts as usize..].to_vec();
        let literals = [&kernel()[..8], &literals[8..]].concat();
        let payload = payload([frame(&operations(&numbers)), frame(&[]), frame(&literals)]);
        let applied = apply(&bench, &signed_from(&bench, &base, &payload, |_| ()));
        match applied {
            Ok(()) => assert!(taken, "{parts}"),
            Err(error) => assert!(
                !taken && error.to_string().contains("too much of the base"),
                "{parts}: {error}"
            ),
        }
    }
}

#[test]
fn a_delta_that_says_other_things_than_its_target_is_refused() {
    type Change = fn(&mut Manifest);
    let bench = Bench::new(Algorithm::Ed25519);
    let genuine = payload([frame(&operations(&[])), frame(&[]), frame(&[])]);
    let attacks: [(&str, Change); 5] = [
        ("another version", |manifest| {
            manifest.version = "9.0".into()
        }),
        ("another product", |manifest| {
            manifest.product = "relay".into()
        }),
        ("a higher rollback index", |manifest| {
            manifest.rollback_index = 99
        }),
        ("another kind", |manifest| {
            manifest.kind = dau_model::Kind::Full
        }),
        ("another target", |manifest| {
            manifest.delta.as_mut().unwrap().target = "0".repeat(64);
        }),
    ];
    for (attack, change) in attacks {
        let path = signed(&bench, &genuine, change);
        let verdict = Delta::verify(
            File::open(path).unwrap(),
            &bench.keyring,
            &mut |_, _| Ok(()),
        );
        let error = verdict.unwrap_err();
        assert!(
            matches!(error, PackageError::Malformed { .. }),
            "{attack}: {error}"
        );
    }
    let path = signed(&bench, &genuine, |manifest| {
        manifest.kind = dau_model::Kind::Recovery
    });
    let verdict = Delta::verify(
        File::open(path).unwrap(),
        &bench.keyring,
        &mut |_, _| Ok(()),
    );
    assert_eq!(verdict.unwrap_err().word().as_str(), "manifest-invalid");
}
