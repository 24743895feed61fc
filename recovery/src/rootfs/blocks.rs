//! The blocks of a frame, as a set.

use std::ops::Range;

use dau_package::frames::FRAME_CONTENT;

/// Unit of comparing and writing, bytes: the block size of the file system.
pub const BLOCK: usize = BLOCK_BYTES as usize;
/// The same, for sizes of images and devices.
pub const BLOCK_BYTES: u64 = 4096;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = FRAME_CONTENT / BLOCK / WORD_BITS;

/// A set of blocks of a frame, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blocks([u64; WORDS]);

impl Blocks {
    /// Adds the blocks that overlap these bytes of the frame.
    pub fn add(&mut self, bytes: Range<usize>) {
        for block in bytes.start / BLOCK..bytes.end.div_ceil(BLOCK) {
            if let Some(word) = self.0.get_mut(block / WORD_BITS) {
                *word |= 1 << (block % WORD_BITS);
            }
        }
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the bytes of all blocks, neighbours joined.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut end = 0_usize;
        let bits = (self.0.iter()).flat_map(|word| (0..WORD_BITS).map(move |bit| word >> bit & 1));
        for bit in bits {
            let start = end;
            end = start.saturating_add(BLOCK);
            match runs.last_mut() {
                _ if bit == 0 => {}
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn runs_are_exactly_the_blocks_added(
            blocks in proptest::collection::vec(proptest::bool::ANY, 0..=FRAME_CONTENT / BLOCK)
        ) {
            let mut set = Blocks::default();
            for (number, _) in blocks.iter().enumerate().filter(|(_, added)| **added) {
                set.add(number * BLOCK..(number + 1) * BLOCK);
            }
            proptest::prop_assert_eq!(set.is_empty(), !blocks.contains(&true));
            let runs = set.runs();
            for pair in runs.windows(2) {
                proptest::prop_assert!(pair[0].end < pair[1].start, "runs are joined");
            }
            let found: Vec<bool> = (0..blocks.len())
                .map(|number| runs.iter().any(|run| run.contains(&(number * BLOCK))))
                .collect();
            proptest::prop_assert_eq!(found, blocks);
        }
    }

    #[test]
    fn a_block_that_is_reached_is_added_whole_and_none_beyond_the_frame() {
        let mut set = Blocks::default();
        set.add(BLOCK - 1..BLOCK + 1);
        set.add(FRAME_CONTENT - 1..FRAME_CONTENT + BLOCK);
        assert_eq!(
            set.runs(),
            [0..2 * BLOCK, FRAME_CONTENT - BLOCK..FRAME_CONTENT]
        );
    }
}
