//! Deltas: made, rebuilt, interrupted, and refused.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod rebuild;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use common::{ext4_image, fit_image, noise, Bench, CREATED_UNIX};
use dau_package::delta::{Delta, Rebuild, RebuildError};
use dau_package::make::{build, delta, Compression, DeltaRecipe, MakeError, Recipe};
use dau_package::{Algorithm, Manifest};

const MIB: usize = 1 << 20;
/// Bytes of the root filesystem: three whole pieces and a bit.
const SIZE: usize = 3 * MIB + 8192;

/// A PKI, and an old and a new package of kernel and root filesystem with a delta between them.
struct Pair {
    bench: Bench,
    old: PathBuf,
    new: PathBuf,
    delta: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new(Algorithm::Ed25519);
        let old = package(&bench, "1.0.0", &fit_image(MIB + 700), &ext4_image(SIZE));
        let (kernel, rootfs) = changed();
        let new = package(&bench, "1.1.0", &kernel, &rootfs);
        let delta = bench.path("x.delta.dau");
        let pair = Self {
            bench,
            old,
            new,
            delta,
        };
        pair.make(&pair.old, &pair.new, &pair.delta).unwrap();
        pair
    }

    fn make(&self, old: &Path, new: &Path, output: &Path) -> Result<Manifest, MakeError> {
        let recipe = DeltaRecipe {
            base: old.to_owned(),
            target: new.to_owned(),
            minimum_recovery: None,
            threads: 2,
            reserve: 0,
        };
        delta(
            &recipe,
            Some(&self.bench.signing()),
            output,
            &mut |_, _, _| (),
        )
    }

    fn verified(&self) -> Delta {
        let file = File::open(&self.delta).unwrap();
        Delta::verify(file, &self.bench.keyring, &mut |_, _| Ok(())).unwrap()
    }

    /// Rebuilds the new package of `base` into a file of this name.
    fn rebuild(&self, base: &Path, name: &str) -> Result<PathBuf, RebuildError> {
        let delta = self.verified();
        let path = self.bench.path(name);
        let output = open(&path);
        let base = File::open(base).unwrap();
        let mut rebuild = Rebuild::new(&delta, &base, &output)?;
        while rebuild.step(&mut || Ok(()))? {}
        rebuild.finish()?;
        Ok(path)
    }
}

/// Opens a file as the output of a rebuild.
fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).unwrap()
}

fn package(bench: &Bench, version: &str, kernel: &[u8], rootfs: &[u8]) -> PathBuf {
    fs::write(bench.path("kernel.itb"), kernel).unwrap();
    fs::write(bench.path("rootfs.img"), rootfs).unwrap();
    let recipe = Recipe {
        version: version.into(),
        created: CREATED_UNIX,
        compression: Compression {
            level: 1,
            threads: 1,
        },
        ..bench.recipe()
    };
    let path = bench.path(&format!("{version}.dau"));
    build(&recipe, Some(&bench.signing()), &path, &mut |_, _, _| ()).unwrap();
    path
}

/// Returns the new kernel and root filesystem: with bytes changed here and there, a part moved, and
/// a part that is new.
fn changed() -> (Vec<u8>, Vec<u8>) {
    let mut kernel = fit_image(MIB + 700);
    kernel[5000..5010].fill(7);
    let mut rootfs = ext4_image(SIZE);
    for at in (3 * 4096..100_000).step_by(997) {
        rootfs[at] ^= 0x55;
    }
    let moved = rootfs[MIB / 2..MIB / 2 + 50 * 4096].to_vec();
    rootfs[2 * MIB + 4096..][..moved.len()].copy_from_slice(&moved);
    let new = noise(SIZE).split_off(SIZE - 20_000);
    rootfs[3 * MIB - 13_000..][..new.len()].copy_from_slice(&new);
    (kernel, rootfs)
}
