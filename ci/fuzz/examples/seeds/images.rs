//! What packages carry, small.

use dau_boot_state::fit::testing;
use openssl::sha::sha256;

/// What the FIT images say of themselves.
pub const DESCRIPTION: &str = "DAU qemu-aarch64 1.1.0 kernel";

/// A FIT image with one image that holds.
pub fn fit(size: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
    let hash = sha256(&data);
    testing::image(DESCRIPTION, &[("kernel", &data, Some(("sha256", &hash)))])
}

/// What passes for an ext4 image: its super block says how many blocks of 4096 bytes it has.
pub fn ext4(size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    for (at, byte) in image.iter_mut().enumerate().skip(2048).take(6000) {
        *byte = (at * at % 253) as u8;
    }
    image[1028..1032].copy_from_slice(&((size / 4096) as u32).to_le_bytes());
    image[1048..1052].copy_from_slice(&2_u32.to_le_bytes());
    image[1080..1082].copy_from_slice(&[0x53, 0xEF]);
    image
}
