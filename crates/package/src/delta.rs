//! Deltas: packages that make a new package of one that a terminal keeps.
//!
//! docs/formats/delta.md describes every byte. A delta is a signed package with the manifest member
//! [`DeltaOf`](crate::DeltaOf) and two payloads: `target.head`, the first three members of the
//! package that it makes (its target), and `images.delta`. The target is put together piece by
//! piece: zeros, literal bytes, and ranges of the base's images with or without a difference.
//!
//! - [`Delta::verify`] judges a delta package, and the target's signature with it
//! - [`Rebuild`] makes the target, in the form [`Form::Rebuilt`](crate::Form); [`crate::verify_kept`]
//!   judges the result like any package
//!
//! # What it guarantees
//!
//! - No byte of a delta is interpreted before its signature and digests were checked.
//! - Every piece is compared with its SHA-256 from the signed delta before it is written, so a damaged
//!   base cannot pass.
//! - Memory does not depend on the delta: a frame of the base, a piece, three streams with windows of
//!   at most 256 KiB, and at most 16384 operations.
//! - A rebuild that was interrupted goes on after the last whole piece.

mod base;
mod operations;
mod output;
mod rebuild;
mod section;
mod verify;

#[cfg(feature = "make")]
pub(crate) use operations::{
    zigzag, Kind, HEADER, MAGIC, MAX_OPERATIONS, MAX_SOURCES, MAX_WINDOW_LOG, OPERATIONS_WINDOW_LOG,
};
pub use rebuild::{Rebuild, RebuildError};
#[cfg(feature = "make")]
pub(crate) use verify::parse_target;
pub use verify::Delta;

/// Bytes of image in every piece but a payload's last.
pub const PIECE: usize = crate::frames::SMALL_FRAME_CONTENT;
/// The same.
pub(crate) const PIECE_BYTES: u64 = PIECE as u64;
