//! A block device, or a file standing for one, read and written past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{posix_fadvise, OFlag, PosixFadviseAdvice};
use nix::libc::off_t;

/// Size of the pages that buffers are aligned to: more than O_DIRECT asks for.
const HUGE_PAGE: usize = 2 << 20;

/// A device opened for reading and writing.
#[derive(Debug)]
pub struct Device {
    file: File,
    direct: bool,
    size: u64,
}

impl Device {
    /// Opens a device or file; whoever opens it sees and changes the medium, not the page cache.
    pub fn open(path: &Path) -> io::Result<Self> {
        let open = |flags: OFlag| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(flags.bits());
            options.open(path)
        };
        // Some file systems that a file may stand on know no O_DIRECT.
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

    /// Bytes that fit.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads what stands on the medium.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes to the medium.
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes the next [`Device::read`] of this part come from the medium.
    pub fn drop_cache(&self, offset: u64, count: usize) -> io::Result<()> {
        if self.direct {
            return Ok(());
        }
        self.file.sync_data()?;
        // Where off_t has 32 bits, a part that lies beyond them is all of the file.
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

    /// Returns when all that was written is on the medium for good.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Memory that O_DIRECT takes, in huge pages where the kernel has them: a device is given few long stretches in place of
/// many short ones, which was seen to make reading three times as fast.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// `length` zero bytes.
    pub fn new(length: usize) -> Self {
        let mut bytes = vec![0; length + HUGE_PAGE];
        let start = bytes.as_ptr().align_offset(HUGE_PAGE);
        advise_huge_pages(&mut bytes[start..start + length]);
        Buffer {
            bytes,
            start,
            length,
        }
    }

    /// The bytes.
    pub fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

#[allow(unsafe_code)] // madvise(2) takes an address; it changes how our own memory is backed, not what it holds.
fn advise_huge_pages(memory: &mut [u8]) {
    use nix::sys::mman::{madvise, MmapAdvise};
    let address = std::ptr::NonNull::from(&mut *memory).cast();
    // SAFETY: the range is borrowed for the whole call, and MADV_HUGEPAGE keeps its content.
    let advised = unsafe { madvise(address, memory.len(), MmapAdvise::MADV_HUGEPAGE) };
    if let Err(errno) = advised {
        log::debug!("no huge pages: {errno}");
    }
}
