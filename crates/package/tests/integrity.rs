//! A package's contents survive packing and unpacking, and any change is noticed.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use std::fs;
use std::io::{Cursor, Read};
use std::sync::OnceLock;

use common::{ext4_image, fit_image, Bench};
use dau_model::Kind;
use dau_package::frames::FRAME_CONTENT;
use dau_package::make::{build, compress, sign, Compression, MakeError};
use dau_package::{
    check_images, verify_whole, Algorithm, Head, Manifest, PackageError, PayloadType,
};
use proptest::prelude::*;

/// One package for all cases, as making takes longer than checking.
fn sample() -> &'static (Bench, Vec<u8>) {
    static SAMPLE: OnceLock<(Bench, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let bench = Bench::new(Algorithm::Ed25519);
        let package = bench.build(1500, 8192);
        (bench, package)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_package_cut_short_anywhere_is_refused(position in any::<prop::sample::Index>()) {
        let (bench, package) = sample();
        let length = position.index(package.len());
        let error = bench.verify(&package[..length]).unwrap_err();
        prop_assert!(error.is_refusal(), "{length}: {error}");
    }

    #[test]
    fn a_package_with_any_byte_changed_is_refused(
        position in any::<prop::sample::Index>(),
        change in 1..=255_u8
    ) {
        let (bench, package) = sample();
        let mut package = package.clone();
        let offset = position.index(package.len());
        package[offset] ^= change;
        let outcome = bench.verify(&package);
        prop_assert!(outcome.is_err(), "byte {offset} changed by {change:#x}");
    }

    #[test]
    fn any_bytes_at_all_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let (bench, _) = sample();
        prop_assert!(bench.verify(&bytes).is_err());
        let _ = Head::parse(&bytes);
    }
}

/// Every end of a structure, which random cuts may miss.
#[test]
fn a_package_cut_short_at_any_block_is_refused() {
    let (bench, package) = sample();
    for length in (0..package.len()).step_by(512) {
        assert!(bench.verify(&package[..length]).is_err(), "{length}");
    }
}

#[test]
fn what_goes_in_comes_out() {
    let bench = Bench::new(Algorithm::Ed25519);
    // Less than a frame, exactly two, and a bit more than two.
    for size in [4096, 2 * FRAME_CONTENT, 2 * FRAME_CONTENT + 4096] {
        let package = bench.build(3000, size);
        let verified = bench.verify(&package).unwrap();
        assert_eq!(verified.manifest.kind, Kind::Full);
        assert_eq!(verified.manifest.rollback_index, 7);
        let [kernel, rootfs] = verified.payloads.as_slice() else {
            panic!("{:?}", verified.payloads);
        };
        let stored = |offset: u64, len: u64| &package[offset as usize..][..len as usize];
        assert_eq!(stored(kernel.offset, kernel.len), fit_image(3000));

        let stored = stored(rootfs.offset, rootfs.len);
        let mut image = Vec::new();
        zstd::Decoder::new(stored)
            .unwrap()
            .read_to_end(&mut image)
            .unwrap();
        assert!(image == ext4_image(size), "image of {size} bytes");

        let mut file = Cursor::new(&package);
        check_images(&mut file, &verified.payloads, &mut |_, _| Ok(())).unwrap();
    }
}

#[test]
fn equal_inputs_make_equal_packages_on_any_number_of_threads() {
    let bench = Bench::new(Algorithm::RsaSha256);
    let first = bench.build(3000, 5 * FRAME_CONTENT + 4096);
    for threads in [1, 3] {
        let mut recipe = bench.recipe();
        recipe.compression = Compression {
            threads,
            ..recipe.compression
        };
        let output = bench.path("again.dau");
        build(&recipe, Some(&bench.signing()), &output, &mut |_, _, _| ()).unwrap();
        assert!(fs::read(&output).unwrap() == first, "{threads} threads");
    }
}

#[test]
fn bad_inputs_are_refused_and_the_old_package_stays() {
    let bench = Bench::new(Algorithm::Ed25519);
    let good = bench.build(3000, 49_152);
    let output = bench.path("package.dau");
    let mut cut_short = ext4_image(49_152);
    cut_short.truncate(40_960);
    let cases = [
        (
            "kernel.itb",
            b"\x7FELF and not a FIT image".to_vec(),
            "not a FIT image",
        ),
        ("kernel.itb", fit_image(3000)[..2000].to_vec(), "cut short"),
        ("rootfs.img", vec![0; 49_152], "not an ext4 file system"),
        ("rootfs.img", cut_short, "cut short"),
        (
            "rootfs.img",
            common::tar(&[common::Member::new("etc/hostname", "terminal\n")]),
            "not an ext4 file system",
        ),
        ("rootfs.img", Vec::new(), "not an ext4 file system"),
    ];
    for (name, content, reason) in cases {
        bench.build(3000, 49_152);
        fs::write(bench.path(name), content).unwrap();
        let signing = bench.signing();
        let error = build(&bench.recipe(), Some(&signing), &output, &mut |_, _, _| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains(name), "{text}");
        assert!(fs::read(&output).unwrap() == good, "{name}: {reason}");
    }
    // No incomplete file is left beside it.
    let mut names: Vec<_> = fs::read_dir(bench.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["kernel.itb", "package.dau", "pki", "rootfs.img"]);
}

