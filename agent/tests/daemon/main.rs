//! The whole agent as an ordinary user: against a real broker and a real file service, with
//! directories for partitions.

// All of this is test code, also outside of the test functions.
#![allow(clippy::unwrap_used)]

mod budget;
mod delta;
mod download;
mod full_mnt;
mod immortal;
mod link;
mod messages;
mod recovery_os;
mod refusals;
mod restarts;
mod strange_answers;
mod support;
mod upgrade;
