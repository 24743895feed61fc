//! A package's images, unpacked into one file that exists for as long as it is used.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::delta::PIECE;
use crate::frames::{Decoder, FrameIndex, FRAME_CONTENT};
use crate::make::{MakeError, Progress, Step};
use crate::{PackageError, PayloadLocation, PayloadType};

/// An image in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub payload_type: PayloadType,
    /// Offset of its first byte, a multiple of [`PIECE`].
    pub start: u64,
    pub size: u64,
}

/// All images of a package as one range of bytes, as a delta counts them.
pub(super) struct Images {
    file: File,
    pub images: Vec<Image>,
    /// End of the last image.
    pub size: u64,
}

impl Images {
    /// Unpacks the payloads of a package whose stored digests were checked.
    pub(super) fn unpack(
        package: &File,
        payloads: &[PayloadLocation],
        folder: &Path,
        progress: Progress<'_>,
    ) -> Result<Self, MakeError> {
        let file = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
        let mut decoder = Decoder::new().map_err(MakeError::io(folder))?;
        let mut memory = vec![0; FRAME_CONTENT];
        let total = payloads.iter().fold(0_u64, |sum, place| {
            sum.saturating_add(place.payload.image_size)
        });
        let mut package = package;
        let mut images: Vec<Image> = Vec::new();
        let mut size = 0_u64;
        for place in payloads {
            let payload = &place.payload;
            let start = size.next_multiple_of(PIECE as u64);
            let mut next = start;
            let mut write = |bytes: &[u8]| {
                // What is not written reads as zeros and takes no room.
                if bytes.iter().any(|byte| *byte != 0) {
                    file.write_all_at(bytes, next)
                        .map_err(MakeError::io(folder))?;
                }
                next = next.saturating_add(bytes.len() as u64);
                progress(Step::Unpack, next, total);
                Ok::<_, MakeError>(())
            };
            if payload.payload_type.is_rootfs() {
                let faulty = |error: crate::frames::FrameError| PackageError::Image {
                    member: payload.payload_type.member(),
                    reason: error.to_string(),
                };
                let index =
                    FrameIndex::read(&mut package, place.offset, place.len, payload.image_size)
                        .map_err(faulty)?;
                package
                    .seek(SeekFrom::Start(place.offset))
                    .map_err(MakeError::io(folder))?;
                for frame in index.frames() {
                    write(
                        decoder
                            .decode(&mut package, frame, &mut memory)
                            .map_err(faulty)?,
                    )?;
                }
            } else {
                package
                    .seek(SeekFrom::Start(place.offset))
                    .map_err(MakeError::io(folder))?;
                let mut stored = package.take(place.len);
                loop {
                    let count = stored.read(&mut memory).map_err(MakeError::io(folder))?;
                    if count == 0 {
                        break;
                    }
                    write(memory.get(..count).unwrap_or_default())?;
                }
            }
            size = start.saturating_add(payload.image_size);
            images.push(Image {
                payload_type: payload.payload_type,
                start,
                size: payload.image_size,
            });
        }
        file.set_len(size).map_err(MakeError::io(folder))?;
        Ok(Self { file, images, size })
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), MakeError> {
        let failed = MakeError::io(Path::new("unpacked images"));
        self.file.read_exact_at(buffer, offset).map_err(failed)
    }

    /// Returns the bytes from `offset` on.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>, MakeError> {
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Returns the image of a type.
    pub(super) fn of(&self, payload_type: PayloadType) -> Option<&Image> {
        self.images
            .iter()
            .find(|image| image.payload_type == payload_type)
    }
}
