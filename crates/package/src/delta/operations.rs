//! What a delta's payload consists of: a header and three zstd frames, and the operations that the
//! first of these holds.

use std::fs::File;
use std::io::{self, BufReader, Read};

use zstd::stream::read::Decoder;

use super::section::Section;

/// First bytes of the payload.
pub const MAGIC: [u8; 8] = *b"dau-dlt1";
/// Bytes before the first frame: the magic, and the stored sizes of the three frames.
pub const HEADER: usize = 32;
/// Largest window of the frames of differences and literals, as a power of two.
pub const MAX_WINDOW_LOG: u32 = 18;
/// Largest window of the frame of operations.
pub const OPERATIONS_WINDOW_LOG: u32 = 17;
/// Most operations in a piece.
pub const MAX_OPERATIONS: usize = 16 << 10;
/// Most parts of 1 MiB of the base that a piece may use, so that work is bounded, too.
pub const MAX_SOURCES: usize = 64;

/// Bytes read from the file at once.
const INPUT: usize = 16 << 10;

/// What an operation makes the next bytes of the target of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Zeros.
    Zeros,
    /// The next bytes of the literals.
    Literal,
    /// Bytes of the base.
    Copy,
    /// The sums (modulo 256) of bytes of the base and the next bytes of the differences.
    Difference,
}

impl Kind {
    fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Zeros,
            1 => Self::Literal,
            2 => Self::Copy,
            _ => Self::Difference,
        }
    }

    /// Returns the two low bits of an operation's first number.
    pub fn bits(self) -> u64 {
        match self {
            Self::Zeros => 0,
            Self::Literal => 1,
            Self::Copy => 2,
            Self::Difference => 3,
        }
    }
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation {
    pub kind: Kind,
    /// Bytes of the target.
    pub len: usize,
    /// Where the base's bytes start, counted over all its images; 0 for the others.
    pub base: u64,
}

/// One of the frames, decompressed as it is read.
pub(super) type Stream<'a> = BufReader<Decoder<'a, BufReader<Section<'a>>>>;

/// The three streams of a delta's payload.
pub(super) struct Streams<'a> {
    pub operations: Stream<'a>,
    pub differences: Stream<'a>,
    pub literals: Stream<'a>,
    /// Where the last copy ended in the base.
    last: u64,
}

impl<'a> Streams<'a> {
    /// Opens the payload at `offset` of `file` with `len` bytes.
    ///
    /// # Errors
    /// `InvalidData` if it is no such payload.
    pub(super) fn open(file: &'a File, offset: u64, len: u64) -> io::Result<Self> {
        let mut header = [0; HEADER];
        Section::new(file, offset, len).read_exact(&mut header)?;
        let (magic, sizes) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(invalid("it does not begin as a delta does"));
        }
        let mut sizes = sizes.chunks_exact(8).map(little_endian);
        let mut next = HEADER as u64;
        let mut frame = |window| {
            let size = sizes.next().unwrap_or_default();
            let end = next.checked_add(size).filter(|end| *end <= len);
            let end = end.ok_or_else(|| invalid("its frames are longer than it"))?;
            let section = Section::new(file, offset.saturating_add(next), size);
            next = end;
            stream(section, window)
        };
        let streams = Self {
            operations: frame(OPERATIONS_WINDOW_LOG)?,
            differences: frame(MAX_WINDOW_LOG)?,
            literals: frame(MAX_WINDOW_LOG)?,
            last: 0,
        };
        match next == len {
            true => Ok(streams),
            false => Err(invalid("its frames do not fill it")),
        }
    }

    /// Reads the SHA-256 of the next piece.
    pub(super) fn digest(&mut self) -> io::Result<[u8; 32]> {
        let mut digest = [0; 32];
        self.operations.read_exact(&mut digest)?;
        Ok(digest)
    }

    /// Reads an operation of at most `room` bytes in a target whose base has `base` bytes.
    pub(super) fn operation(&mut self, room: usize, base: u64) -> io::Result<Operation> {
        let first = self.number()?;
        let kind = Kind::from_bits(first);
        let len = usize::try_from(first >> 2)
            .ok()
            .filter(|len| (1..=room).contains(len))
            .ok_or_else(|| invalid("an operation does not fit its piece"))?;
        let mut start = 0;
        if matches!(kind, Kind::Copy | Kind::Difference) {
            let step = unzigzag(self.number()?);
            let end = |start: u64| start.checked_add(len as u64);
            start = self
                .last
                .checked_add_signed(step)
                .filter(|start| end(*start).is_some_and(|end| end <= base))
                .ok_or_else(|| invalid("an operation reads outside the base"))?;
            self.last = start.saturating_add(len as u64);
        }
        Ok(Operation {
            kind,
            len,
            base: start,
        })
    }

    /// Checks that nothing is left.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let streams = [
            &mut self.operations,
            &mut self.differences,
            &mut self.literals,
        ];
        for stream in streams {
            if stream.read(&mut [0])? != 0 {
                return Err(invalid("it goes on after the target's end"));
            }
            let stored = stream.get_mut().get_mut();
            if stored.read(&mut [0])? != 0 {
                return Err(invalid("a frame ends before its size"));
            }
        }
        Ok(())
    }

    /// Reads a number of at most 64 bits: seven bits in each byte, the low ones first; the high bit
    /// says that another byte follows.
    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.operations.read_exact(&mut byte)?;
            let [byte] = byte;
            let bits = u64::from(byte & 0x7F);
            let shifted = bits << shift;
            if shifted >> shift != bits {
                break;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("a number has more than 64 bits"))
    }
}

fn stream(section: Section<'_>, window: u32) -> io::Result<Stream<'_>> {
    let input = BufReader::with_capacity(INPUT, section);
    let mut decoder = Decoder::with_buffer(input)?.single_frame();
    decoder.window_log_max(window)?;
    Ok(BufReader::with_capacity(INPUT, decoder))
}

/// Encodes a signed number with the sign in the lowest bit, so that small ones stay small.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ (value as i64 & 1).wrapping_neg()
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(super) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
