//! The images of the base, read at any place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::rebuild::RebuildError;
use super::section::Section;
use super::PIECE;
use crate::frames::{Decoder, FrameError, FrameIndex};
use crate::verify::locate;
use crate::{Head, PackageError};

/// Bytes read at once from an image that is stored as it is.
const CHUNK: usize = 16 << 10;

/// An image of the base.
struct Image {
    /// Offset of its first byte, counted over all images.
    start: u64,
    size: u64,
    /// Offset of its first stored byte in the file.
    stored: u64,
    /// Its frames; `None` where it is stored as it is.
    frames: Option<FrameIndex>,
}

/// The images of a package as one range of bytes, in the manifest's order, each from a whole
/// [`PIECE`] on.
pub(super) struct Base<'a> {
    file: &'a File,
    images: Vec<Image>,
    size: u64,
    pub(super) decoder: Decoder,
    /// A frame's content, and the place of the frame in the file.
    content: Vec<u8>,
    decoded: Option<u64>,
}

impl<'a> Base<'a> {
    /// Finds the images of the package whose manifest has this SHA-256. Nothing else is checked:
    /// whatever is read from it is compared with the delta's digests.
    pub(super) fn open(file: &'a File, manifest_sha256: &str) -> Result<Self, RebuildError> {
        let refuse = |error: PackageError| match error {
            PackageError::Io(error) => RebuildError::Io(error),
            error => RebuildError::Base(error.to_string()),
        };
        let head = Head::read_from(Section::new(file, 0, u64::MAX)).map_err(refuse)?;
        let found = head.manifest_sha256();
        if found != manifest_sha256 {
            return Err(RebuildError::Base(format!(
                "its manifest has SHA-256 {found}, the delta is made for {manifest_sha256}"
            )));
        }
        let mut reader = file;
        let mut images: Vec<Image> = Vec::new();
        let mut size = 0_u64;
        let mut largest = 0;
        for place in locate(&mut reader, &head).map_err(refuse)? {
            let frames = match place.payload.payload_type.is_rootfs() {
                true => {
                    let image_size = place.payload.image_size;
                    let index = FrameIndex::read(&mut reader, place.offset, place.len, image_size);
                    Some(index.map_err(damaged)?)
                }
                false => None,
            };
            // So that no range within 1 MiB crosses a frame.
            let start = size.next_multiple_of(PIECE as u64);
            let contents = frames.iter().flat_map(FrameIndex::frames);
            largest = contents.fold(largest, |most, frame| frame.content.max(most));
            images.push(Image {
                start,
                size: place.payload.image_size,
                stored: place.offset,
                frames,
            });
            size = start.saturating_add(place.payload.image_size);
        }
        Ok(Self {
            file,
            images,
            size,
            decoder: Decoder::new()?,
            content: vec![0; largest],
            decoded: None,
        })
    }

    /// Returns the end of the last image.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Hands over the bytes at `offset`, `len` of them within the base, in parts and in order.
    pub(super) fn read(
        &mut self,
        mut offset: u64,
        len: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RebuildError> {
        let mut left = len;
        while left > 0 {
            let taken = self.read_part(offset, left, take)?;
            left = left.saturating_sub(taken);
            offset = offset.saturating_add(taken as u64);
        }
        Ok(())
    }

    fn read_part(
        &mut self,
        offset: u64,
        len: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, RebuildError> {
        let outside = || RebuildError::Mismatch("it reads outside the base".into());
        let ends_before = |image: &Image| image.start.saturating_add(image.size) <= offset;
        let number = self.images.partition_point(ends_before);
        let image = self.images.get(number).ok_or_else(outside)?;
        let within = offset.saturating_sub(image.start);
        let Some(frames) = &image.frames else {
            let most = image.size.saturating_sub(within).min(CHUNK as u64) as usize;
            let mut chunk = [0; CHUNK];
            let part = chunk.get_mut(..len.min(most)).unwrap_or_default();
            self.file
                .read_exact_at(part, image.stored.saturating_add(within))?;
            take(part);
            return Ok(part.len());
        };
        let frame = frames.find(within).ok_or_else(outside)?;
        let stored = image.stored.saturating_add(frame.stored_offset);
        if self.decoded != Some(stored) {
            self.decoded = None;
            let mut section = Section::new(self.file, stored, frame.stored as u64);
            self.decoder
                .decode(&mut section, frame, &mut self.content)
                .map_err(damaged)?;
            self.decoded = Some(stored);
        }
        let start = within.saturating_sub(frame.image_offset) as usize;
        let content = self.content.get(..frame.content).unwrap_or_default();
        let rest = content.get(start..).unwrap_or_default();
        let part = rest.get(..len.min(rest.len())).unwrap_or_default();
        if part.is_empty() {
            return Err(outside());
        }
        take(part);
        Ok(part.len())
    }
}

/// A frame of the base that cannot be used: a fault of the base, unless it cannot be read.
fn damaged(error: FrameError) -> RebuildError {
    match error {
        FrameError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => error.into(),
        error => RebuildError::Base(error.to_string()),
    }
}
