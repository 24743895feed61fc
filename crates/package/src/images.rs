//! Checks that images unpack to what the manifest says and can be installed by RecoveryOS, as a bad
//! image would fail in the middle of an installation.

use std::io::{self, Read, Seek, SeekFrom};

use openssl::sha::Sha256;

use dau_model::hex;

use crate::ext4::{Ext4Error, SuperBlock};
use crate::frames::{Decoder, FrameError, FrameIndex, FRAME_CONTENT};
use crate::{PackageError, Payload, PayloadLocation};

/// Unpacks every compressed payload of a package that [`crate::verify()`] has accepted, compares
/// its size and digest, and checks that it is an ext4 file system that terminals can install.
/// Returns its super block if there is one.
///
/// `progress` gets the bytes of image done and in total; an error from it ends the check as
/// [`PackageError::Io`]. Nothing is written. Needs the memory of one frame ([`FRAME_CONTENT`], 4
/// MiB) and less than 1 MiB besides, whatever the size of the image.
///
/// # Errors
/// [`PackageError::Image`] or [`PackageError::FileSystem`] if the package is at fault.
pub fn check_images<F: Read + Seek>(
    file: &mut F,
    payloads: &[PayloadLocation],
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Option<SuperBlock>, PackageError> {
    let mut super_block = None;
    for location in payloads {
        // Other payloads are stored as they are: their digests were checked already.
        if location.payload.payload_type.is_rootfs() {
            super_block = check_image(file, location, progress)?;
        }
    }
    Ok(super_block)
}

fn check_image<F: Read + Seek>(
    file: &mut F,
    location: &PayloadLocation,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Option<SuperBlock>, PackageError> {
    let mut check = ImageCheck::new(&location.payload);
    let refuse = |error| refused(&location.payload, error);
    let size = location.payload.image_size;
    let index = FrameIndex::read(file, location.offset, location.len, size).map_err(refuse)?;
    // The frames fill the payload without gaps.
    file.seek(SeekFrom::Start(location.offset))?;
    let mut decoder = Decoder::new()?;
    let mut memory = vec![0; FRAME_CONTENT.min(usize::try_from(size).unwrap_or(FRAME_CONTENT))];
    let mut done = 0_u64;
    for frame in index.frames() {
        let image = decoder.decode(file, frame, &mut memory).map_err(refuse)?;
        check.update(image);
        done = done.saturating_add(image.len() as u64);
        progress(done, size)?;
    }
    check.finish()
}

/// Judges an image whose frames are handed over in its order, for readers with their own threads;
/// [`check_images`] reads for itself.
pub struct ImageCheck<'a> {
    payload: &'a Payload,
    sha256: Sha256,
    /// What the first frame holds.
    file_system: Option<Result<SuperBlock, Ext4Error>>,
}

impl std::fmt::Debug for ImageCheck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageCheck").finish_non_exhaustive()
    }
}

impl<'a> ImageCheck<'a> {
    /// Begins with the image of a payload.
    pub fn new(payload: &'a Payload) -> Self {
        ImageCheck {
            payload,
            sha256: Sha256::new(),
            file_system: None,
        }
    }

    /// Takes the next frame, decompressed.
    pub fn update(&mut self, image: &[u8]) {
        let size = self.payload.image_size;
        self.file_system.get_or_insert_with(|| {
            SuperBlock::parse(image).and_then(|found| found.check(size).map(|()| found))
        });
        self.sha256.update(image);
    }

    /// Returns the state of SHA-256 after the frames so far: with it, any later frame can be checked
    /// alone and as strictly as the whole image.
    pub fn state(&self) -> Sha256 {
        self.sha256.clone()
    }

    /// Returns the super block, if the image has one byte at least.
    ///
    /// # Errors
    /// [`PackageError::Image`] if the digest is not the manifest's, else
    /// [`PackageError::FileSystem`] if it is not an ext4 file system that terminals can install.
    pub fn finish(self) -> Result<Option<SuperBlock>, PackageError> {
        let member = self.payload.payload_type.member();
        let found = hex::encode(self.sha256.finish());
        let said = &self.payload.image_sha256;
        if found != *said {
            return Err(PackageError::Image {
                member,
                reason: format!("unpacked, its SHA-256 is {found}, but manifest.json says {said}"),
            });
        }
        // The file system of a wrong image says nothing.
        let file_system = self.file_system.transpose();
        file_system.map_err(|error| PackageError::FileSystem { member, error })
    }
}

/// Returns why a payload whose frames are faulty is refused, or why it cannot be read.
pub fn refused(payload: &Payload, error: FrameError) -> PackageError {
    match error {
        FrameError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => error.into(),
        error => PackageError::Image {
            member: payload.payload_type.member(),
            reason: error.to_string(),
        },
    }
}
