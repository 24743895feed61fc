//! The source of a package: the order's url and token, which a copy of the order may renew
//! meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Url and token of the order that came last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub url: String,
    pub token: Option<String>,
    /// Counts the orders that came for this job.
    pub copy: u32,
}

/// Shared by the download and the main loop.
#[derive(Debug)]
pub struct Source(Mutex<Place>);

impl Source {
    /// Starts with the job's order.
    pub fn new(url: &str, token: Option<&str>) -> Self {
        Source(Mutex::new(Place {
            url: url.to_owned(),
            token: token.map(str::to_owned),
            copy: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns url and token as they are now.
    pub fn place(&self) -> Place {
        self.lock().clone()
    }

    /// The order came again: its url and token count from now on.
    pub fn renew(&self, url: &str, token: Option<&str>) {
        let mut place = self.lock();
        *place = Place {
            url: url.to_owned(),
            token: token.map(str::to_owned),
            copy: place.copy.wrapping_add(1),
        };
    }
}
