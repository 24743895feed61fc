//! Payloads of deltas.

use std::path::Path;

use anyhow::Result;
use dau_package::delta::PIECE;
use dau_rig::hostile;
use openssl::sha::sha256;

use crate::seed;

const ZEROS: u64 = 0;
const LITERAL: u64 = 1;
const COPY: u64 = 2;
const DIFFERENCE: u64 = 3;

/// The three streams of a payload, not compressed.
#[derive(Default)]
struct Streams {
    operations: Vec<u8>,
    differences: Vec<u8>,
    literals: Vec<u8>,
    /// Where the last copy ended in the base.
    last: u64,
}

impl Streams {
    fn number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.operations.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.operations.push(number as u8);
    }

    fn operation(&mut self, kind: u64, len: usize) {
        self.number((len as u64) << 2 | kind);
    }

    /// Copies from the base, at or after the end of the last copy.
    fn copy(&mut self, kind: u64, start: u64, len: usize) {
        self.operation(kind, len);
        self.number((start - self.last) << 1);
        self.last = start + len as u64;
    }

    fn payload(&self) -> Result<Vec<u8>> {
        let mut bytes = b"dau-dlt1".to_vec();
        let mut frames = Vec::new();
        for stream in [&self.operations, &self.differences, &self.literals] {
            let mut compressor = zstd::bulk::Compressor::new(19)?;
            compressor.window_log(17)?;
            let frame = compressor.compress(stream)?;
            bytes.extend_from_slice(&(frame.len() as u64).to_le_bytes());
            frames.extend_from_slice(&frame);
        }
        bytes.extend_from_slice(&frames);
        Ok(bytes)
    }
}

/// Makes the seeds from `full`, the package that is base and target.
pub fn seeds(full: &Path) -> Result<()> {
    let kernel = hostile::payload(full, "kernel.itb")?;
    let rootfs = zstd::decode_all(hostile::payload(full, "rootfs.img.zst")?.as_slice())?;
    let images = [kernel, rootfs, hostile::payload(full, "recovery.itb")?];
    // Images begin at whole pieces of the base.
    let mut start = 0;
    let mut pieces = Vec::new();
    for image in &images {
        for (at, piece) in image.chunks(PIECE).enumerate() {
            pieces.push(((start + at * PIECE) as u64, piece));
        }
        start = (start + image.len()).next_multiple_of(PIECE);
    }

    let mut copies = Streams::default();
    let mut all_kinds = Streams::default();
    for (start, piece) in &pieces {
        let digest = sha256(piece);
        copies.operations.extend_from_slice(&digest);
        copies.copy(COPY, *start, piece.len());
        all_kinds.operations.extend_from_slice(&digest);
        let (literal, rest) = piece.split_at(piece.len() / 4);
        all_kinds.operation(LITERAL, literal.len());
        all_kinds.literals.extend_from_slice(literal);
        let at = start + literal.len() as u64;
        let (same, rest) = rest.split_at(rest.len() / 3);
        all_kinds.copy(DIFFERENCE, at, same.len());
        all_kinds
            .differences
            .resize(all_kinds.differences.len() + same.len(), 0);
        match rest.iter().all(|byte| *byte == 0) {
            true => all_kinds.operation(ZEROS, rest.len()),
            false => all_kinds.copy(COPY, at + same.len() as u64, rest.len()),
        }
    }
    seed("delta", "copies", copies.payload()?)?;
    seed("delta", "all-kinds", all_kinds.payload()?)?;
    let mut outside = Streams::default();
    outside.operations.extend_from_slice(&sha256(pieces[0].1));
    outside.copy(COPY, 1 << 40, pieces[0].1.len());
    seed("delta", "attack-outside-the-base", outside.payload()?)?;
    let mut slow = Streams::default();
    for (start, piece) in &pieces[..2] {
        slow.operations.extend_from_slice(&sha256(piece));
        if *start == 0 {
            slow.copy(COPY, 0, piece.len());
        }
    }
    (0..20_000).for_each(|_| slow.operation(ZEROS, 1));
    seed("delta", "attack-operations-of-a-byte", slow.payload()?)
}
