//! Whole runs against directories and files that stand for the terminal's partitions.

mod check;
pub(crate) mod fixture;
mod installs;
mod media;
mod power;
mod refusals;
mod repairs;
mod rollbacks;
