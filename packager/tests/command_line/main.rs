//! The command line as the help describes it.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod build;
#[path = "../common/mod.rs"]
mod common;
mod delta;
mod keygen;
mod rootfs;
mod sign;
mod verify;
