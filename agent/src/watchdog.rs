//! The watchdog, where there is one: it restarts a terminal whose agent or kernel hangs. On trial
//! such a restart uses up a try, so that a new OS whose agent hangs is taken back.
//!
//! Source: the kernel's Documentation/watchdog/watchdog-api.rst.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::settings::Watchdog as Settings;

/// Tries to open a device that another holds; `begin-trial` does, for an instant at a time.
const OPENINGS: u32 = 10;
const BETWEEN_OPENINGS: Duration = Duration::from_millis(50);
/// Pets per timeout.
const PETS: u32 = 6;
/// Stops the device when it is closed after it.
const MAGIC_CLOSE: &[u8] = b"V";

nix::ioctl_readwrite!(set_timeout, b'W', 6, nix::libc::c_int);

fn open_when_free(path: &Path) -> io::Result<File> {
    let busy = Some(Errno::EBUSY as i32);
    let open = || OpenOptions::new().write(true).open(path);
    for _ in 1..OPENINGS {
        match open() {
            Err(error) if error.raw_os_error() == busy => std::thread::sleep(BETWEEN_OPENINGS),
            opened => return opened,
        }
    }
    open()
}

/// An open watchdog, or none.
#[derive(Debug)]
pub struct Watchdog {
    device: Option<File>,
    interval: Duration,
}

impl Watchdog {
    /// Opens the device, which must be petted from then on. A terminal may have none.
    pub fn open(settings: &Settings) -> Self {
        let interval = settings.timeout.checked_div(PETS).unwrap_or_default();
        let device = settings.device.as_ref().and_then(|path| {
            let opened = open_when_free(path);
            if let Err(error) = &opened {
                log::warn!("no watchdog: {}: {error}", path.display());
            }
            opened.ok()
        });
        if let Some(file) = &device {
            let seconds = i32::try_from(settings.timeout.as_secs()).unwrap_or(i32::MAX);
            match apply(file, seconds) {
                Ok(()) => log::info!("the watchdog bites after {seconds} s"),
                Err(errno) => log::warn!("the watchdog keeps its own timeout: {errno}"),
            }
        }
        Watchdog { device, interval }
    }

    /// Returns the time between two pets; `None` without a watchdog.
    pub fn interval(&self) -> Option<Duration> {
        self.device.as_ref().map(|_| self.interval)
    }

    /// Pets the watchdog.
    pub fn pet(&mut self) {
        if let Some(device) = &mut self.device {
            if let Err(error) = device.write_all(b"\0") {
                log::warn!("the watchdog cannot be petted: {error}");
            }
        }
    }

    /// Stops the watchdog, where its driver allows that.
    pub fn disarm(&mut self) {
        if let Some(mut device) = self.device.take() {
            if let Err(error) = device.write_all(MAGIC_CLOSE) {
                log::warn!("the watchdog cannot be stopped: {error}");
            }
        }
    }
}

fn apply(file: &File, seconds: i32) -> nix::Result<()> {
    let mut seconds = seconds;
    // SAFETY: the file is open, and the kernel reads and writes one int.
    #[allow(unsafe_code)] // nix has no safe form of a driver's own ioctl
    unsafe { set_timeout(file.as_raw_fd(), &mut seconds) }.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_petted_and_stopped_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog");
        let mut settings = Settings {
            device: Some(path.clone()),
            timeout: Duration::from_secs(60),
            work_timeout: Duration::from_secs(60),
        };
        assert_eq!(Watchdog::open(&settings).interval(), None);
        std::fs::write(&path, "").unwrap();
        let mut watchdog = Watchdog::open(&settings);
        assert_eq!(watchdog.interval(), Some(Duration::from_secs(10)));
        watchdog.pet();
        watchdog.disarm();
        assert_eq!(watchdog.interval(), None);
        assert_eq!(std::fs::read(&path).unwrap(), b"\0V");
        settings.device = None;
        assert_eq!(Watchdog::open(&settings).interval(), None);
    }
}
