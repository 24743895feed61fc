//! Writes operations and streams for the matches that were found.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use openssl::sha::sha256;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::{CParameter, Strategy};

use super::images::Images;
use super::matches::Match;
use crate::delta::{
    zigzag, Kind, HEADER, MAGIC, MAX_OPERATIONS, MAX_SOURCES, MAX_WINDOW_LOG,
    OPERATIONS_WINDOW_LOG, PIECE, PIECE_BYTES,
};
use crate::make::{MakeError, Progress, Step};

/// Shortest run of zeros, or of bytes equal to the base's, that is an operation of its own: shorter
/// ones cost less in the streams, where they are zeros too.
const SHORTEST_RUN: usize = 256;

/// The streams before compression.
#[derive(Default)]
struct Streams {
    operations: Vec<u8>,
    differences: Vec<u8>,
    literals: Vec<u8>,
    last: u64,
}

/// Returns the bytes of `images.delta`.
pub(super) fn encode(
    base: &Images,
    target: &Images,
    matches: &[Match],
    progress: Progress<'_>,
) -> Result<Vec<u8>, MakeError> {
    let mut streams = Streams::default();
    let mut piece = vec![0; PIECE];
    for image in &target.images {
        let end = image.start.saturating_add(image.size);
        for offset in (image.start..end).step_by(PIECE) {
            progress(Step::Compress, offset, target.size);
            let len = end.saturating_sub(offset).min(PIECE_BYTES) as usize;
            let piece = piece.get_mut(..len).unwrap_or_default();
            target.read(offset, piece)?;
            let parts = cut(matches, offset, len);
            streams.piece(piece, &limit(parts), base)?;
        }
    }
    let failed = MakeError::io(Path::new("zstd"));
    streams.compress().map_err(failed)
}

/// A match within a piece: offset in it, place in the base, length.
type Part = (usize, u64, usize);

/// Returns the parts of matches within a piece.
fn cut(matches: &[Match], offset: u64, len: usize) -> Vec<Part> {
    let end = offset.saturating_add(len as u64);
    let first = matches.partition_point(|found| found.target.saturating_add(found.len) <= offset);
    let within = matches.get(first..).unwrap_or_default().iter();
    within
        .take_while(|found| found.target < end)
        .map(|found| {
            let from = found.target.max(offset);
            let to = found.target.saturating_add(found.len).min(end);
            let base = found.base.saturating_add(from.saturating_sub(found.target));
            (
                from.saturating_sub(offset) as usize,
                base,
                to.saturating_sub(from) as usize,
            )
        })
        .collect()
}

/// Leaves out parts of the least used megabytes of the base where a piece uses more than it may.
fn limit(mut parts: Vec<Part>) -> Vec<Part> {
    let units = |(_, base, len): &Part| {
        let last = base.saturating_add(len.saturating_sub(1) as u64);
        base / PIECE_BYTES..=last / PIECE_BYTES
    };
    let mut used: BTreeMap<u64, usize> = BTreeMap::new();
    for part in &parts {
        for unit in units(part) {
            let bytes = used.entry(unit).or_default();
            *bytes = bytes.saturating_add(part.2);
        }
    }
    let mut most: Vec<_> = used.into_iter().collect();
    most.sort_by_key(|(unit, bytes)| (std::cmp::Reverse(*bytes), *unit));
    most.truncate(MAX_SOURCES);
    let kept: BTreeSet<u64> = most.into_iter().map(|(unit, _)| unit).collect();
    parts.retain(|part| units(part).all(|unit| kept.contains(&unit)));
    // Long runs cut a piece into at most 2 * PIECE / SHORTEST_RUN operations, each part into two more.
    let most = MAX_OPERATIONS / 2 - PIECE / SHORTEST_RUN - 8;
    if parts.len() > most {
        parts.sort_by_key(|(target, _, len)| (std::cmp::Reverse(*len), *target));
        parts.truncate(most);
        parts.sort();
    }
    parts
}

impl Streams {
    fn piece(&mut self, piece: &[u8], parts: &[Part], base: &Images) -> Result<(), MakeError> {
        self.operations.extend_from_slice(&sha256(piece));
        let mut at = 0;
        for (from, place, len) in parts {
            self.gap(piece.get(at..*from).unwrap_or_default());
            let end = from.saturating_add(*len);
            let bytes = piece.get(*from..end).unwrap_or_default();
            self.similar(bytes, &base.bytes(*place, *len)?, *place);
            at = end;
        }
        self.gap(piece.get(at..).unwrap_or_default());
        Ok(())
    }

    /// Bytes that the base does not have.
    fn gap(&mut self, bytes: &[u8]) {
        for (run, zeros) in runs(bytes, |byte| *byte == 0) {
            match zeros {
                true => self.operation(Kind::Zeros, run.len(), None),
                false => {
                    self.operation(Kind::Literal, run.len(), None);
                    self.literals.extend_from_slice(run);
                }
            }
        }
    }

    /// Bytes that are equal or similar to the base's.
    fn similar(&mut self, bytes: &[u8], base: &[u8], place: u64) {
        let difference: Vec<u8> = bytes
            .iter()
            .zip(base)
            .map(|(byte, base)| byte.wrapping_sub(*base))
            .collect();
        let mut place = place;
        for (run, equal) in runs(&difference, |byte| *byte == 0) {
            match equal {
                true => self.operation(Kind::Copy, run.len(), Some(place)),
                false => {
                    self.operation(Kind::Difference, run.len(), Some(place));
                    self.differences.extend_from_slice(run);
                }
            }
            place = place.saturating_add(run.len() as u64);
        }
    }

    fn operation(&mut self, kind: Kind, len: usize, place: Option<u64>) {
        self.number((len as u64) << 2 | kind.bits());
        if let Some(place) = place {
            self.number(zigzag(place.wrapping_sub(self.last) as i64));
            self.last = place.saturating_add(len as u64);
        }
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7F {
            self.operations.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.operations.push(value as u8);
    }

    fn compress(&self) -> std::io::Result<Vec<u8>> {
        let frames = [
            compress(&self.operations, OPERATIONS_WINDOW_LOG)?,
            compress(&self.differences, MAX_WINDOW_LOG)?,
            compress(&self.literals, MAX_WINDOW_LOG)?,
        ];
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&MAGIC);
        for frame in &frames {
            bytes.extend_from_slice(&(frame.len() as u64).to_le_bytes());
        }
        for frame in &frames {
            bytes.extend_from_slice(frame);
        }
        Ok(bytes)
    }
}

fn compress(bytes: &[u8], window_log: u32) -> std::io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new(), 19)?;
    encoder.set_parameter(CParameter::WindowLog(window_log))?;
    encoder.set_parameter(CParameter::Strategy(Strategy::ZSTD_btultra2))?;
    encoder.include_checksum(false)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Cuts `bytes` at long runs of those that `matches` says; tells which they are.
fn runs(bytes: &[u8], matches: impl Fn(&u8) -> bool) -> Vec<(&[u8], bool)> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let run = rest.iter().take_while(|byte| matches(byte)).count();
        let end = at.saturating_add(run);
        let whole = at == start && end == bytes.len();
        if run >= SHORTEST_RUN || (run > 0 && whole) {
            if start < at {
                found.push((part(start, at), false));
            }
            found.push((part(at, end), true));
            start = end;
        }
        at = end.max(at.saturating_add(1));
    }
    if start < bytes.len() {
        found.push((part(start, bytes.len()), false));
    }
    found
}
