//! A compressed root filesystem. Input: the image size in the manifest (eight bytes), then the
//! payload. Payloads are signed, but the signer may have been deceived or the builder faulty.

use std::io::Cursor;
use std::path::Path;

use dau_model::hex;
use dau_package::frames::{FrameIndex, FRAME_CONTENT, MAX_FRAME_STORED};
use dau_package::{check_images, Payload, PayloadLocation, PayloadType, MAX_IMAGE};
use dau_recovery::failpoint::Failpoint;
use dau_recovery::rootfs::device::Device;
use dau_recovery::rootfs::image;
use dau_recovery::rootfs::survey::Survey;
use openssl::sha::sha256;

use crate::file::{self, InMemory};
use crate::memory;

/// One frame of the image, the largest seek table twice, and zstd's tables.
const MEMORY: usize = FRAME_CONTENT + (2 << 20);
/// Limit for the whole RecoveryOS.
const RECOVERY_OS: usize = 16 << 20;
/// Larger images are not unpacked.
const UNPACKED: u64 = 1 << 20;
const BLOCK: u64 = 4096;

pub fn check(data: &[u8]) {
    let Some((size, payload)) = data.split_first_chunk() else {
        return;
    };
    let size = u64::from_le_bytes(*size);
    memory::within(MEMORY, || by_table(payload, size));
    memory::within(MEMORY, || checked(payload, size));
    if size > 0 && size <= UNPACKED && size % BLOCK == 0 {
        memory::within(RECOVERY_OS, || unpack(payload, size));
    }
}

/// Checks it as station and agent do: nothing is written, and little memory is used.
fn checked(payload: &[u8], size: u64) {
    let digest = "0".repeat(64);
    let location = location(payload, size, &digest);
    let mut file = Cursor::new(payload);
    let found = check_images(&mut file, &[location], &mut |_, _| Ok(()));
    let error = found.expect_err("an image was taken without its digest");
    assert!(error.is_refusal(), "it would be tried again: {error}");
}

fn by_table(payload: &[u8], size: u64) {
    let mut file = Cursor::new(payload);
    let Ok(index) = FrameIndex::read(&mut file, 0, payload.len() as u64, size) else {
        return;
    };
    assert!(size <= MAX_IMAGE);
    let (mut image, mut end) = (0, 0);
    for frame in index.frames() {
        assert_eq!((frame.image_offset, frame.stored_offset), (image, end));
        assert!((1..=MAX_FRAME_STORED).contains(&frame.stored));
        image += frame.content as u64;
        end += frame.stored as u64;
        assert_eq!(index.find(image - 1), Some(frame));
    }
    assert_eq!(image, size);
    assert!(end < payload.len() as u64);
    assert_eq!(index.find(size), None);
}

/// Writes it as RecoveryOS does; the accepted image must be on the medium.
fn unpack(payload: &[u8], size: u64) {
    let package = InMemory::new(payload);
    let medium = tempfile::NamedTempFile::new_in(file::folder()).expect("there is room");
    medium.as_file().set_len(size).expect("there is room");
    // The digest of the output is unknown: the first run's error contains it.
    let Err(first) = write(&package, payload, size, medium.path(), "") else {
        panic!("an image was taken without its digest");
    };
    let said = format!("{first:#}");
    let Some((_, rest)) = said.split_once("unpacked, its SHA-256 is ") else {
        return;
    };
    let digest = &rest[..64];
    write(&package, payload, size, medium.path(), digest).expect("the same image is taken");
    let written = std::fs::read(medium.path()).expect("the medium can be read");
    assert_eq!(hex::encode(sha256(&written)), digest);
}

fn write(
    package: &InMemory,
    payload: &[u8],
    size: u64,
    medium: &Path,
    digest: &str,
) -> Result<u64, String> {
    let location = location(payload, size, digest);
    let said = |error: &dyn std::fmt::Display| format!("{error:#}");
    let device = Device::open_read_only(medium).map_err(|error| said(&error))?;
    let survey =
        Survey::new(package.file(), &location, &device, 1, || ()).map_err(|error| said(&error))?;
    let written = image::write(
        package.file(),
        &location,
        &survey,
        medium,
        1,
        &Failpoint::default(),
        || (),
    );
    written.map_err(|error| said(&error))
}

fn location(payload: &[u8], size: u64, digest: &str) -> PayloadLocation {
    let len = payload.len() as u64;
    let payload_type = PayloadType::RootfsImage;
    PayloadLocation {
        payload: Payload {
            name: payload_type.member().to_owned(),
            payload_type,
            size: len,
            sha256: String::new(),
            image_size: size,
            image_sha256: digest.to_owned(),
        },
        offset: 0,
        len,
    }
}
