//! Sizes in a tar archive.

/// Bytes of a tar block.
pub(crate) const BLOCK: u64 = 512;
/// Bytes to which ordinary tar programs pad an archive.
pub(crate) const BLOCKING: u64 = 20 * BLOCK;
/// Zero blocks at the end of an archive.
pub(crate) const END: u64 = 2 * BLOCK;

/// Returns `size` plus a member's padding.
pub(crate) fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}
