//! Proof by cutting the power. A terminal is recorded in QEMU with every write to its disk. Then
//! the disk is checked as the cut would have left it after any of them, including writes that a
//! volatile cache loses, reorders or tears.
//!
//! - [`record`]: runs a terminal through a [`scenario`] while its disk's writes are recorded;
//!   [`backend`]: its broker and station; [`relay`]: its way to them
//! - [`write_log`], [`notes`], [`partition`], [`recorded`]: the recording; [`timeline`]: the [`step`] of
//!   every write
//! - [`crash`], [`states`]: crash states by number; [`image`]: a disk in such a state, without a
//!   copy, read through [`reader`] or [`scratch`]; [`recordings`]: several recordings
//! - [`judge`]: the cheap check, from the `evidence` on the disk ([`volumes`], [`checkers`],
//!   [`sparse`] files) and what boots next (`next_boot`); [`cache`]: results shared between states;
//!   [`full_check`]: the full check
//! - [`choice`], [`run`], [`results`], [`report`]: many states, and the table of
//!   docs/reliability.md
//! - [`broken`]: broken programs, whose faults must be detected
//!
//! # What it guarantees
//!
//! - A state is a number: the same number of the same recording is the same disk, whoever asks.
//! - A recording is not changed; what a check writes is thrown away.
//! - The harness is tried, too: each of the faults in [`broken`] must be found.
//!
//! # By hand
//!
//! `make powercut` checks many states, `make powercut STATE=1234` one of them again.

pub mod backend;
pub mod broken;
pub mod cache;
pub mod checkers;
pub mod choice;
pub mod crash;
mod evidence;
pub mod full_check;
pub mod image;
pub mod judge;
mod next_boot;
pub mod notes;
pub mod partition;
pub mod reader;
pub mod record;
pub mod recorded;
pub mod recordings;
pub mod relay;
pub mod report;
pub mod results;
pub mod run;
pub mod scenario;
pub mod scratch;
pub mod sparse;
pub mod states;
pub mod step;
pub mod timeline;
pub mod volumes;
pub mod write_log;
