//! Whether payloads unpack to what the manifest says: a package that does not would fail a terminal half-way.

use std::io::{self, Read, Seek, SeekFrom};

use openssl::sha::Sha256;
use zstd::bulk::Decompressor;

use super::MakeError;
use crate::frames::{FrameIndex, FrameReader, FRAME_CONTENT};
use crate::manifest::hex;
use crate::PayloadLocation;

/// Unpacks every compressed payload of a verified package and compares size and digest. `progress` is told the bytes of
/// image done and in all.
pub fn check_images<F: Read + Seek>(
    file: &mut F,
    payloads: &[PayloadLocation],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), MakeError> {
    for location in payloads {
        // What else there is, is stored as it is: its digest has been checked.
        if location.payload.payload_type.is_rootfs() {
            check_image(file, location, progress)?;
        }
    }
    Ok(())
}

fn check_image<F: Read + Seek>(
    file: &mut F,
    location: &PayloadLocation,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), MakeError> {
    let payload = &location.payload;
    let refuse = |reason: String| MakeError::Image {
        member: payload.payload_type.member(),
        reason,
    };
    let read_error = |error: io::Error| refuse(error.to_string());
    let index = FrameIndex::read(file, location.offset, location.len, payload.image_size)?;
    file.seek(SeekFrom::Start(location.offset))
        .map_err(read_error)?;
    let mut frames = FrameReader::new(file.take(location.len), payload.image_size);
    let mut decompressor = Decompressor::new().map_err(read_error)?;
    let mut stored = Vec::new();
    let mut content = Vec::with_capacity(FRAME_CONTENT);
    let mut sha256 = Sha256::new();
    let mut position = 0;
    while let Some(frame) = frames.next_frame(&mut stored)? {
        if index.find(frame.image_offset) != Some(&frame) {
            return Err(refuse("the seek table is wrong".into()));
        }
        content.clear();
        decompressor
            .decompress_to_buffer(&stored, &mut content)
            .map_err(read_error)?;
        if content.len() != frame.content {
            return Err(refuse(format!(
                "the frame at {position} unpacks to another size"
            )));
        }
        sha256.update(&content);
        position += content.len() as u64;
        progress(position, payload.image_size);
    }
    let found = hex(&sha256.finish());
    if found != payload.image_sha256 {
        return Err(refuse(format!(
            "unpacked, its SHA-256 is {found}, but manifest.json says {}",
            payload.image_sha256
        )));
    }
    Ok(())
}
