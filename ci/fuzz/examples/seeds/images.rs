//! Small payloads for packages.

use dau_boot_state::fit::testing;
use openssl::sha::sha256;

/// The description in the FIT images.
pub const DESCRIPTION: &str = "DAU qemu-aarch64 1.1.0 kernel";

/// Returns a FIT image with one image whose hash is correct.
pub fn fit(size: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
    let hash = sha256(&data);
    testing::image(DESCRIPTION, &[("kernel", &data, Some(("sha256", &hash)))])
}

/// Returns a fake ext4 image: only its super block, with the number of 4096-byte blocks.
pub fn ext4(size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    for (at, byte) in image.iter_mut().enumerate().skip(2048).take(6000) {
        *byte = (at * at % 253) as u8;
    }
    image[1028..1032].copy_from_slice(&((size / 4096) as u32).to_le_bytes());
    image[1048..1052].copy_from_slice(&2_u32.to_le_bytes());
    image[1080..1084].copy_from_slice(&[0x53, 0xEF, 1, 0]);
    image[1100] = 1;
    image
}
