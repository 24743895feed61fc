//! Compresses an image into frames in parallel.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::thread;

use openssl::sha::Sha256;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use dau_model::hex;

use crate::frames::{SeekTable, FRAME_CONTENT, MAX_FRAME_STORED};

/// The next levels win a few per mille for twice the time, measured on a 256 MiB image of Debian
/// files.
pub const DEFAULT_LEVEL: i32 = 9;
/// Highest level within the memory bound of [`compress`].
pub const MAX_LEVEL: i32 = 19;
/// From this level on zstd's own tables would take up to 50 MiB per thread, to win a per mille on
/// frames of 4 MiB.
const FIRST_CAPPED_LEVEL: i32 = 9;
/// Size of the tables from that level on, in powers of two.
const CAPPED_HASH_LOG: u32 = 20;
const CAPPED_CHAIN_LOG: u32 = 21;

/// Settings for compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// zstd's level, 1 to [`MAX_LEVEL`].
    pub level: i32,
    /// Number of threads; each takes about 20 MiB of memory.
    pub threads: usize,
}

impl Default for Compression {
    /// Returns the default level, and as many threads as there are processors, within 64 MiB of
    /// memory.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            level: DEFAULT_LEVEL,
            threads: processors.min(2),
        }
    }
}

/// The result of [`compress`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// Size of the image, bytes.
    pub image_size: u64,
    /// SHA-256 of the image, lower-case hex.
    pub image_sha256: String,
    /// Number of bytes written.
    pub size: u64,
    /// SHA-256 of the written bytes, lower-case hex.
    pub sha256: String,
}

/// Reads an image to its end and writes it as described in [`crate::frames`]. `progress` gets the
/// bytes of image done. The output does not depend on the number of threads.
pub fn compress(
    mut image: impl Read,
    output: &mut impl Write,
    compression: Compression,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Compressed> {
    let mut writer = FrameWriter::new(output);
    let mut image_sha256 = Sha256::new();
    let threads = compression.threads.max(1);
    let (jobs, queue) = channel();
    let queue = &Mutex::new(queue);
    thread::scope(|scope| {
        // Dropping it at the end of this closure, on any outcome, ends the threads.
        let jobs = jobs;
        for _ in 0..threads {
            let mut compressor = compressor(compression.level)?;
            thread::Builder::new()
                .name("compress".into())
                .spawn_scoped(scope, move || run_jobs(queue, &mut compressor))?;
        }
        // Results are awaited in the image's order. One piece more than threads keeps all of them
        // busy.
        let mut pending = VecDeque::with_capacity(threads.saturating_add(1));
        loop {
            let piece = read_piece(&mut image)?;
            let last = piece.len() < FRAME_CONTENT;
            if !piece.is_empty() {
                image_sha256.update(&piece);
                let (result, frame) = channel();
                let content = piece.len();
                jobs.send(Job { piece, result })
                    .map_err(|_| io::Error::other("the compressing threads ended"))?;
                pending.push_back((content, frame));
            }
            while pending.len() > threads || (last && !pending.is_empty()) {
                let Some((content, frame)) = pending.pop_front() else {
                    break;
                };
                let frame = frame.recv().map_err(io::Error::other)??;
                writer.write_frame(&frame, content)?;
                progress(writer.image_size);
            }
            if last {
                return Ok::<_, io::Error>(());
            }
        }
    })?;
    writer.finish(&hex::encode(image_sha256.finish()))
}

/// A piece of image, and the receiver of its frame.
struct Job {
    piece: Vec<u8>,
    result: Sender<io::Result<Vec<u8>>>,
}

fn run_jobs(queue: &Mutex<Receiver<Job>>, compressor: &mut Compressor<'_>) {
    loop {
        // The lock is held while waiting: its holder takes the next job.
        let job = match queue.lock().map(|queue| queue.recv()) {
            Ok(Ok(job)) => job,
            _ => return,
        };
        let mut frame = compressor.compress(&job.piece);
        if let Ok(frame) = &mut frame {
            frame.shrink_to_fit();
        }
        drop(job.piece);
        // compress() has failed and waits no more.
        if job.result.send(frame).is_err() {
            return;
        }
    }
}

fn compressor(level: i32) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    if level >= FIRST_CAPPED_LEVEL {
        compressor.set_parameter(CParameter::HashLog(CAPPED_HASH_LOG))?;
        compressor.set_parameter(CParameter::ChainLog(CAPPED_CHAIN_LOG))?;
    }
    // SHA-256 covers stored and decompressed data; readers need the decompressed size.
    compressor.include_checksum(false)?;
    compressor.include_contentsize(true)?;
    Ok(compressor)
}

/// Reads a frame's content, which is shorter only at the end of the image.
fn read_piece(image: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(FRAME_CONTENT);
    image
        .by_ref()
        .take(FRAME_CONTENT as u64)
        .read_to_end(&mut piece)?;
    Ok(piece)
}

/// Writes frames and their seek table, computing the digest.
struct FrameWriter<'a, W> {
    output: &'a mut W,
    table: SeekTable,
    sha256: Sha256,
    size: u64,
    image_size: u64,
}

impl<'a, W: Write> FrameWriter<'a, W> {
    fn new(output: &'a mut W) -> Self {
        Self {
            output,
            table: SeekTable::new(),
            sha256: Sha256::new(),
            size: 0,
            image_size: 0,
        }
    }

    fn write_frame(&mut self, frame: &[u8], content: usize) -> io::Result<()> {
        debug_assert!(frame.len() <= MAX_FRAME_STORED);
        self.table.push(frame.len(), content);
        self.image_size = self.image_size.saturating_add(content as u64);
        self.write(frame)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha256.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.output.write_all(bytes)
    }

    fn finish(mut self, image_sha256: &str) -> io::Result<Compressed> {
        let table = self.table.to_bytes();
        self.write(&table)?;
        Ok(Compressed {
            image_size: self.image_size,
            image_sha256: image_sha256.to_owned(),
            size: self.size,
            sha256: hex::encode(self.sha256.finish()),
        })
    }
}
