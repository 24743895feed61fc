//! FIT images in the slots: any program that can write to the boot partition may have written them.

use dau_boot_state::fit;

use crate::file::InMemory;
use crate::memory;

/// A block to hash, and the description of the images.
const MEMORY: usize = 1 << 20;
/// Longest description that is read, bytes.
const DESCRIPTION: usize = 256;

pub fn check(data: &[u8]) {
    let image = InMemory::new(data);
    let path = image.path();
    let whole = memory::within(MEMORY, || fit::check(&path));
    if let Ok(size) = whole {
        assert!(size <= data.len() as u64, "it is longer than its file");
        let cut = InMemory::new(&data[..size as usize - 1]);
        fit::check(&cut.path()).expect_err("cut short by a byte it is still whole");
        let more = InMemory::new(&[data, b"left by a longer one before"].concat());
        assert_eq!(fit::check(&more.path()).ok(), Some(size));
    }
    let file = std::fs::File::open(&path).expect("it was written");
    if let Ok(Some(said)) = memory::within(MEMORY, || fit::describe(&file, 0)) {
        let version = said.version;
        assert!((1..=3 * DESCRIPTION).contains(&version.len()) && !version.contains(' '));
    }
}
