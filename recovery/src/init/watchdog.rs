//! A hardware watchdog, where there is one: it restarts a terminal whose process 1 or kernel hangs.
//!
//! Source: the kernel's Documentation/watchdog/watchdog-api.rst.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

const DEVICE: &str = "/dev/watchdog";
/// Shorter than any watchdog in use bites.
const INTERVAL: Duration = Duration::from_secs(1);

/// An open watchdog, or none. Whoever waits, waits with [`Watchdog::sleep`].
#[derive(Debug)]
pub struct Watchdog {
    device: Option<File>,
    petted: Instant,
}

impl Watchdog {
    /// Opens the watchdog; from then on it must be petted.
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

    /// Tells it that all is well; may be called at any rate.
    pub fn pet(&mut self) {
        if self.petted.elapsed() < INTERVAL {
            return;
        }
        self.petted = Instant::now();
        if let Some(device) = &mut self.device {
            let _ = device.write_all(b"\0");
        }
    }

    /// Waits and pets.
    pub fn sleep(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.pet();
            super::supervisor::reap();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(INTERVAL));
        }
    }
}
