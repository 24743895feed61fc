//! A compressed root filesystem: eight bytes of what the manifest would say its image has, then the payload. Payloads are
//! signed, but who signs may have been deceived, and a builder may be broken.

use std::io::Cursor;
use std::path::Path;

use dau_boot_state::slot::hex;
use dau_package::frames::{FrameIndex, FrameReader, FRAME_CONTENT, MAX_FRAME_STORED};
use dau_package::{Payload, PayloadLocation, PayloadType, MAX_IMAGE};
use dau_recovery::cut::Cut;
use dau_recovery::rootfs::image;
use openssl::sha::sha256;

use crate::file::{self, InMemory};
use crate::memory;

/// One frame, and room to read the next part of it.
const MEMORY: usize = 2 * MAX_FRAME_STORED + (1 << 20);
/// RecoveryOS as a whole stays under this.
const RECOVERY_OS: usize = 16 << 20;
/// Images up to this size are unpacked as well.
const UNPACKED: u64 = 1 << 20;
const BLOCK: u64 = 4096;

pub fn check(data: &[u8]) {
    let Some((size, payload)) = data.split_first_chunk() else {
        return;
    };
    let size = u64::from_le_bytes(*size);
    memory::within(MEMORY, || in_order(payload, size));
    memory::within(MEMORY, || by_table(payload, size));
    if size > 0 && size <= UNPACKED && size % BLOCK == 0 {
        memory::within(RECOVERY_OS, || unpack(payload, size));
    }
}

fn in_order(payload: &[u8], size: u64) {
    let mut reader = FrameReader::new(payload, size);
    let mut stored = Vec::new();
    let (mut image, mut end) = (0, 0);
    loop {
        match reader.next_frame(&mut stored) {
            Err(_) => return,
            Ok(None) => break,
            Ok(Some(frame)) => {
                assert_eq!(frame.image_offset, image, "frames leave something out");
                assert!(frame.stored_offset >= end && frame.stored <= MAX_FRAME_STORED);
                assert!((1..=FRAME_CONTENT).contains(&frame.content));
                end = frame.stored_offset + frame.stored as u64;
                let there = &payload[frame.stored_offset as usize..end as usize];
                assert!(there == stored, "other bytes than those of the payload");
                image += frame.content as u64;
            }
        }
    }
    assert_eq!(image, size, "an image that is not complete was taken");
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

/// As RecoveryOS writes it. What was accepted stands on the medium.
fn unpack(payload: &[u8], size: u64) {
    let package = InMemory::new(payload);
    let medium = tempfile::NamedTempFile::new_in(file::folder()).expect("there is room");
    medium.as_file().set_len(size).expect("there is room");
    // Nobody knows the digest of what comes out: the first run tells it.
    let Err(first) = write(&package, payload, size, medium.path(), "") else {
        panic!("an image was taken without its digest");
    };
    let said = format!("{first:#}");
    let Some((_, rest)) = said.split_once("the image has SHA-256 ") else {
        return;
    };
    let digest = &rest[..64];
    write(&package, payload, size, medium.path(), digest).expect("the same image is taken");
    let written = std::fs::read(medium.path()).expect("the medium can be read");
    assert_eq!(hex(&sha256(&written)), digest);
}

fn write(
    package: &InMemory,
    payload: &[u8],
    size: u64,
    medium: &Path,
    digest: &str,
) -> Result<u64, String> {
    let len = payload.len() as u64;
    let payload_type = PayloadType::RootfsImage;
    let location = PayloadLocation {
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
    };
    let written = image::write(package.file(), &location, medium, 1, &Cut::default(), || ());
    written.map_err(|error| format!("{error:#}"))
}
