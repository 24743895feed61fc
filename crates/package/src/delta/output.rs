//! The package that is rebuilt, written piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use md5::{Digest, Md5};
use openssl::sha::sha256;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{compress_bound, find_frame_compressed_size, CParameter};

use dau_model::hex;

use super::section::Section;
use super::PIECE;
use crate::blocks::{padded, BLOCK, BLOCKING, END};
use crate::container::header;
use crate::frames::{Decoder, Frame, SeekTable};
use crate::{member, Manifest, Payload};

/// zstd's level.
const LEVEL: i32 = 3;
/// Its tables, as powers of two: a quarter of what zstd would take.
const HASH_LOG: u32 = 15;
const CHAIN_LOG: u32 = 14;
/// Bytes read at once for MD5.
const CHUNK: usize = 64 << 10;

/// Writes payloads behind a head, and reads what is there already.
pub(super) struct Output<'a> {
    file: &'a File,
    /// Offset of `rebuilt.tar`.
    system_offset: u64,
    /// Where the next piece goes.
    offset: u64,
    mtime: u64,
    /// Headers that are written at the end, when sizes are known.
    headers: Vec<(u64, &'static str, u64)>,
    /// Of the current payload: its offset, and its frames where it has any.
    started: u64,
    table: SeekTable,
    compressor: Compressor<'static>,
    frame: Vec<u8>,
}

impl<'a> Output<'a> {
    /// Starts behind a head of `head` bytes.
    pub(super) fn new(file: &'a File, head: u64, manifest: &Manifest) -> io::Result<Self> {
        let created = manifest.created_unix().map_err(io::Error::other)?;
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
        compressor.set_parameter(CParameter::ChainLog(CHAIN_LOG))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        let system_offset = head.saturating_add(BLOCK);
        Ok(Self {
            file,
            system_offset,
            offset: system_offset,
            mtime: u64::try_from(created).unwrap_or_default(),
            headers: Vec::new(),
            started: system_offset,
            table: SeekTable::new(),
            compressor,
            frame: Vec::with_capacity(compress_bound(PIECE)),
        })
    }

    /// Starts the next payload.
    pub(super) fn begin(&mut self) {
        self.offset = self.offset.saturating_add(BLOCK);
        self.started = self.offset;
        self.table = SeekTable::new();
    }

    /// Goes past the next piece if the file holds it: `piece` is memory of its size.
    pub(super) fn find(
        &mut self,
        payload: &Payload,
        piece: &mut [u8],
        digest: &[u8; 32],
        decoder: &mut Decoder,
    ) -> io::Result<bool> {
        let stored = match payload.payload_type.is_rootfs() {
            false => match self.file.read_exact_at(piece, self.offset) {
                Ok(()) => piece.len(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            },
            true => match self.find_frame(piece, decoder)? {
                Some(stored) => stored,
                None => return Ok(false),
            },
        };
        if sha256(piece) != *digest {
            return Ok(false);
        }
        self.passed(payload, stored, piece.len());
        Ok(true)
    }

    /// Decompresses the frame at the current offset; `None` if there is no such frame.
    fn find_frame(&mut self, piece: &mut [u8], decoder: &mut Decoder) -> io::Result<Option<usize>> {
        let most = compress_bound(PIECE) as u64;
        self.frame.clear();
        Section::new(self.file, self.offset, most).read_to_end(&mut self.frame)?;
        let Ok(stored) = find_frame_compressed_size(&self.frame) else {
            return Ok(None);
        };
        let frame = Frame {
            image_offset: 0,
            content: piece.len(),
            stored_offset: 0,
            stored,
        };
        let found = decoder.decode(&mut self.frame.as_slice(), &frame, piece);
        Ok(found.is_ok().then_some(stored))
    }

    /// Cuts off what follows the pieces so far.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.offset)
    }

    /// Writes the next piece.
    pub(super) fn write(&mut self, payload: &Payload, piece: &[u8]) -> io::Result<()> {
        let stored = match payload.payload_type.is_rootfs() {
            false => {
                self.file.write_all_at(piece, self.offset)?;
                piece.len()
            }
            true => {
                self.frame.clear();
                self.compressor.compress_to_buffer(piece, &mut self.frame)?;
                self.file.write_all_at(&self.frame, self.offset)?;
                self.frame.len()
            }
        };
        self.passed(payload, stored, piece.len());
        Ok(())
    }

    fn passed(&mut self, payload: &Payload, stored: usize, content: usize) {
        self.offset = self.offset.saturating_add(stored as u64);
        if payload.payload_type.is_rootfs() {
            self.table.push(stored, content);
        }
    }

    /// Ends a payload.
    pub(super) fn end(&mut self, payload: &Payload) -> io::Result<()> {
        if payload.payload_type.is_rootfs() {
            let table = self.table.to_bytes();
            self.file.write_all_at(&table, self.offset)?;
            self.offset = self.offset.saturating_add(table.len() as u64);
        }
        let size = self.offset.saturating_sub(self.started);
        let place = self.started.saturating_sub(BLOCK);
        let name = payload.payload_type.member();
        self.headers.push((place, name, size));
        let next = self.started.saturating_add(padded(size));
        // Whatever an earlier try left there.
        let zeros = [0; BLOCK as usize];
        let padding = next.saturating_sub(self.offset) as usize;
        let padding = zeros.get(..padding).unwrap_or_default();
        self.file.write_all_at(padding, self.offset)?;
        self.offset = next;
        Ok(())
    }

    /// Writes the head, the headers, the line with MD5, and the end.
    pub(super) fn finish(mut self, head: &[u8]) -> io::Result<()> {
        let end = self.offset.saturating_add(END);
        let size = end.saturating_sub(self.system_offset);
        let system = self.system_offset.saturating_sub(BLOCK);
        self.headers.push((system, member::REBUILT, size));
        // What lies behind the last one is cut off here, and reads as zeros then.
        self.file.set_len(self.offset)?;
        self.file.set_len(end)?;
        self.file.write_all_at(head, 0)?;
        for (offset, name, size) in &self.headers {
            self.write_header(*offset, name, *size)?;
        }
        let line = format!("{}  {}\n", self.md5(size)?, member::REBUILT);
        self.write_header(end, member::REBUILT_MD5, line.len() as u64)?;
        let content = end.saturating_add(BLOCK);
        self.file.write_all_at(line.as_bytes(), content)?;
        let last = content
            .saturating_add(padded(line.len() as u64))
            .saturating_add(END);
        self.file.set_len(last.next_multiple_of(BLOCKING))
    }

    fn write_header(&self, offset: u64, name: &str, size: u64) -> io::Result<()> {
        let header = header(name, size, self.mtime)?;
        self.file.write_all_at(header.as_bytes(), offset)
    }

    fn md5(&self, size: u64) -> io::Result<String> {
        let mut section = Section::new(self.file, self.system_offset, size);
        let mut digest = Md5::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match section.read(&mut chunk) {
                Ok(0) => return Ok(hex::encode(digest.finalize())),
                Ok(count) => digest.update(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
