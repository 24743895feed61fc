//! Decompresses frames directly into the caller's memory.

use std::io::{self, Read};

use zstd::zstd_safe::{get_error_name, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::header::check_header;
use super::{malformed, Frame, FrameError, FRAME_CONTENT};

/// Stored bytes read at once.
const PIECE: usize = 128 << 10;

/// Decompresses frames of [`super::FrameIndex`]. It needs some 250 KiB of memory: matches are found
/// in the decompressed data, so there is no window besides the caller's memory.
pub struct Decoder {
    context: DCtx<'static>,
    stored: Vec<u8>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// Returns a decoder for any number of frames.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new() -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::StableOutBuffer(true))
            .map_err(|code| io::Error::other(get_error_name(code)))?;
        Ok(Self {
            context,
            stored: vec![0; PIECE],
        })
    }

    /// Decompresses `frame` into the first [`Frame::content`] bytes of `image` and returns these.
    /// `stored` must be at the frame's first stored byte; only the frame is read.
    ///
    /// # Errors
    /// The frame violates a rule of [`super`], or differs from the seek table.
    pub fn decode<'a>(
        &mut self,
        stored: &mut impl Read,
        frame: &Frame,
        image: &'a mut [u8],
    ) -> Result<&'a [u8], FrameError> {
        let broken = |reason| malformed(frame.stored_offset, reason);
        let Some(image) = image.get_mut(..frame.content.min(FRAME_CONTENT)) else {
            return broken("there is no room for a frame");
        };
        self.context
            .reset(ResetDirective::SessionOnly)
            .map_err(|code| io::Error::other(get_error_name(code)))?;
        let mut output = OutBuffer::around(&mut *image);
        let mut left = frame.stored;
        let mut ended = false;
        while left > 0 {
            let Some(piece) = self.stored.get_mut(..left.min(PIECE)) else {
                return broken("it has no bytes");
            };
            stored.read_exact(piece)?;
            if left == frame.stored {
                check_header(piece, frame)?;
            }
            left = left.saturating_sub(piece.len());
            let mut input = InBuffer::around(piece);
            while input.pos() < piece.len() {
                if ended {
                    return broken("it ends before the seek table says");
                }
                let before = (input.pos(), output.pos());
                let hint = self
                    .context
                    .decompress_stream(&mut output, &mut input)
                    .map_err(|code| FrameError::Malformed {
                        offset: frame.stored_offset,
                        reason: get_error_name(code),
                    })?;
                ended = hint == 0;
                if !ended && before == (input.pos(), output.pos()) {
                    return broken("it holds more than the seek table says");
                }
            }
        }
        let found = output.pos();
        match image.get(..found) {
            Some(image) if ended && found == frame.content => Ok(image),
            _ => broken("it holds less than the seek table says"),
        }
    }
}
