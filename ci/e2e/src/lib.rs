//! A whole system on one machine: terminals in QEMU with the real U-Boot, the broker and the station; the end-to-end
//! tests, the demo and the measurements that use them.
//!
//! - [`places`]: where images, programs and work folders are
//! - [`process`]: child processes that never outlive their owner; [`wait`]: waiting with an end
//! - [`disk`]: what stands on a terminal's disk while it is off
//! - [`terminal`]: a terminal: power, console, clock
//! - [`link`]: the line between terminal and station, counted and slowed; [`iec104`]: whether the application serves
//! - [`pki`], [`broker`], [`station`]: the other end; [`site`]: all of it together
//! - [`hostile`]: packages that must be refused
//! - [`scenarios`], [`runner`]: the tests; [`demo`], [`measure`]

pub mod broker;
pub mod demo;
pub mod disk;
pub mod hostile;
pub mod iec104;
pub mod link;
pub mod measure;
pub mod mqtt;
pub mod pki;
pub mod places;
pub mod process;
pub mod runner;
pub mod scenarios;
pub mod site;
pub mod station;
pub mod terminal;
pub mod wait;
