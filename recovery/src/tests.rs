//! Whole runs against folders and files in place of the terminal's partitions.

mod check;
pub(crate) mod fixture;
mod installs;
mod media;
mod power;
mod refusals;
mod repairs;
mod rollbacks;
