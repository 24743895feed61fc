//! A raw image, written frame by frame: decompressed, hashed, compared with what stands there, and only the blocks that
//! differ written and read back. Several frames are under way at once; each takes the memory of one frame of image.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{anyhow, bail, ensure, Context, Result};
use dau_boot_state::slot::hex;
use dau_package::frames::{Frame, FrameIndex, FRAME_CONTENT};
use dau_package::PayloadLocation;
use openssl::sha::Sha256;
use zstd::zstd_safe::{get_error_name, DCtx, DParameter, InBuffer, OutBuffer};

use super::device::{Buffer, Device};
use crate::cut::Cut;

/// Frames that are under way at once: what two cores can use and 16 MiB can hold.
pub const WORKERS: usize = 2;
/// What is compared and written: the block size of the file system.
const BLOCK: usize = 4096;
/// Read from the medium at once. More is faster, but RecoveryOS is to stay under 16 MiB.
const PIECE: usize = 256 << 10;
/// Read from the package at once.
const STORED_PIECE: usize = 128 << 10;

/// Writes the raw image in `payload` of the package to the device at `path`, which is at least as large. Returns the
/// bytes that differed and were written; all of them were read back, and the whole image matched its SHA-256.
pub fn write(
    package: &File,
    payload: &PayloadLocation,
    path: &Path,
    workers: usize,
    cut: &Cut,
    progress: fn(),
) -> Result<u64> {
    let image_size = payload.payload.image_size;
    let index = FrameIndex::read(&mut &*package, payload.offset, payload.len, image_size)?;
    let device = Device::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    ensure!(
        image_size <= device.size() && image_size % BLOCK as u64 == 0,
        "an image of {image_size} bytes does not fit {} of {}",
        path.display(),
        device.size()
    );
    let writing = Writing {
        package,
        payload_offset: payload.offset,
        frames: index.frames(),
        device: &device,
        next: AtomicUsize::new(0),
        written: AtomicU64::new(0),
        turn: Mutex::new(Turn {
            frame: 0,
            hasher: Sha256::new(),
        }),
        turned: Condvar::new(),
        stopped: AtomicBool::new(false),
        cut,
        progress,
    };
    // In one piece, with the frames first: each stands on huge pages.
    let mut memory = Buffer::new(workers * (FRAME_CONTENT + PIECE));
    let (images, media) = memory.get_mut().split_at_mut(workers * FRAME_CONTENT);
    let images = images.chunks_mut(FRAME_CONTENT);
    let mut memories = images.zip(media.chunks_mut(PIECE));
    let (image, medium) = memories.next().context("no writer")?;
    thread::scope(|scope| {
        let threads: Vec<_> = memories
            .map(|(image, medium)| scope.spawn(|| writing.work(image, medium)))
            .collect();
        join(writing.work(image, medium), threads)
    })?;
    device.sync().context("cannot sync the root filesystem")?;
    cut.point();
    let turn = writing
        .turn
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let found = hex(&turn.hasher.finish());
    ensure!(
        found == payload.payload.image_sha256,
        "the image has SHA-256 {found}, the manifest says {}",
        payload.payload.image_sha256
    );
    Ok(writing.written.into_inner())
}

/// What the writers share.
struct Writing<'a> {
    package: &'a File,
    payload_offset: u64,
    frames: &'a [Frame],
    device: &'a Device,
    next: AtomicUsize,
    written: AtomicU64,
    turn: Mutex<Turn>,
    turned: Condvar,
    stopped: AtomicBool,
    cut: &'a Cut,
    progress: fn(),
}

/// The image is hashed in its order, by whoever has the next frame.
struct Turn {
    frame: usize,
    hasher: Sha256,
}

/// Lets the other writers go home when one cannot go on, however that came.
struct StopOthers<'a, 'b>(&'a Writing<'b>);

impl Drop for StopOthers<'_, '_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        // Taken and given back: whoever checked before it was set waits by now.
        drop(self.0.turn.lock());
        self.0.turned.notify_all();
    }
}

