use std::fs;
use std::io::Write;

use dau_model::hex;
use dau_package::frames::FRAME_CONTENT;
use dau_package::make::{compress, Compression};
use dau_package::{Payload, PayloadType};
use tempfile::NamedTempFile;

use super::*;
use crate::rootfs::blocks::BLOCK;
use crate::rootfs::pass::WORKERS;
use crate::tests_support::noise;

const SIZE: usize = 2 * FRAME_CONTENT + 3 * BLOCK;

/// Returns a payload in a file, preceded by other data as in a package.
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
        sha256: hex::encode(sha256(&stored)),
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

/// Both passes, one after the other.
fn bring(package: &(NamedTempFile, PayloadLocation), device: &Path) -> Result<u64> {
    bring_by(package, device, WORKERS, &Failpoint::default(), || {})
}

fn bring_by(
    package: &(NamedTempFile, PayloadLocation),
    device: &Path,
    workers: usize,
    failpoint: &Failpoint,
    progress: fn(),
) -> Result<u64> {
    let survey = survey(package, device, workers)?;
    let file = package.0.as_file();
    write(
        file, &package.1, &survey, device, workers, failpoint, progress,
    )
}

fn survey(
    package: &(NamedTempFile, PayloadLocation),
    device: &Path,
    workers: usize,
) -> Result<Survey> {
    let medium = Device::open_read_only(device)?;
    let file = package.0.as_file();
    Ok(Survey::new(file, &package.1, &medium, workers, || {})?)
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
    // In the first block, in two neighbours, across two frames, and in the last block.
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

/// Reads behind the end of a file fail and writes succeed, as at a bad block of a medium.
#[test]
fn a_place_that_cannot_be_read_is_written() {
    let image = image();
    let package = payload(&image);
    let device = device(&image[..FRAME_CONTENT]);
    let survey = survey(&package, device.path(), 1).unwrap();
    assert_eq!(survey.differing_bytes(), (SIZE - FRAME_CONTENT) as u64);
    device.as_file().set_len(SIZE as u64).unwrap();
    let written = write(
        package.0.as_file(),
        &package.1,
        &survey,
        device.path(),
        1,
        &Failpoint::default(),
        || {},
    );
    assert_eq!(written.unwrap(), (SIZE - FRAME_CONTENT) as u64);
    assert!(fs::read(device.path()).unwrap() == image);
}

/// A package that changes after it was checked, as on a medium that reads differently each time.
#[test]
fn what_changed_since_it_was_checked_is_not_written() {
    let image = image();
    let (file, location) = payload(&image);
    let before = vec![0; SIZE];
    let device = device(&before);
    let package = (file, location);
    let survey = survey(&package, device.path(), WORKERS).unwrap();
    let mut other = image.clone();
    other[FRAME_CONTENT + 5] ^= 1;
    let exchanged = payload(&other);
    assert_eq!(
        exchanged.1.len, package.1.len,
        "its frames are where the others were"
    );
    let written = write(
        exchanged.0.as_file(),
        &package.1,
        &survey,
        device.path(),
        WORKERS,
        &Failpoint::default(),
        || {},
    );
    let error = format!("{:#}", written.unwrap_err());
    assert!(
        error.contains("frame 1 of the image is not what it was"),
        "{error}"
    );
    let found = fs::read(device.path()).unwrap();
    assert!(found[FRAME_CONTENT..2 * FRAME_CONTENT] == before[FRAME_CONTENT..2 * FRAME_CONTENT]);
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

/// The stored digest was verified before, so only a signer's mistake can cause these; they are
/// errors, not loops or panics.
#[test]
fn frames_that_do_not_make_the_image_are_an_error() {
    let image = image();
    let device = device(&vec![0; SIZE]);

    let mut other_digest = payload(&image);
    other_digest.1.payload.image_sha256 = "00".repeat(32);
    let error = bring(&other_digest, device.path()).unwrap_err();
    assert!(
        error.to_string().contains("but manifest.json says"),
        "{error:#}"
    );

    for at in [10_000, 3_000_000, 5_000_000] {
        let (file, location) = payload(&image);
        let mut bytes = fs::read(file.path()).unwrap();
        bytes[at] ^= 0xff;
        fs::write(file.path(), bytes).unwrap();
        let error = bring(&(file, location), device.path()).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("malformed") || text.contains("but manifest.json says"),
            "{text}"
        );
    }
}

#[test]
fn the_medium_is_blamed_only_where_two_reads_differ() {
    for (alike, blamed) in [(true, false), (false, true)] {
        let text = difference(8192, alike);
        assert_eq!(text.contains("the medium is failing"), blamed, "{text}");
        assert!(text.contains("byte 8192"), "{text}");
    }
}

/// The kernel's device that ignores all writes: every read gives the same.
#[test]
fn a_device_that_drops_writes_is_not_called_failing() {
    let package = payload(&image());
    let device = Device::dropping(SIZE as u64).unwrap();
    let survey = Survey::new(package.0.as_file(), &package.1, &device, 1, || {}).unwrap();
    let written = write_to(
        package.0.as_file(),
        &package.1,
        &survey,
        &device,
        1,
        &Failpoint::default(),
        || {},
    );
    let error = written.unwrap_err().to_string();
    assert!(error.contains("does not hold what was written"), "{error}");
}

#[test]
fn one_worker_does_the_same_as_many() {
    let image = image();
    let package = payload(&image);
    for workers in [1, 3, 5] {
        let device = device(&vec![1; SIZE]);
        let written = bring_by(
            &package,
            device.path(),
            workers,
            &Failpoint::default(),
            || {},
        );
        assert_eq!(written.unwrap(), SIZE as u64);
        assert!(fs::read(device.path()).unwrap() == image);
    }
}
