//! A block device, or a file in its place, accessed without the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{posix_fadvise, OFlag, PosixFadviseAdvice};
use nix::libc::off_t;

/// Alignment of buffers, bytes: more than O_DIRECT demands.
const HUGE_PAGE: usize = 2 << 20;

/// An opened device.
#[derive(Debug)]
pub struct Device {
    file: File,
    direct: bool,
    size: u64,
}

impl Device {
    /// Opens a device or file, to access the medium and not the page cache.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_for(path, true)
    }

    /// Does the same for reading alone.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Self::open_for(path, false)
    }

    fn open_for(path: &Path, writing: bool) -> io::Result<Self> {
        let open = |flags: OFlag| {
            let mut options = OpenOptions::new();
            options.read(true).write(writing).custom_flags(flags.bits());
            options.open(path)
        };
        // Some file systems do not support O_DIRECT.
        let (mut file, direct) = match open(OFlag::O_DIRECT) {
            Ok(file) => (file, true),
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
                (open(OFlag::empty())?, false)
            }
            Err(error) => return Err(error),
        };
        let size = file.seek(SeekFrom::End(0))?;
        let device = Device { file, direct, size };
        device.drop_cache(0, 0)?;
        Ok(device)
    }

    /// Returns a device that ignores all writes and reads as zeros.
    #[cfg(test)]
    pub fn dropping(size: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/zero")?;
        Ok(Device {
            file,
            direct: true,
            size,
        })
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from the medium.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes to the medium.
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes the next [`Device::read`] of this part read the medium.
    pub fn drop_cache(&self, offset: u64, count: usize) -> io::Result<()> {
        if self.direct {
            return Ok(());
        }
        self.file.sync_data()?;
        // With a 32-bit off_t, a part beyond its range becomes the whole file.
        let (offset, count) = match (off_t::try_from(offset), off_t::try_from(count)) {
            (Ok(offset), Ok(count)) => (offset, count),
            _ => (0, 0),
        };
        posix_fadvise(
            self.file.as_fd(),
            offset,
            count,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )?;
        Ok(())
    }

    /// Returns once all written data are durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Memory for O_DIRECT, in huge pages if possible: few long stretches instead of many short ones
/// were seen to make reading three times as fast.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Returns a buffer of `length` zero bytes.
    pub fn new(length: usize) -> Self {
        let mut bytes = vec![0; length.saturating_add(HUGE_PAGE)];
        let start = bytes.as_ptr().align_offset(HUGE_PAGE);
        advise_huge_pages(part(&mut bytes, start, length));
        Buffer {
            bytes,
            start,
            length,
        }
    }

    /// Returns the bytes.
    pub fn get_mut(&mut self) -> &mut [u8] {
        part(&mut self.bytes, self.start, self.length)
    }
}

/// Returns `length` bytes from `start` on, or fewer at the end.
fn part(bytes: &mut [u8], start: usize, length: usize) -> &mut [u8] {
    let rest = bytes.get_mut(start..).unwrap_or_default();
    let length = length.min(rest.len());
    rest.split_at_mut(length).0
}

// madvise(2) takes an address; it changes how our own memory is backed, not what it holds.
#[allow(unsafe_code)]
fn advise_huge_pages(memory: &mut [u8]) {
    use nix::sys::mman::{madvise, MmapAdvise};
    let address = std::ptr::NonNull::from(&mut *memory).cast();
    // SAFETY: the range is borrowed for the whole call, and MADV_HUGEPAGE keeps its content.
    let advised = unsafe { madvise(address, memory.len(), MmapAdvise::MADV_HUGEPAGE) };
    if let Err(errno) = advised {
        log::debug!("no huge pages: {errno}");
    }
}
