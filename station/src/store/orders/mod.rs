//! Orders: each makes a job for every terminal that it is for.
//!
//! - `make`: takes orders, and makes their jobs in pieces
//! - `select`: which terminals an order fits
//! - `cancel`: cancels orders and jobs
//! - `due`: jobs that the clock ends, orders again or asks for
//! - `counts`: how many jobs are in which state; `view`, `failures`: what REST shows

mod cancel;
mod counts;
mod due;
mod failures;
mod make;
pub mod select;
mod view;

pub use cancel::{cancel, cancel_at, cancel_order, not_busy, Cancelled};
pub use counts::Counts;
pub use due::{expire, retry_busy, silent, Asked, Silent};
#[cfg(test)]
pub(in crate::store) use due::{BUSY, EXPIRED};
pub use failures::{failures, Failure};
pub use make::{add_to, next, place, state_of, work_on, Open, PIECE};
pub use view::{get, list, skipped, Order, Skipped};

/// An order as it is placed.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Name of the REST token that ordered it.
    pub by: String,
    /// The word of its [`dau_model::Kind`].
    pub upgrade_type: String,
    /// Least seconds that each terminal waits.
    pub policy: u64,
    /// Seconds over which the terminals' starts are spread evenly.
    pub spread: u64,
    /// Bytes that each terminal may spend on it; `None`: no limit.
    pub budget: Option<u64>,
    /// Time when it expires for terminals that have not accepted it.
    pub expires_at: Option<i64>,
    /// Seconds for which it is good, which bounds `expires_at` whatever the clock does.
    pub expire: Option<i64>,
    /// Whether terminals get it that it does not fit.
    pub force: bool,
    /// The filter that found its terminals, if they were not named.
    pub filter: Option<String>,
}

#[cfg(test)]
mod tests;
