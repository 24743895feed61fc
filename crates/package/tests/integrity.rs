//! Whatever goes in comes out, and nothing else does.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use std::fs;
use std::io::{Cursor, Read};
use std::sync::OnceLock;

use common::{ext4_image, fit_image, Bench};
use dau_package::frames::{FrameIndex, FrameReader, FRAME_CONTENT};
use dau_package::make::{build, check_images, sign, Compression, MakeError};
use dau_package::{Algorithm, Head, PackageError, PackageKind};
use proptest::prelude::*;

/// One package for all cases: it takes longer to make than to check.
fn sample() -> &'static (Bench, Vec<u8>) {
    static SAMPLE: OnceLock<(Bench, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let bench = Bench::new(Algorithm::Ed25519);
        let package = bench.build(1500, 9000);
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
    fn a_package_with_any_byte_changed_is_refused(position in any::<prop::sample::Index>(), change in 1..=255_u8) {
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

/// Every place where a structure ends, which random cuts may miss.
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
        assert_eq!(verified.manifest.kind, PackageKind::Full);
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

        // Both ways to find the frames agree.
        let mut file = Cursor::new(&package);
        let index = FrameIndex::read(&mut file, rootfs.offset, rootfs.len, size as u64).unwrap();
        let mut reader = FrameReader::new(stored, size as u64);
        let mut bytes = Vec::new();
        for frame in index.frames() {
            assert_eq!(reader.next_frame(&mut bytes).unwrap().as_ref(), Some(frame));
            assert_eq!(
                bytes,
                &stored[frame.stored_offset as usize..][..frame.stored]
            );
        }
        assert!(reader.next_frame(&mut bytes).unwrap().is_none());
        check_images(&mut file, &verified.payloads, &mut |_, _| ()).unwrap();
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
fn the_root_filesystem_may_come_compressed_or_as_a_tar() {
    let bench = Bench::new(Algorithm::Ed25519);
    let plain = bench.build(3000, 50_000);
    let image = ext4_image(50_000);
    fs::write(
        bench.path("rootfs.img"),
        zstd::encode_all(&image[..], 3).unwrap(),
    )
    .unwrap();
    let output = bench.path("package.dau");
    build(
        &bench.recipe(),
        Some(&bench.signing()),
        &output,
        &mut |_, _, _| (),
    )
    .unwrap();
    assert!(
        fs::read(&output).unwrap() == plain,
        "how the input was compressed does not show"
    );

    let archive = common::tar(&[common::Member::new("etc/hostname", "terminal\n")]);
    fs::write(bench.path("rootfs.img"), &archive).unwrap();
    build(
        &bench.recipe(),
        Some(&bench.signing()),
        &output,
        &mut |_, _, _| (),
    )
    .unwrap();
    let verified = bench.verify(&fs::read(&output).unwrap()).unwrap();
    assert_eq!(verified.payloads[1].payload.name, "rootfs.tar.zst");
    assert_eq!(
        verified.payloads[1].payload.image_sha256,
        common::sha256(&archive)
    );
}

#[test]
fn bad_inputs_are_refused_and_the_old_package_stays() {
    let bench = Bench::new(Algorithm::Ed25519);
    let good = bench.build(3000, 50_000);
    let output = bench.path("package.dau");
    let mut cut_short = ext4_image(50_000);
    cut_short.truncate(40_000);
    let cases = [
        (
            "kernel.itb",
            b"\x7FELF and not a FIT image".to_vec(),
            "not a FIT image",
        ),
        ("kernel.itb", fit_image(3000)[..2000].to_vec(), "cut short"),
        (
            "rootfs.img",
            vec![0; 50_000],
            "neither an ext4 image nor a tar",
        ),
        ("rootfs.img", cut_short, "cut short"),
        ("rootfs.img", Vec::new(), "neither an ext4 image nor a tar"),
    ];
    for (name, content, reason) in cases {
        bench.build(3000, 50_000);
        fs::write(bench.path(name), content).unwrap();
        let signing = bench.signing();
        let error = build(&bench.recipe(), Some(&signing), &output, &mut |_, _, _| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains(name), "{text}");
        assert!(fs::read(&output).unwrap() == good, "{name}: {reason}");
    }
    // Nothing half-made is left beside it.
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
    let signed = bench.build(3000, 50_000);
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

    // Somebody else signs it again.
    let other = Bench::new(Algorithm::EcdsaP256Sha256);
    sign(&output, &other.signing(), &output, &mut |_, _, _| ()).unwrap();
    let again = fs::read(&output).unwrap();
    other.verify(&again).unwrap();
    assert_eq!(bench.verify(&again).unwrap_err().word(), "signer-unknown");

    // A torn package is not vouched for.
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
    bench.build(3000, 50_000);
    fs::remove_file(&output).unwrap();
    let signing = dau_package::make::Signing::with_key(&bench.chain, other.key).unwrap();
    let error = build(&bench.recipe(), Some(&signing), &output, &mut |_, _, _| ()).unwrap_err();
    assert!(matches!(error, MakeError::Sign(_)), "{error}");
    assert!(!output.exists());
}
