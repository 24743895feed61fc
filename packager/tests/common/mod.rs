//! A folder with a PKI and images, and the packager run in it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub fn packager(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dau-packager"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap()
}

pub struct Bench {
    pub dir: TempDir,
}

impl Bench {
    pub fn new(algorithm: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir };
        bench.run_well(&["keygen", "--out", "pki", "--algorithm", algorithm]);
        fs::write(bench.path("kernel.itb"), fit_image(10_000)).unwrap();
        make_ext4(bench.dir.path(), "rootfs.img");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        packager(self.dir.path(), arguments)
    }

    /// Runs the packager, which must succeed; returns its output.
    #[track_caller]
    pub fn run_well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the packager, which must fail with this status; returns its error.
    #[track_caller]
    pub fn run_badly(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        said
    }

    /// Builds package.dau from both images.
    #[track_caller]
    pub fn build(&self, more: &[&str]) -> Vec<u8> {
        let mut arguments = BUILD.to_vec();
        arguments.extend(SIGNED);
        arguments.extend(more);
        self.run_well(&arguments);
        fs::read(self.path("package.dau")).unwrap()
    }

    pub fn verify(&self) -> Output {
        self.run(&["verify", "--keyring", "pki/keyring", "package.dau"])
    }
}

pub const BUILD: [&str; 15] = [
    "build",
    "--product",
    "qemu-aarch64",
    "--version",
    "1.1.0",
    "--rollback-index",
    "7",
    "--kernel",
    "kernel.itb",
    "--rootfs",
    "rootfs.img",
    "--level",
    "1",
    "-o",
    "package.dau",
];
pub const SIGNED: [&str; 4] = [
    "--key",
    "pki/package/signer.key",
    "--signer",
    "pki/package/signer.pem",
];

/// Returns bytes that count as a FIT image.
pub fn fit_image(size: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..size).map(|index| (index * index / 7) as u8).collect();
    image[..4].copy_from_slice(&[0xD0, 0x0D, 0xFE, 0xED]);
    image[4..8].copy_from_slice(&(size as u32).to_be_bytes());
    image
}

/// Makes an ext4 image of 9 MiB with a file that hardly compresses.
pub fn make_ext4(dir: &Path, image: &str) {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree).unwrap();
    let content: Vec<u8> = (0..5_usize << 20)
        .map(|index| (index * index / 4099) as u8)
        .collect();
    fs::write(tree.join("content"), content).unwrap();
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-O", "^has_journal", "-d", "tree"])
        .args([image, "9M"])
        .current_dir(dir)
        .status();
    assert!(made.unwrap().success());
}
