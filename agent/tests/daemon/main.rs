//! The whole agent as an ordinary user: against a real broker and a real file service, with directories for partitions.

// All of this is test code, also outside of the test functions.
#![allow(clippy::unwrap_used)]

mod download;
mod messages;
mod recovery_os;
mod refusals;
mod restarts;
mod support;
mod upgrade;
