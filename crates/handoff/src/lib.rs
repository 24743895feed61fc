//! What the agent and RecoveryOS leave each other on mnt.
//!
//! - [`Layout`]: every path below `/mnt/dau`
//! - [`Job`]: the current upgrade order, what has been done of it, and its one result
//! - [`History`]: results of earlier jobs, so that an order that comes again is known
//! - [`parameters`]: what the applications were set to, captured and put back
//!
//! Files are JSON, written by temporary file, fsync, rename, fsync of the directory. Fields added later have
//! defaults: an agent and a RecoveryOS of different age work together.

mod history;
mod job;
mod layout;
pub mod parameters;

pub use history::{Entry, History, HISTORY_LIMIT};
pub use job::{
    Attempts, Job, JobError, JobResult, JobState, Kind, Order, Outcome, ParametersRecord,
    RecoveryRecord, Stage, MAX_FAILURES,
};
pub use layout::{Layout, MNT};
