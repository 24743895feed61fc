//! Makes a delta's target of its base.

use std::fs::File;
use std::io::{self, Read};

use openssl::sha::sha256;
use thiserror::Error;

use dau_model::Word;

use super::base::Base;
use super::operations::{invalid, Kind, Streams, MAX_OPERATIONS, MAX_SOURCES};
use super::output::Output;
use super::verify::Delta;
use super::{PIECE, PIECE_BYTES};
use crate::Manifest;

/// A reason why a package cannot be rebuilt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// A file cannot be read or written, or the caller stopped the rebuild.
    #[error("the package cannot be rebuilt: {0}")]
    Io(#[from] io::Error),
    /// The base is another package, or is damaged.
    #[error("the delta cannot be used with the package that is kept: {0}")]
    Base(String),
    /// The delta makes no sense, or makes something else than it says.
    #[error("the delta does not make its target: {0}")]
    Mismatch(String),
}

impl RebuildError {
    /// Returns a stable word for results, counters and logs.
    pub fn word(&self) -> Word {
        match self {
            Self::Io(_) => Word::Io,
            Self::Base(_) => Word::DeltaBase,
            Self::Mismatch(_) => Word::DeltaMismatch,
        }
    }

    /// Tells whether delta or base are at fault. If not, a retry makes sense.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

/// A range of the base that a piece uses.
#[derive(Debug, Clone, Copy)]
struct Source {
    base: u64,
    /// Offset in the piece.
    target: u32,
    len: u32,
    /// Whether it is added to what is there.
    added: bool,
}

/// A package that is rebuilt, piece by piece.
pub struct Rebuild<'a> {
    target: &'a Manifest,
    /// The bytes of `target.head`.
    head: &'a [u8],
    base: Base<'a>,
    streams: Streams<'a>,
    output: Output<'a>,
    /// Whether all pieces so far were there already.
    resuming: bool,
    piece: Vec<u8>,
    sources: Vec<Source>,
    /// Number of the current payload, and bytes of its image that are done.
    payload: usize,
    within: u64,
    done: u64,
}

impl std::fmt::Debug for Rebuild<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<'a> Rebuild<'a> {
    /// Starts to make the target of `delta` in `output`, a file that is open for reading and
    /// writing. `base` is a package in either form; what is read from it is compared with the
    /// delta's digests, so it need not be verified again. Whole pieces that `output` holds from
    /// an earlier try are kept, everything else in it is cut off.
    pub fn new(delta: &'a Delta, base: &'a File, output: &'a File) -> Result<Self, RebuildError> {
        let payload = &delta.payload;
        Self::of_parts(
            (&delta.file, payload.offset, payload.len),
            delta.base(),
            (&delta.target().manifest, &delta.target_bytes),
            base,
            output,
        )
    }

