//! The files on the partition mnt that agent and RecoveryOS leave each other.
//!
//! - [`Layout`]: every path below `/mnt/dau`
//! - [`Job`]: the current upgrade order, its progress, and its one result
//! - [`History`]: results of earlier jobs, so that a repeated order is known
//! - [`parameters`]: backup and restoration of what the applications were set to
//!
//! docs/formats/handoff.md and docs/formats/parameters.md describe the files.
//!
//! # What it guarantees
//!
//! - A file is the old or the new one after a power cut, never a mixture.
//! - A job goes only from one state to another that may follow it ([`Job::enter`]), and gets one
//!   result: [`Job::finish`] keeps the first.
//! - Fields added later have defaults, so an agent and a RecoveryOS of different age work together.
//! - A backup is read back before anybody relies on it, and restored files have content, owner,
//!   mode, times, extended attributes and holes as they were.
//!
//! # Example
//!
//! ```
//! use dau_handoff::{Job, JobResult, Layout, Order};
//! use dau_model::{Kind, Outcome, Reason, State, Word};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mnt = tempfile::tempdir()?;
//! # let mnt = mnt.path();
//! let layout = Layout::new(mnt);
//! layout.create()?;
//! let mut job = Job::new(7, Order {
//!     version: "1.1.0".to_owned(),
//!     kind: Kind::Full,
//!     url: "https://station/packages/3".to_owned(),
//!     token: None,
//!     md5: None,
//!     size: None,
//!     start_at: 0,
//!     expires_at: None,
//!     mid: 1,
//!     budget: None,
//! });
//! job.enter(State::Downloading)?;
//! job.save(&layout.job())?;
//!
//! // After a power cut.
//! let mut job = Job::load(&layout.job())?.expect("it was saved");
//! assert_eq!(job.state(), State::Downloading);
//! assert!(job.enter(State::Trial).is_err(), "nothing is installed yet");
//! job.finish(JobResult::new(Outcome::Refused, Reason::new(Word::NoSpace, "mnt is full")));
//! job.finish(JobResult::success("too late"));
//! assert_eq!(job.result().unwrap().outcome, Outcome::Refused);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

mod history;
mod job;
pub mod layout;
pub mod parameters;

pub use history::{Entry, History, HISTORY_LIMIT};
pub use job::{
    Attempts, Job, JobError, JobResult, Order, ParametersRecord, RecoveryRecord, Stage,
    TransitionError, WorkRecord, Written, MAX_FAILURES,
};
pub use layout::{Layout, MNT};
