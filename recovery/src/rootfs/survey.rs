//! The first pass over an image: decompresses it in memory, compares its digest with the manifest's,
//! and notes which blocks of the medium differ. Nothing is written.

use std::fs::File;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use dau_package::frames::FrameIndex;
use dau_package::{refused, ImageCheck, PackageError, PayloadLocation};
use openssl::sha::Sha256;

use super::blocks::{Blocks, BLOCK};
use super::device::Device;
use super::pass::{Pass, Stored, PIECE};

/// What the first pass found; [`super::image::write`] goes by it. It takes some 250 bytes for a frame.
pub struct Survey {
    index: FrameIndex,
    /// The states of SHA-256 before each frame and after the last.
    states: Vec<Sha256>,
    /// The blocks of each frame that differ, or could not be read.
    differing: Vec<Blocks>,
    /// Why terminals could not install its file system.
    unfit: Option<PackageError>,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Survey");
        shown
            .field("differing", &self.differing_bytes())
            .finish_non_exhaustive()
    }
}

impl Survey {
    /// Unpacks the image in `payload` of a verified package and compares it with the device.
    ///
    /// # Errors
    /// As [`dau_package::check_images`], but for a file system that terminals cannot install:
    /// see [`Survey::unfit`].
    pub fn new(
        package: &File,
        payload: &PayloadLocation,
        device: &Device,
        workers: usize,
        progress: fn(),
    ) -> Result<Self, PackageError> {
        let refuse = |error| refused(&payload.payload, error);
        let image_size = payload.payload.image_size;
        let index = FrameIndex::read(&mut &*package, payload.offset, payload.len, image_size)
            .map_err(refuse)?;
        let stored = Stored {
            package,
            offset: payload.offset,
            frames: index.frames(),
        };
        let numbers: Vec<usize> = (0..index.frames().len()).collect();
        let differing = Mutex::new(vec![Blocks::default(); numbers.len()]);
        let check = ImageCheck::new(&payload.payload);
        let states = vec![check.state()];
        let pass = Pass::new(stored, &numbers, (check, states));
        let broken = |_, error| refuse(error);
        pass.run(workers, broken, |frame| {
            let hashed = pass.in_turn(frame.place, |(check, states)| {
                check.update(frame.image);
                states.push(check.state());
            });
            if hashed.is_none() {
                return Ok(());
            }
            let found = compare(device, frame.offset, frame.image, frame.medium);
            let mut differing = differing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(blocks) = differing.get_mut(frame.number) {
                *blocks = found;
            }
            progress();
            Ok(())
        })?;
        let (check, states) = pass.into_shared();
        let unfit = match check.finish() {
            Ok(_) => None,
            Err(error @ PackageError::FileSystem { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        Ok(Survey {
            index,
            states,
            differing: differing
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            unfit,
        })
    }

    /// Returns why terminals could not install its file system, if that is so.
    pub fn unfit(&mut self) -> Option<PackageError> {
        self.unfit.take()
    }

    /// Returns the places of the frames.
    pub(super) fn index(&self) -> &FrameIndex {
        &self.index
    }

    /// Returns the numbers of the frames of which blocks differ.
    pub(super) fn frames(&self) -> Vec<usize> {
        let numbered = self.differing.iter().enumerate();
        let differ = numbered.filter(|(_, blocks)| !blocks.is_empty());
        differ.map(|(number, _)| number).collect()
    }

    /// Returns the bytes of a frame that differ, in whole blocks.
    pub(super) fn runs(&self, frame: usize) -> Vec<Range<usize>> {
        self.differing
            .get(frame)
            .map_or_else(Vec::new, Blocks::runs)
    }

    /// Returns whether this is the frame that was part of the image whose digest the manifest has:
    /// SHA-256 goes from the state before it to the state after it.
    pub(super) fn holds(&self, frame: usize, image: &[u8]) -> bool {
        let mut states = self.states.iter().skip(frame).cloned();
        match (states.next(), states.next()) {
            (Some(mut before), Some(after)) => {
                before.update(image);
                before.finish() == after.finish()
            }
            _ => false,
        }
    }

    /// Returns the number of bytes that differ, in whole blocks.
    pub fn differing_bytes(&self) -> u64 {
        let runs = self.differing.iter().flat_map(Blocks::runs);
        runs.map(|run| run.len() as u64).sum()
    }
}

/// Returns the blocks of the frame `image` that the medium at `offset` does not hold.
fn compare(device: &Device, offset: u64, image: &[u8], medium: &mut [u8]) -> Blocks {
    let mut differing = Blocks::default();
    let mut start = 0_usize;
    for wanted in image.chunks(PIECE) {
        let end = start.saturating_add(wanted.len());
        let found = medium.get_mut(..wanted.len()).unwrap_or_default();
        match device.read(found, offset.saturating_add(start as u64)) {
            Ok(()) => {
                for (number, (wanted, found)) in
                    wanted.chunks(BLOCK).zip(found.chunks(BLOCK)).enumerate()
                {
                    if wanted != found {
                        let at = start.saturating_add(number.saturating_mul(BLOCK));
                        differing.add(at..at.saturating_add(wanted.len()));
                    }
                }
            }
            // A block that cannot be read can often be written, and read again afterwards.
            Err(error) => {
                let at = offset.saturating_add(start as u64);
                log::warn!(
                    "cannot read the root filesystem at byte {at}: {error}; all of it will be written"
                );
                differing.add(start..end);
            }
        }
        start = end;
    }
    differing
}