#[test]
fn a_package_is_signed_later_and_only_if_whole() {
    let bench = Bench::new(Algorithm::Ed25519);
    let signed = bench.build(3000, 49_152);
    let output = bench.path("package.dau");
    build(&bench.recipe(), None, &output, &mut |_, _, _| ()).unwrap();
    let unsigned = fs::read(&output).unwrap();
    assert!(matches!(
        bench.verify(&unsigned),
        Err(PackageError::Unsigned)
    ));

    sign(&output, &bench.signing(), &output, &mut |_, _, _| ()).unwrap();
    assert!(
        fs::read(&output).unwrap() == signed,
        "as if it had been signed at once"
    );

    // Another signer signs it again.
    let other = Bench::new(Algorithm::EcdsaP256Sha256);
    sign(&output, &other.signing(), &output, &mut |_, _, _| ()).unwrap();
    let again = fs::read(&output).unwrap();
    other.verify(&again).unwrap();
    assert_eq!(bench.verify(&again).unwrap_err().word(), "signer-unknown");

    // An incomplete package is not signed.
    let mut torn = unsigned;
    let middle = torn.len() / 2;
    torn[middle] ^= 1;
    fs::write(&output, &torn).unwrap();
    let error = sign(&output, &bench.signing(), &output, &mut |_, _, _| ()).unwrap_err();
    assert!(matches!(error, MakeError::Package(_)), "{error}");
    assert!(fs::read(&output).unwrap() == torn);
}

#[test]
fn a_key_that_is_not_the_signers_is_noticed_while_signing() {
    let bench = Bench::new(Algorithm::Ed25519);
    let other = Bench::new(Algorithm::Ed25519);
    let output = bench.path("package.dau");
    bench.build(3000, 49_152);
    fs::remove_file(&output).unwrap();
    let signing = dau_package::make::Signing::with_key(&bench.chain, other.key).unwrap();
    let error = build(&bench.recipe(), Some(&signing), &output, &mut |_, _, _| ()).unwrap_err();
    assert!(matches!(error, MakeError::Sign(_)), "{error}");
    assert!(!output.exists());
}

/// Faults that RecoveryOS would notice while it overwrites the root filesystem are found before, by
/// verify_whole.
#[test]
fn images_that_are_not_what_the_manifest_says_are_refused() {
    type Lie = fn(&mut Manifest, &mut Vec<u8>);
    /// Compresses an image as the packager does.
    fn stored(image: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        let fast = Compression {
            level: 1,
            threads: 1,
        };
        compress(image, &mut stored, fast, &mut |_| ()).unwrap();
        stored
    }
    const SIZE: usize = FRAME_CONTENT + 4096;
    let lies: [(&str, &str, Lie); 8] = [
        (
            "digest-of-another-image",
            "image-mismatch",
            |manifest, _| manifest.payloads[0].image_sha256 = "0".repeat(64),
        ),
        (
            "larger-than-it-unpacks-to",
            "image-mismatch",
            |manifest, _| manifest.payloads[0].image_size += 4096,
        ),
        (
            "smaller-than-it-unpacks-to",
            "image-mismatch",
            |manifest, _| manifest.payloads[0].image_size -= 4096,
        ),
        ("bomb-of-64-GiB", "image-mismatch", |manifest, _| {
            manifest.payloads[0].image_size = 64 << 30
        }),
        ("no-seek-table", "image-mismatch", |_, stored| {
            stored.truncate(4000)
        }),
        ("one-frame-for-all", "image-mismatch", |_, stored| {
            *stored = zstd::bulk::compress(&ext4_image(SIZE), 1).unwrap();
        }),
        ("not-a-file-system", "file-system", |manifest, bytes| {
            let image = vec![7; SIZE];
            manifest.payloads[0].image_sha256 = common::sha256(&image);
            *bytes = stored(&image);
        }),
        (
            "file-system-of-more-than-the-image",
            "file-system",
            |manifest, bytes| {
                let mut image = ext4_image(SIZE);
                image[1024 + 4 + 2] = 1;
                manifest.payloads[0].image_sha256 = common::sha256(&image);
                *bytes = stored(&image);
            },
        ),
    ];
    let bench = Bench::new(Algorithm::Ed25519);
    let package = |lie: Lie| {
        let image = ext4_image(SIZE);
        let mut parts = common::Parts::new(&bench);
        let mut bytes = stored(&image);
        parts.manifest.kind = Kind::Rootfs;
        let payload = &mut parts.manifest.payloads[0];
        payload.name = "rootfs.img.zst".into();
        payload.payload_type = PayloadType::RootfsImage;
        payload.image_size = SIZE as u64;
        payload.image_sha256 = common::sha256(&image);
        lie(&mut parts.manifest, &mut bytes);
        let payload = &mut parts.manifest.payloads[0];
        payload.size = bytes.len() as u64;
        payload.sha256 = common::sha256(&bytes);
        parts.system = vec![common::Member::new("rootfs.img.zst", bytes)];
        parts.bytes()
    };
    let check = |package: &[u8]| {
        let mut last = (0, 0);
        verify_whole(Cursor::new(package), &bench.keyring, &mut |done, total| {
            assert!(done >= last.0 && done <= total);
            last = (done, total);
            Ok(())
        })
        .map(|_| assert_eq!(last.0, last.1))
    };
    check(&package(|_, _| ())).unwrap();
    for (attack, word, lie) in lies {
        let package = package(lie);
        // Only RecoveryOS would notice.
        bench.verify(&package).unwrap();
        let error = check(&package).expect_err(attack);
        assert_eq!(error.word(), word, "{attack}: {error}");
        assert!(error.is_refusal());
    }
    // The progress callback can stop it.
    let stopped = verify_whole(
        Cursor::new(package(|_, _| ())),
        &bench.keyring,
        &mut |_, _| Err(std::io::ErrorKind::Interrupted.into()),
    );
    assert!(!stopped.unwrap_err().is_refusal());
}
