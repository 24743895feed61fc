//! FIT images in the slots.

use anyhow::Result;
use dau_boot_state::fit::testing;
use openssl::sha::sha256;

use crate::images::{fit, DESCRIPTION};
use crate::seed;

pub fn seeds() -> Result<()> {
    let data = b"a kernel".as_slice();
    let hash = sha256(data);
    let whole = fit(64);
    seed("fit", "kernel", &whole)?;
    let two = [
        ("kernel", data, Some(("sha256", &hash[..]))),
        ("ramdisk", data, Some(("sha256", &hash[..]))),
    ];
    seed(
        "fit",
        "two-images",
        testing::image("DAU p 1.0 recovery", &two),
    )?;
    let none = [("kernel", data, None)];
    seed("fit", "attack-no-hash", testing::image(DESCRIPTION, &none))?;
    let weak = [("kernel", data, Some(("crc32", &hash[..4])))];
    seed(
        "fit",
        "attack-weak-hash",
        testing::image(DESCRIPTION, &weak),
    )?;
    seed("fit", "attack-no-image", testing::image(DESCRIPTION, &[]))?;
    let mut outside = whole.clone();
    outside[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    seed("fit", "attack-structure-outside", outside)?;
    seed("fit", "torn", &whole[..whole.len() - 9])
}
