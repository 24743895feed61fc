//! A file with a partition of a crash state, for programs that need one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::image::Image;
use crate::partition::Partition;
use crate::recorded::Recorded;
use crate::write_log::SECTOR;

/// A file with a partition's content; only changes are written.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    path: PathBuf,
    origin: Vec<u32>,
    partition: Partition,
}

impl Scratch {
    /// Makes a file in `folder`, holding the partition before the first write.
    pub fn new(recorded: &Recorded, partition: Partition, folder: &Path) -> Result<Self> {
        const PIECE: usize = 1 << 16;
        let path = folder.join(partition.label());
        let file = File::create(&path)?;
        let extent = recorded.extent(partition);
        file.set_len(extent.size)?;
        let mut piece = vec![0; PIECE];
        for start in (0..extent.size).step_by(PIECE) {
            let length = PIECE.min((extent.size - start) as usize);
            recorded
                .base
                .read_exact_at(&mut piece[..length], extent.start + start)?;
            if piece[..length].iter().any(|byte| *byte != 0) {
                file.write_all_at(&piece[..length], start)?;
            }
        }
        Ok(Scratch {
            file,
            path,
            origin: vec![0; (extent.size / SECTOR as u64) as usize],
            partition,
        })
    }

    /// Updates the file to the partition on this disk and returns its path.
    pub fn of(&mut self, image: &Image) -> Result<&Path> {
        let sectors = image.sectors(self.partition);
        image.write_changed(sectors.clone(), &self.origin, &self.file)?;
        self.origin.copy_from_slice(&image.origin[sectors]);
        Ok(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::image::Reached;
    use crate::recorded::tests::{recorded, Act};

    #[test]
    fn a_file_follows_from_state_to_state() {
        let acts = [Act::Write(3000, 4), Act::Flush, Act::Write(3001, 2)];
        let recorded = Arc::new(recorded(&acts));
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(&recorded, Partition::Rootfs, dir.path()).unwrap();
        let mut image = Image::new(recorded);
        for (settled, reached, expected) in [
            (2, vec![Reached::whole(2)], [1, 3, 3, 1]),
            (0, vec![Reached::whole(2)], [0, 3, 3, 0]),
            (2, vec![], [1, 1, 1, 1]),
        ] {
            image.show(settled, &reached);
            let bytes = std::fs::read(scratch.of(&image).unwrap()).unwrap();
            let found: Vec<u8> = (0..4)
                .map(|sector| bytes[(3000 - 2048 + sector) * SECTOR])
                .collect();
            assert_eq!(found, expected);
        }
    }
}
