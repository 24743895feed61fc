//! A pass over the frames of an image: several threads decompress a frame each and work on it, with
//! the memory of one frame and one piece each.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use dau_package::frames::{Decoder, Frame, FrameError, FRAME_CONTENT};

use super::device::Buffer;

/// Frames processed in parallel: as many as two cores can use.
pub const WORKERS: usize = 2;
/// Bytes read from the medium at once. More is faster, but takes memory.
pub const PIECE: usize = 256 << 10;

/// The stored frames of a payload.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The package.
    pub package: &'a File,
    /// Offset of the payload in it.
    pub offset: u64,
    /// The frames of the payload.
    pub frames: &'a [Frame],
}

/// A pass over the frames `numbers`, with something that the threads use in their order.
#[derive(Debug)]
pub struct Pass<'a, T> {
    stored: Stored<'a>,
    numbers: &'a [usize],
    next: AtomicUsize,
    turn: Mutex<Turn<T>>,
    turned: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Turn<T> {
    /// Place in `numbers`.
    place: usize,
    shared: T,
}

/// A frame, decompressed.
#[derive(Debug)]
pub struct Unpacked<'a> {
    /// Its number.
    pub number: usize,
    /// Its place in `numbers`.
    pub place: usize,
    /// Its first byte in the image.
    pub offset: u64,
    /// Its bytes.
    pub image: &'a [u8],
    /// Memory for a piece of the medium.
    pub medium: &'a mut [u8],
}

/// Makes the other workers stop when dropped.
struct StopOthers<'a, 'b, T>(&'a Pass<'b, T>);

impl<T> Drop for StopOthers<'_, '_, T> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        // A worker that checked before `stopped` was set is waiting by now.
        drop(self.0.turn.lock());
        self.0.turned.notify_all();
    }
}

impl<'a, T: Send> Pass<'a, T> {
    /// Returns a pass over the frames of these numbers.
    pub fn new(stored: Stored<'a>, numbers: &'a [usize], shared: T) -> Self {
        Pass {
            stored,
            numbers,
            next: AtomicUsize::new(0),
            turn: Mutex::new(Turn { place: 0, shared }),
            turned: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Has `work` done for each frame by as many threads, this one included; `broken` makes an error
    /// of a frame that cannot be decompressed.
    ///
    /// # Errors
    /// The first one; the other threads end with the frame that they are at.
    pub fn run<E: From<io::Error> + Send>(
        &self,
        workers: usize,
        broken: impl Fn(usize, FrameError) -> E + Sync,
        work: impl Fn(Unpacked<'_>) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let workers = workers.min(self.numbers.len()).max(1);
        // In one piece, frames first, so that each is in huge pages.
        let mut memory = Buffer::new(workers.saturating_mul(FRAME_CONTENT + PIECE));
        let (images, media) = memory
            .get_mut()
            .split_at_mut(workers.saturating_mul(FRAME_CONTENT));
        let images = images.chunks_mut(FRAME_CONTENT);
        let mut memories = images.zip(media.chunks_mut(PIECE));
        let own = memories.next();
        thread::scope(|scope| {
            let (broken, work) = (&broken, &work);
            let others: Vec<_> = memories
                .map(|(image, medium)| scope.spawn(|| self.work(image, medium, broken, work)))
                .collect();
            let own = match own {
                Some((image, medium)) => self.work(image, medium, broken, work),
                None => Err(io::Error::from(io::ErrorKind::OutOfMemory).into()),
            };
            let others = others.into_iter().map(|thread| {
                let died = |_| Err(io::Error::other("a thread died").into());
                thread.join().unwrap_or_else(died)
            });
            others.fold(own, Result::and)
        })
    }

    fn work<E: From<io::Error>>(
        &self,
        memory: &mut [u8],
        medium: &mut [u8],
        broken: &impl Fn(usize, FrameError) -> E,
        work: &impl Fn(Unpacked<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let stop_others = StopOthers(self);
        let mut decoder = Decoder::new()?;
        loop {
            let place = self.next.fetch_add(1, Ordering::SeqCst);
            let found = self.numbers.get(place).and_then(|number| {
                let frame = self.stored.frames.get(*number)?;
                Some((*number, frame))
            });
            let Some((number, frame)) = found.filter(|_| !self.stopped.load(Ordering::SeqCst))
            else {
                // Running out of frames must not stop the others.
                std::mem::forget(stop_others);
                return Ok(());
            };
            let mut stored = StoredAt {
                file: self.stored.package,
                offset: self.stored.offset.saturating_add(frame.stored_offset),
            };
            let image = decoder
                .decode(&mut stored, frame, memory)
                .map_err(|error| broken(number, error))?;
            work(Unpacked {
                number,
                place,
                offset: frame.image_offset,
                image,
                medium,
            })?;
        }
    }

    /// Calls `act` when it is the turn of the frame at `place`. Returns `None` if another thread has
    /// failed.
    pub fn in_turn<R>(&self, place: usize, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waits =
            |turn: &mut Turn<T>| turn.place != place && !self.stopped.load(Ordering::SeqCst);
        let mut turn = self
            .turned
            .wait_while(turn, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let result = act(&mut turn.shared);
        turn.place = turn.place.saturating_add(1);
        self.turned.notify_all();
        Some(result)
    }

    /// Returns what the threads used in their order.
    pub fn into_shared(self) -> T {
        let turn = self.turn.into_inner();
        turn.unwrap_or_else(PoisonError::into_inner).shared
    }
}

/// A reader of a file from `offset` on; threads share the file.
struct StoredAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for StoredAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}
