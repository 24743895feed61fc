//! Proof by cutting the power: a terminal is recorded in QEMU with every write of its disk, and the disk is looked at as
//! it would be had the power gone after any of them, with what a volatile cache loses, writes in another order, or tears.
//!
//! - [`record`]: a terminal goes through an upgrade while its disk's writes are recorded; [`ground`]: its broker and
//!   station; [`relay`]: how it reaches them
//! - [`write_log`], [`recorded`]: what was recorded; [`timeline`]: what the terminal was doing at every write
//! - [`states`]: crash states by number; [`image`]: a disk in such a state, without a copy; [`set`]: recordings together
//! - [`judge`]: the cheap check, by [`volumes`] and [`checkers`] on [`sparse`] files; `look`: where a state leads; [`known`]: what
//!   was found out already; [`full`]: the full check
//! - [`run`], [`results`], [`report`]: many states, and the table of docs/reliability.md
//! - [`broken`]: programs in a wrong order, which must be found out

pub mod broken;
pub mod checkers;
pub mod full;
pub mod ground;
pub mod image;
pub mod judge;
pub mod known;
mod look;
pub mod record;
pub mod recorded;
pub mod relay;
pub mod report;
pub mod results;
pub mod run;
pub mod set;
pub mod sparse;
pub mod states;
pub mod timeline;
pub mod volumes;
pub mod write_log;
