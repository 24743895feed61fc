//! The backup as a tar archive (POSIX pax format): one header per entry, in the order of their paths.
//!
//! What pax lets a writer choose is fixed here, and the reader takes nothing else: docs/formats/parameters.md.

mod pax;
mod reader;
mod writer;

pub(super) use reader::read;
pub(super) use writer::Writer;

/// Values of pax's `comment`, by which other programs set no store.
const PARENT: &[u8] = b"folder above a parameter";
const LINKED: &[u8] = b"file with several names";
