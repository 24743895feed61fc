//! The header of a zstd frame (RFC 8878, 3.1.1.1), held to the rules of [`super`].

use super::{little_endian, malformed, Frame, FrameError, FRAME_CONTENT};

/// First four bytes of a frame.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Checks the header in the first bytes of `frame`, of which all or at least 18 are given.
pub(super) fn check_header(start: &[u8], frame: &Frame) -> Result<(), FrameError> {
    let broken = |reason| malformed(frame.stored_offset, reason);
    let Some(rest) = start.strip_prefix(&MAGIC) else {
        return broken("it is not a zstd frame");
    };
    let Some((descriptor, mut rest)) = rest.split_first() else {
        return broken("it ends inside a frame header");
    };
    let single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return broken("a reserved bit of a frame header is set");
    }
    if descriptor & 0x03 != 0 {
        return broken("a frame needs a dictionary");
    }
    if !single_segment {
        let Some((window, after)) = rest.split_first() else {
            return broken("it ends inside a frame header");
        };
        if window_size(*window) > FRAME_CONTENT as u64 {
            return broken("the window of a frame is larger than 4 MiB");
        }
        rest = after;
    }
    // The high two bits mean 1 (or none), 2, 4 and 8 bytes; two bytes count from 256.
    let (bytes, offset) = match (descriptor >> 6, single_segment) {
        (0, false) => return broken("a frame does not declare its content size"),
        (0, true) => (1, 0),
        (1, _) => (2, 256),
        (2, _) => (4, 0),
        _ => (8, 0),
    };
    let content = rest.get(..bytes).map(little_endian);
    match content.and_then(|content| content.checked_add(offset)) {
        Some(content) if content == frame.content as u64 => Ok(()),
        Some(_) => broken("a frame does not hold as much of the image as the seek table says"),
        None => broken("it ends inside a frame header"),
    }
}

/// Returns the window size (RFC 8878, 3.1.1.1.2): exponent in the high five bits, eighths in the
/// low three. At most 3.75 TiB.
fn window_size(descriptor: u8) -> u64 {
    let base = 1024_u64 << (descriptor >> 3);
    base.saturating_add((base / 8).saturating_mul(u64::from(descriptor & 7)))
}
