use std::fs;
use std::io::Write;
use std::sync::{Once, OnceLock};

use dau_package::make::{compress, Compression};
use dau_package::{Payload, PayloadType};
use openssl::sha::sha256;
use tempfile::NamedTempFile;

use super::*;
use crate::tests_support::noise;

const SIZE: usize = 2 * FRAME_CONTENT + 3 * BLOCK;

/// A payload in a file, with something before it as in a package.
fn payload(image: &[u8]) -> (NamedTempFile, PayloadLocation) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"what stands before").unwrap();
    let mut stored = Vec::new();
    let compression = Compression {
        level: 1,
        threads: 1,
    };
    let made = compress(image, &mut stored, compression, &mut |_| {}).unwrap();
    file.write_all(&stored).unwrap();
    let payload = Payload {
        name: "rootfs.img.zst".into(),
        payload_type: PayloadType::RootfsImage,
        size: made.size,
        sha256: hex(&sha256(&stored)),
        image_size: made.image_size,
        image_sha256: made.image_sha256,
    };
    let location = PayloadLocation {
        len: payload.size,
        offset: 18,
        payload,
    };
    (file, location)
}

fn image() -> Vec<u8> {
    let mut image = noise(1, SIZE);
    // Zeros, as between files.
    image[100 * BLOCK..900 * BLOCK].fill(0);
    image
}

fn device(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

fn bring(package: &(NamedTempFile, PayloadLocation), device: &Path) -> Result<u64> {
    write(
        package.0.as_file(),
        &package.1,
        device,
        WORKERS,
        &Cut::default(),
        || {},
    )
}

#[test]
fn only_blocks_that_differ_are_written() {
    let image = image();
    let package = payload(&image);
    let larger = [&vec![0xaa; SIZE][..], &[0xbb; 10 * BLOCK]].concat();
    let device = device(&larger);
    assert_eq!(bring(&package, device.path()).unwrap(), SIZE as u64);
    let found = fs::read(device.path()).unwrap();
    assert!(found[..SIZE] == image && found[SIZE..] == larger[SIZE..]);
    assert_eq!(bring(&package, device.path()).unwrap(), 0);

    let mut changed = found;
    // Bytes in the first block, in two neighbours, across two frames, and in the last block.
    for at in [
        0,
        500 * BLOCK,
        501 * BLOCK + 17,
        FRAME_CONTENT - 1,
        FRAME_CONTENT,
        SIZE - 1,
    ] {
        changed[at] ^= 0x55;
    }
    fs::write(device.path(), &changed).unwrap();
    assert_eq!(bring(&package, device.path()).unwrap(), 6 * BLOCK as u64);
    assert!(fs::read(device.path()).unwrap()[..SIZE] == image);
}

/// Behind the end of a file reads fail and writes do not, as at a bad place of a medium: the device loses what it holds
/// behind the first frame, once that is done.
#[test]
fn a_place_that_cannot_be_read_is_written() {
    static DEVICE: OnceLock<NamedTempFile> = OnceLock::new();
    static CUT_SHORT: Once = Once::new();
    let image = image();
    let package = payload(&image);
    let device = DEVICE.get_or_init(|| device(&image));
    let progress = || {
        CUT_SHORT.call_once(|| {
            let device = DEVICE.get().unwrap().as_file();
            device.set_len(FRAME_CONTENT as u64).unwrap();
        });
    };
    let cut = Cut::default();
    let written = write(
        package.0.as_file(),
        &package.1,
        device.path(),
        1,
        &cut,
        progress,
    );
    assert_eq!(written.unwrap(), (SIZE - FRAME_CONTENT) as u64);
    assert!(fs::read(device.path()).unwrap() == image);
}

#[test]
fn nothing_is_written_to_a_device_that_is_too_small() {
    let package = payload(&image());
    let before = vec![0xaa; SIZE - BLOCK];
    let device = device(&before);
    let error = bring(&package, device.path()).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error:#}");
    assert!(fs::read(device.path()).unwrap() == before);
}

/// The stored digest was verified before, so these could only come from a signer's mistake; they are errors, not loops
/// or panics.
#[test]
fn frames_that_do_not_make_the_image_are_an_error() {
    let image = image();
    let device = device(&vec![0; SIZE]);

    let mut other_digest = payload(&image);
    other_digest.1.payload.image_sha256 = "00".repeat(32);
    let error = bring(&other_digest, device.path()).unwrap_err();
    assert!(error.to_string().contains("the manifest says"), "{error:#}");

    for at in [10_000, 3_000_000, 5_000_000] {
        let (file, location) = payload(&image);
        let mut bytes = fs::read(file.path()).unwrap();
        bytes[at] ^= 0xff;
        fs::write(file.path(), bytes).unwrap();
        let error = bring(&(file, location), device.path()).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("cannot decompress") || text.contains("the manifest says"),
            "{text}"
        );
    }
}

#[test]
fn one_worker_does_the_same_as_many() {
    let image = image();
    let package = payload(&image);
    for workers in [1, 3, 5] {
        let device = device(&vec![1; SIZE]);
        let written = write(
            package.0.as_file(),
            &package.1,
            device.path(),
            workers,
            &Cut::default(),
            || {},
        );
        assert_eq!(written.unwrap(), SIZE as u64);
        assert!(fs::read(device.path()).unwrap() == image);
    }
}

proptest::proptest! {
    #[test]
    fn runs_are_exactly_the_blocks_that_differ(blocks in proptest::collection::vec(proptest::bool::ANY, 0..40)) {
        let wanted = vec![0; blocks.len() * BLOCK];
        let mut medium = wanted.clone();
        for (number, differs) in blocks.iter().enumerate() {
            medium[number * BLOCK + number] = u8::from(*differs);
        }
        let runs = differing(&wanted, &medium);
        for pair in runs.windows(2) {
            proptest::prop_assert!(pair[0].end < pair[1].start, "runs are joined");
        }
        let found: Vec<bool> = (0..blocks.len())
            .map(|number| runs.iter().any(|run| run.contains(&(number * BLOCK))))
            .collect();
        proptest::prop_assert_eq!(found, blocks);
    }
}
