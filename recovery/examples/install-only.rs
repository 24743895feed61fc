//! The install step alone, for ci/bench/install: verify a package, then write and read back its root filesystem.
//!
//! usage: install-only KEYRING PACKAGE DEVICE

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use dau_package::{Keyring, PayloadType};
use dau_recovery::cut::Cut;
use dau_recovery::rootfs::image;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [keyring, package, device] = &arguments[..] else {
        bail!("usage: install-only KEYRING PACKAGE DEVICE");
    };
    let started = Instant::now();
    let keyring = Keyring::load(Path::new(keyring))?;
    let file = File::open(package)?;
    let verified = dau_package::verify(&file, &keyring, &mut |_, _| {})?;
    let seconds = started.elapsed().as_secs_f64();
    let rootfs = verified
        .payloads
        .iter()
        .find(|location| location.payload.payload_type == PayloadType::RootfsImage)
        .context("the package carries no raw image")?;
    let written = image::write(
        &file,
        rootfs,
        Path::new(device),
        image::WORKERS,
        &Cut::default(),
        || {},
    )?;
    println!(
        "verify {seconds:.3} s, write and read back {:.3} s, {written} bytes differed",
        started.elapsed().as_secs_f64() - seconds
    );
    Ok(())
}