    /// Does the same from a file with offset and length of `images.delta`, the SHA-256 of the base's
    /// manifest, and the target's manifest and head.
    pub(crate) fn of_parts(
        (file, offset, len): (&'a File, u64, u64),
        base_sha256: &str,
        (target, head): (&'a Manifest, &'a [u8]),
        base: &'a File,
        output: &'a File,
    ) -> Result<Self, RebuildError> {
        let base = Base::open(base, base_sha256)?;
        let streams = Streams::open(file, offset, len).map_err(broken)?;
        let mut output = Output::new(output, head.len() as u64, target)?;
        output.begin();
        Ok(Self {
            target,
            head,
            base,
            streams,
            output,
            resuming: true,
            piece: vec![0; PIECE],
            sources: Vec::new(),
            payload: 0,
            within: 0,
            done: 0,
        })
    }

    /// Does the same with a payload that nobody signed, in a file with its offset and length; also
    /// needs the SHA-256 of the base's manifest, and the target's manifest and head.
    #[cfg(feature = "testing")]
    pub fn unsigned(
        payload: (&'a File, u64, u64),
        base_sha256: &str,
        target: (&'a Manifest, &'a [u8]),
        base: &'a File,
        output: &'a File,
    ) -> Result<Self, RebuildError> {
        Self::of_parts(payload, base_sha256, target, base, output)
    }

    /// Returns the bytes of image that are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns the bytes of all images.
    pub fn total(&self) -> u64 {
        self.target.image_size()
    }

    /// Makes the next piece, at most 1 MiB of image; false: there was none left. `pause` is called
    /// between parts of the work; an error from it ends the step, after which the rebuild can only be
    /// dropped.
    ///
    /// # Errors
    /// See [`RebuildError`]. The pieces so far stay in the file.
    pub fn step(
        &mut self,
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<bool, RebuildError> {
        let payloads = &self.target.payloads;
        let Some(payload) = payloads.get(self.payload) else {
            return Ok(false);
        };
        let left = payload.image_size.saturating_sub(self.within);
        let len = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = std::mem::take(&mut self.piece);
        let memory = piece.get_mut(..len).unwrap_or_default();
        let digest = self.streams.digest().map_err(broken)?;
        if self.resuming {
            self.resuming = self
                .output
                .find(payload, memory, &digest, &mut self.base.decoder)?;
            if !self.resuming {
                self.output.cut()?;
            }
        }
        // What is there already is not made again, but the streams go on.
        self.read_operations(memory)?;
        if !self.resuming {
            self.apply(memory, pause)?;
            if sha256(memory) != digest {
                let text = format!("the piece at byte {} has another digest", self.done);
                return Err(RebuildError::Mismatch(text));
            }
            self.output.write(payload, memory)?;
        }
        pause()?;
        self.piece = piece;
        self.within = self.within.saturating_add(len as u64);
        self.done = self.done.saturating_add(len as u64);
        if self.within >= payload.image_size {
            self.output.end(payload)?;
            self.payload = self.payload.saturating_add(1);
            self.within = 0;
            if self.payload < payloads.len() {
                self.output.begin();
            }
        }
        Ok(true)
    }

    /// Completes the package after the last piece.
    ///
    /// # Errors
    /// See [`RebuildError`]; [`io::ErrorKind::InvalidInput`] if pieces are missing.
    pub fn finish(mut self) -> Result<(), RebuildError> {
        if self.done < self.total() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        self.streams.end().map_err(broken)?;
        Ok(self.output.finish(self.head)?)
    }

    /// Reads the operations of a piece, and the bytes that come with the delta into it.
    fn read_operations(&mut self, piece: &mut [u8]) -> Result<(), RebuildError> {
        self.sources.clear();
        let base = self.base.size();
        let mut count = 0_usize;
        let mut target = 0;
        while target < piece.len() {
            count = count.saturating_add(1);
            if count > MAX_OPERATIONS {
                return Err(broken(invalid("a piece has too many operations")));
            }
            let room = piece.len().saturating_sub(target);
            let found = self.streams.operation(room, base).map_err(broken)?;
            let end = target.saturating_add(found.len);
            let bytes = piece.get_mut(target..end).unwrap_or_default();
            match found.kind {
                Kind::Zeros => bytes.fill(0),
                Kind::Literal => self.streams.literals.read_exact(bytes).map_err(broken)?,
                Kind::Difference => self.streams.differences.read_exact(bytes).map_err(broken)?,
                Kind::Copy => {}
            }
            if matches!(found.kind, Kind::Copy | Kind::Difference) {
                let added = found.kind == Kind::Difference;
                self.push(found.base, target, found.len, added);
            }
            target = end;
        }
        self.sources.sort_unstable_by_key(|source| source.base);
        let unit = |source: &Source| source.base / PIECE_BYTES;
        let mut units: Vec<u64> = self.sources.iter().map(unit).collect();
        units.dedup();
        match units.len() > MAX_SOURCES {
            true => Err(broken(invalid("a piece uses too much of the base"))),
            false => Ok(()),
        }
    }

    /// Notes a range of the base, cut at whole [`PIECE`]s, so that ranges in the base's order never
    /// go back to a frame.
    fn push(&mut self, base: u64, target: usize, len: usize, added: bool) {
        let to_boundary = PIECE_BYTES.saturating_sub(base % PIECE_BYTES);
        let first = usize::try_from(to_boundary).map_or(len, |most| most.min(len));
        let rest = len.saturating_sub(first);
        let mut push = |base, target: usize, len: usize| {
            self.sources.push(Source {
                base,
                target: target as u32,
                len: len as u32,
                added,
            });
        };
        push(base, target, first);
        if rest > 0 {
            push(
                base.saturating_add(first as u64),
                target.saturating_add(first),
                rest,
            );
        }
    }

    fn apply(
        &mut self,
        piece: &mut [u8],
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(), RebuildError> {
        let mut unit = None;
        for source in &self.sources {
            let this = source.base / PIECE_BYTES;
            if unit.replace(this) != Some(this) {
                pause()?;
            }
            let mut rest = piece
                .get_mut(source.target as usize..)
                .and_then(|rest| rest.get_mut(..source.len as usize))
                .unwrap_or_default();
            self.base
                .read(source.base, source.len as usize, &mut |bytes| {
                    let (part, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
                    match source.added {
                        true => add(part, bytes),
                        false => part.copy_from_slice(bytes),
                    }
                    rest = after;
                })?;
        }
        Ok(())
    }
}

fn add(bytes: &mut [u8], base: &[u8]) {
    for (byte, base) in bytes.iter_mut().zip(base) {
        *byte = byte.wrapping_add(*base);
    }
}

/// A delta that ends too early or makes no sense, as opposed to a file that cannot be read.
fn broken(error: io::Error) -> RebuildError {
    use io::ErrorKind::{InvalidData, Other, UnexpectedEof};
    match error.kind() {
        // zstd's errors are of the kind Other.
        InvalidData | Other | UnexpectedEof => RebuildError::Mismatch(error.to_string()),
        _ => RebuildError::Io(error),
    }
}
