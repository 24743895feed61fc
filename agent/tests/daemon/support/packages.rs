//! Real packages, signed with the keys of the test.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use dau_package::make::{build, delta, Compression, DeltaRecipe, Pki, Recipe, Signing};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use super::terminal::PRODUCT;

/// Bytes of a kernel.
const KERNEL: usize = 300_000;
/// Bytes of the one file in the root filesystem: random, so that they do not shrink.
const ROOTFS: usize = 3_000_000;
/// 2026-01-01
const CREATED: i64 = 1_767_225_600;

/// What a package is to be.
#[derive(Clone)]
pub struct Wish {
    pub product: &'static str,
    pub version: &'static str,
    pub rollback_index: u64,
    pub kernel: bool,
    pub rootfs: bool,
    pub recovery: bool,
    pub minimum_recovery: Option<&'static str>,
}

impl Default for Wish {
    fn default() -> Self {
        Wish {
            product: PRODUCT,
            version: "1.1.0",
            rollback_index: 5,
            kernel: true,
            rootfs: true,
            recovery: false,
            minimum_recovery: None,
        }
    }
}

/// Makes packages.
pub struct Maker {
    dir: PathBuf,
    chain: PathBuf,
    key: PathBuf,
    keyring: PathBuf,
}

impl Maker {
    pub fn new(dir: &Path, pki: &Pki) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut kernel = vec![0xD0, 0x0D, 0xFE, 0xED];
        kernel.extend((KERNEL as u32).to_be_bytes());
        kernel.extend(random(KERNEL - kernel.len()));
        fs::write(dir.join("kernel.itb"), kernel).unwrap();
        fs::write(dir.join("recovery.itb"), recovery_os("1.1.0")).unwrap();
        let tree = dir.join("tree");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("content"), random(ROOTFS)).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-O", "^has_journal", "-d"])
            .arg(&tree)
            .arg(dir.join("rootfs.img"))
            .arg("4M")
            .status();
        assert!(made.unwrap().success());
        Maker {
            dir: dir.to_owned(),
            chain: pki.signer_chain(),
            key: pki.signer_key(),
            keyring: pki.keyring(),
        }
    }

    /// Has packages bring this RecoveryOS from now on.
    pub fn bring(&self, recovery: &[u8]) {
        fs::write(self.dir.join("recovery.itb"), recovery).unwrap();
    }

    /// The bytes of a package.
    pub fn make(&self, wish: &Wish) -> Vec<u8> {
        let recipe = Recipe {
            product: wish.product.to_owned(),
            version: wish.version.to_owned(),
            created: CREATED,
            rollback_index: wish.rollback_index,
            kernel: wish.kernel.then(|| self.dir.join("kernel.itb")),
            rootfs: wish.rootfs.then(|| self.dir.join("rootfs.img")),
            sbom: None,
            recovery: wish.recovery.then(|| self.dir.join("recovery.itb")),
            minimum_recovery: wish.minimum_recovery.map(str::to_owned),
            compression: Compression::default(),
        };
        let output = self.dir.join("x.dau");
        build(&recipe, Some(&self.signing()), &output, &mut |_, _, _| {}).unwrap();
        fs::read(output).unwrap()
    }

    /// Where packages that are made are trusted.
    pub fn keyring(&self) -> PathBuf {
        self.keyring.clone()
    }

    /// Changes a little of the root filesystem's one file, and of the kernel, for packages made from
    /// now on.
    pub fn change(&self) {
        for (name, at) in [("rootfs.img", 2_000_000), ("kernel.itb", 100_000)] {
            let path = self.dir.join(name);
            let mut image = fs::read(&path).unwrap();
            image[at..at + 20_000].copy_from_slice(&random(20_000));
            fs::write(path, image).unwrap();
        }
    }

    /// The bytes of the delta from one package to another.
    pub fn delta(&self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let [base, target, output] =
            ["old.dau", "new.dau", "x.delta.dau"].map(|name| self.dir.join(name));
        fs::write(&base, old).unwrap();
        fs::write(&target, new).unwrap();
        let recipe = DeltaRecipe {
            base,
            target,
            minimum_recovery: None,
            threads: 1,
            reserve: 0,
        };
        delta(&recipe, Some(&self.signing()), &output, &mut |_, _, _| {}).unwrap();
        fs::read(output).unwrap()
    }

    /// A rightly signed package whose root filesystem is said to have another digest when unpacked.
    pub fn with_image_sha256(&self, wish: &Wish, sha256: &str) -> Vec<u8> {
        let mut package = self.make(wish);
        let image = fs::read(self.dir.join("rootfs.img")).unwrap();
        let said = dau_model::hex::encode(openssl::sha::sha256(&image));
        let mut windows = package.windows(said.len());
        let at = windows.position(|part| part == said.as_bytes()).unwrap();
        package[at..at + said.len()].copy_from_slice(sha256.as_bytes());
        // The packager vouches for no such thing, so it is signed by hand.
        let manifest = member(&package, 0);
        let signature = member(&package, manifest.end.next_multiple_of(512));
        let mut signer = Signer::new_without_digest(&self.key()).unwrap();
        let signed = signer.sign_oneshot_to_vec(&package[manifest]).unwrap();
        package[signature].copy_from_slice(&signed);
        package
    }

    fn signing(&self) -> Signing {
        Signing::with_key(&fs::read(&self.chain).unwrap(), self.key()).unwrap()
    }

    fn key(&self) -> PKey<Private> {
        PKey::private_key_from_pem(&fs::read(&self.key).unwrap()).unwrap()
    }
}

/// The content of the tar member whose header stands at `offset`.
fn member(package: &[u8], offset: usize) -> Range<usize> {
    let size = std::str::from_utf8(&package[offset + 124..offset + 135]).unwrap();
    let size = usize::from_str_radix(size.trim_matches([' ', '\0']), 8).unwrap();
    let start = offset + 512;
    start..start + size
}

/// A RecoveryOS of a version, as a FIT image.
pub fn recovery_os(version: &str) -> Vec<u8> {
    recovery_os_that(version, " rebuilt-packages")
}

/// One from before there were deltas.
pub fn recovery_os_without_deltas(version: &str) -> Vec<u8> {
    recovery_os_that(version, "")
}

fn recovery_os_that(version: &str, more: &str) -> Vec<u8> {
    let kernel: Vec<u8> = version.bytes().cycle().take(KERNEL).collect();
    let digest = openssl::sha::sha256(&kernel);
    dau_boot_state::fit::testing::image(
        &format!("DAU {PRODUCT} {version} RecoveryOS{more}"),
        &[("kernel", &kernel, Some(("sha256", &digest)))],
    )
}

fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}
