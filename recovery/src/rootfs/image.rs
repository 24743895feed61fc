//! The second pass over an image: writes the blocks that the first one found to differ, and reads
//! them back. Only their frames are decompressed again, each checked before the first of its blocks
//! is written.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{bail, ensure, Context, Result};
use dau_package::PayloadLocation;
use openssl::sha::sha256;

use super::blocks::BLOCK_BYTES;
use super::device::Device;
use super::pass::{Pass, Stored, Unpacked, PIECE};
use super::survey::Survey;
use crate::failpoint::Failpoint;

/// Writes the raw image in `payload` of the package to the device at `path`, which must be as it was
/// when `survey` compared it. Returns the number of bytes that were written; all of them were read
/// back, and with what the survey found in place they are the image of the manifest's SHA-256.
pub fn write(
    package: &File,
    payload: &PayloadLocation,
    survey: &Survey,
    path: &Path,
    workers: usize,
    failpoint: &Failpoint,
    progress: fn(),
) -> Result<u64> {
    let device = Device::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let image_size = payload.payload.image_size;
    ensure!(
        image_size <= device.size() && image_size % BLOCK_BYTES == 0,
        "an image of {image_size} bytes does not fit {} of {}",
        path.display(),
        device.size()
    );
    write_to(
        package, payload, survey, &device, workers, failpoint, progress,
    )
}

fn write_to(
    package: &File,
    payload: &PayloadLocation,
    survey: &Survey,
    device: &Device,
    workers: usize,
    failpoint: &Failpoint,
    progress: fn(),
) -> Result<u64> {
    let numbers = survey.frames();
    let stored = Stored {
        package,
        offset: payload.offset,
        frames: survey.index().frames(),
    };
    let pass = Pass::new(stored, &numbers, ());
    let writing = Writing {
        survey,
        device,
        written: AtomicU64::new(0),
        failpoint,
    };
    let broken = |number, error| {
        let what = format!("cannot decompress frame {number} of the image");
        anyhow::Error::new(error).context(what)
    };
    pass.run(workers, broken, |frame| {
        writing.bring(frame)?;
        progress();
        Ok(())
    })?;
    device.sync().context("cannot sync the root filesystem")?;
    failpoint.hit();
    Ok(writing.written.into_inner())
}

/// State that the workers share.
struct Writing<'a> {
    survey: &'a Survey,
    device: &'a Device,
    written: AtomicU64,
    failpoint: &'a Failpoint,
}

impl Writing<'_> {
    /// Makes the medium hold a frame.
    fn bring(&self, frame: Unpacked<'_>) -> Result<()> {
        let Unpacked {
            number,
            offset,
            image,
            medium,
            ..
        } = frame;
        ensure!(
            self.survey.holds(number, image),
            "frame {number} of the image is not what it was a moment ago: mnt reads differently each \
             time"
        );
        for run in self.survey.runs(number) {
            let bytes = image.get(run.clone()).context("a run ends too late")?;
            let start = offset.saturating_add(run.start as u64);
            self.failpoint.hit();
            self.device
                .write(bytes, start)
                .with_context(|| at("write", start))?;
            self.written.fetch_add(run.len() as u64, Ordering::Relaxed);
            self.read_back(bytes, medium, start)?;
        }
        Ok(())
    }

    fn read_back(&self, wanted: &[u8], medium: &mut [u8], start: u64) -> Result<()> {
        let mut start = start;
        for wanted in wanted.chunks(PIECE) {
            let medium = medium.get_mut(..wanted.len());
            self.read_piece_back(wanted, medium.context("a piece has no memory")?, start)?;
            start = start.saturating_add(wanted.len() as u64);
        }
        Ok(())
    }

    fn read_piece_back(&self, wanted: &[u8], medium: &mut [u8], start: u64) -> Result<()> {
        let read = |medium: &mut [u8]| {
            (self.device.drop_cache(start, medium.len()))
                .and_then(|()| self.device.read(medium, start))
                .with_context(|| at("read back", start))
        };
        read(medium)?;
        if medium == wanted {
            return Ok(());
        }
        let first = sha256(medium);
        read(medium)?;
        bail!("{}", difference(start, first == sha256(medium)))
    }
}

/// Describes a block that does not read back as written; `alike`: two reads gave the same.
fn difference(start: u64, alike: bool) -> String {
    match alike {
        false => {
            format!("the medium is failing: byte {start} reads differently each time: replace it")
        }
        true => format!(
            "the root filesystem does not hold what was written to it, from byte {start} on: is \
             its partition \
             write-protected, or has it fewer bytes than it says?"
        ),
    }
}

fn at(action: &str, offset: u64) -> String {
    format!("cannot {action} the root filesystem at byte {offset}")
}

#[cfg(test)]
mod tests;
