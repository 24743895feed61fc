//! Restores a copy of a large sparse file, reading only where either holds data.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{lseek, Whence};

const PIECE: u64 = 256 << 10;

/// Makes `copy` equal to `source`, which has the same length. Only differences are written.
pub fn restore(source: &File, copy: &File) -> Result<()> {
    let size = source.metadata()?.len();
    copy.set_len(size)?;
    let pieces = &pieces(source, size)? | &pieces(copy, size)?;
    let (mut right, mut found) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    for piece in pieces {
        let start = piece * PIECE;
        let length = PIECE.min(size - start) as usize;
        source.read_exact_at(&mut right[..length], start)?;
        copy.read_exact_at(&mut found[..length], start)?;
        if right[..length] != found[..length] {
            copy.write_all_at(&right[..length], start)?;
        }
    }
    Ok(())
}

/// Returns the numbers of the pieces that hold data.
fn pieces(file: &File, size: u64) -> Result<BTreeSet<u64>> {
    let mut pieces = BTreeSet::new();
    let mut at = 0;
    while at < size {
        let start = match lseek(file, i64::try_from(at)?, Whence::SeekData) {
            // Only a hole up to the end.
            Err(Errno::ENXIO) => break,
            found => u64::try_from(found?)?,
        };
        at = u64::try_from(lseek(file, i64::try_from(start)?, Whence::SeekHole)?)?;
        pieces.extend(start / PIECE..at.div_ceil(PIECE));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_changed_is_its_source_again() {
        let size = 9 * PIECE + 700;
        let source = tempfile::tempfile().unwrap();
        source.set_len(size).unwrap();
        let copy = tempfile::tempfile().unwrap();
        for (file, at) in [
            (&source, 10),
            (&source, 8 * PIECE + 5),
            (&copy, 10),
            (&copy, 4 * PIECE),
            (&source, size - 1),
        ] {
            file.write_all_at(&[at as u8 + 1], at).unwrap();
        }
        restore(&source, &copy).unwrap();
        let read = |file: &File| {
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        assert!(read(&source) == read(&copy));
        assert_eq!(read(&copy)[10], 11);
    }
}
