//! Whole runs against directories and files that stand for the terminal's partitions.

pub(crate) mod fixture;
mod installs;
mod power;
mod refusals;
mod repairs;
mod rollbacks;
