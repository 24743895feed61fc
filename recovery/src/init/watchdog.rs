//! A hardware watchdog, if there is one: it restarts a terminal whose process 1 or kernel hangs.
//!
//! Source: the kernel's Documentation/watchdog/watchdog-api.rst.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use super::reap::reap;

const DEVICE: &str = "/dev/watchdog";
/// Shorter than the timeout of any watchdog in use.
const INTERVAL: Duration = Duration::from_secs(1);

/// An open watchdog, or none. Waits must use [`Watchdog::sleep`].
#[derive(Debug)]
pub struct Watchdog {
    device: Option<File>,
    petted: Instant,
}

impl Watchdog {
    /// Opens the watchdog; from then on it must be fed.
    pub fn open() -> Self {
        let device = OpenOptions::new().write(true).open(DEVICE).ok();
        match device {
            Some(_) => log::info!("{DEVICE} is watching"),
            None => log::info!("no watchdog"),
        }
        Watchdog {
            device,
            petted: Instant::now(),
        }
    }

    /// Feeds the watchdog; may be called at any rate.
    pub fn pet(&mut self) {
        if self.petted.elapsed() < INTERVAL {
            return;
        }
        self.petted = Instant::now();
        if let Some(device) = &mut self.device {
            let _ = device.write_all(b"\0");
        }
    }

    /// Waits while feeding the watchdog.
    pub fn sleep(&mut self, time: Duration) {
        let start = Instant::now();
        loop {
            self.pet();
            reap();
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(INTERVAL));
        }
    }
}
