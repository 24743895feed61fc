//! Runs only the install step, for ci/bench/install: verifies a package, unpacks its root filesystem
//! in memory and compares it with the device, writes what differs and reads it back.
//!
//! usage: install-only KEYRING PACKAGE DEVICE

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use dau_package::{Keyring, PayloadType};
use dau_recovery::failpoint::Failpoint;
use dau_recovery::rootfs::device::Device;
use dau_recovery::rootfs::survey::Survey;
use dau_recovery::rootfs::{image, pass};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [keyring, package, device] = &arguments[..] else {
        bail!("usage: install-only KEYRING PACKAGE DEVICE");
    };
    let started = Instant::now();
    let keyring = Keyring::load(Path::new(keyring))?;
    let file = File::open(package)?;
    let verified = dau_package::verify(&file, &keyring, &mut |_, _| {})?;
    let rootfs = verified
        .payloads
        .iter()
        .find(|location| location.payload.payload_type == PayloadType::RootfsImage)
        .context("the package carries no raw image")?;
    let verify = started.elapsed().as_secs_f64();
    let device = Path::new(device);
    let medium = Device::open_read_only(device)?;
    let survey = Survey::new(&file, rootfs, &medium, pass::WORKERS, || {})?;
    let unpack = started.elapsed().as_secs_f64();
    let written = image::write(
        &file,
        rootfs,
        &survey,
        device,
        pass::WORKERS,
        &Failpoint::default(),
        || {},
    )?;
    println!(
        "verify {verify:.3} s, unpack and compare {:.3} s, write and read back {:.3} s, {written} bytes differed",
        unpack - verify,
        started.elapsed().as_secs_f64() - unpack
    );
    Ok(())
}