impl Writing<'_> {
    /// `image` is the memory for a frame, `medium` for what stands on the medium.
    fn work(&self, image: &mut [u8], medium: &mut [u8]) -> Result<()> {
        let stop_others = StopOthers(self);
        let mut decoder = Decoder::new()?;
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(frame) = self.frames.get(number) else {
                // Nothing left is no reason to stop the others.
                std::mem::forget(stop_others);
                return Ok(());
            };
            let image = &mut image[..frame.content];
            decoder
                .decode(self.package, self.payload_offset, frame, image)
                .with_context(|| format!("cannot decompress frame {number} of the image"))?;
            if !self.hash(number, image) {
                return Ok(());
            }
            self.bring(frame.image_offset, image, medium)?;
            (self.progress)();
        }
    }

    /// Hashes when it is this frame's turn; false when another writer gave up.
    fn hash(&self, number: usize, image: &[u8]) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |turn: &mut Turn| turn.frame != number && !self.stopped.load(Ordering::SeqCst);
        let mut turn = self
            .turned
            .wait_while(turn, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::SeqCst) {
            return false;
        }
        turn.hasher.update(image);
        turn.frame += 1;
        self.turned.notify_all();
        true
    }

    /// Makes the medium hold `image` at `offset`.
    fn bring(&self, offset: u64, image: &[u8], medium: &mut [u8]) -> Result<()> {
        for (number, wanted) in image.chunks(PIECE).enumerate() {
            let start = offset + (number * PIECE) as u64;
            self.bring_piece(start, wanted, &mut medium[..wanted.len()])?;
        }
        Ok(())
    }

    fn bring_piece(&self, offset: u64, wanted: &[u8], medium: &mut [u8]) -> Result<()> {
        let runs = match self.device.read(medium, offset) {
            Ok(()) => differing(wanted, medium),
            // A place that cannot be read any more often can be written, and be read again then.
            Err(error) => {
                log::warn!("{}: {error}; writing all of it", at("read", offset));
                let all = 0..wanted.len();
                vec![all]
            }
        };
        for run in &runs {
            self.cut.point();
            self.device
                .write(&wanted[run.clone()], offset + run.start as u64)
                .with_context(|| at("write", offset))?;
            self.written.fetch_add(run.len() as u64, Ordering::Relaxed);
        }
        for run in runs {
            self.read_back(wanted, medium, offset, run)?;
        }
        Ok(())
    }

    fn read_back(
        &self,
        wanted: &[u8],
        medium: &mut [u8],
        offset: u64,
        part: Range<usize>,
    ) -> Result<()> {
        let start = offset + part.start as u64;
        let medium = &mut medium[part.clone()];
        self.device
            .drop_cache(start, part.len())
            .and_then(|()| self.device.read(medium, start))
            .with_context(|| at("read back", start))?;
        if *medium != wanted[part] {
            bail!("the medium does not keep what is written to it, at byte {start}: replace it");
        }
        Ok(())
    }
}

/// The first error of all.
fn join(own: Result<()>, others: Vec<ScopedJoinHandle<'_, Result<()>>>) -> Result<()> {
    let others = others.into_iter().map(|thread| {
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("a writer died")))
    });
    others.fold(own, Result::and)
}

fn at(action: &str, offset: u64) -> String {
    format!("cannot {action} the root filesystem at byte {offset}")
}

/// The runs of blocks in which `wanted` and `medium` differ, in bytes.
fn differing(wanted: &[u8], medium: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, (wanted, medium)) in wanted.chunks(BLOCK).zip(medium.chunks(BLOCK)).enumerate() {
        if wanted == medium {
            continue;
        }
        let block = number * BLOCK..number * BLOCK + wanted.len();
        match runs.last_mut() {
            Some(last) if last.end == block.start => last.end = block.end,
            _ => runs.push(block),
        }
    }
    runs
}

/// Decompresses frames straight into the caller's memory, with none of its own but for tables.
struct Decoder {
    context: DCtx<'static>,
    stored: Vec<u8>,
}

impl Decoder {
    fn new() -> Result<Self> {
        let mut context = DCtx::try_create().context("no memory to decompress")?;
        context
            .set_parameter(DParameter::StableOutBuffer(true))
            .map_err(zstd_error)?;
        Ok(Decoder {
            context,
            stored: vec![0; STORED_PIECE],
        })
    }

    fn decode(
        &mut self,
        package: &File,
        payload: u64,
        frame: &Frame,
        image: &mut [u8],
    ) -> Result<()> {
        self.context
            .reset(zstd::zstd_safe::ResetDirective::SessionOnly)
            .map_err(zstd_error)?;
        let length = image.len();
        let mut output = OutBuffer::around(image);
        let mut offset = payload + frame.stored_offset;
        let end = offset + frame.stored as u64;
        while offset < end {
            let count = (end - offset).min(STORED_PIECE as u64) as usize;
            let stored = &mut self.stored[..count];
            package.read_exact_at(stored, offset)?;
            offset += count as u64;
            let mut input = InBuffer::around(stored);
            while input.pos() < count {
                let before = (input.pos(), output.pos());
                let left = self
                    .context
                    .decompress_stream(&mut output, &mut input)
                    .map_err(zstd_error)?;
                if left == 0 {
                    let whole = offset == end && input.pos() == count && output.pos() == length;
                    ensure!(whole, "it is not the frame that the seek table says");
                    return Ok(());
                }
                ensure!(
                    before != (input.pos(), output.pos()),
                    "it holds more than the seek table says"
                );
            }
        }
        bail!("it ends too early")
    }
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, get_error_name(code))
}

#[cfg(test)]
mod tests;
