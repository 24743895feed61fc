//! Real packages, signed with the keys of the test.

use std::fs;
use std::path::{Path, PathBuf};

use dau_package::make::{build, Compression, Pki, Recipe, Signing};
use openssl::pkey::PKey;

use super::terminal::PRODUCT;

/// Bytes of a kernel.
const KERNEL: usize = 300_000;
/// Bytes of a root filesystem: random, so that they do not shrink.
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
}

impl Maker {
    pub fn new(dir: &Path, pki: &Pki) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut kernel = vec![0xD0, 0x0D, 0xFE, 0xED];
        kernel.extend((KERNEL as u32).to_be_bytes());
        kernel.extend(random(KERNEL - kernel.len()));
        fs::write(dir.join("kernel.itb"), kernel).unwrap();
        fs::write(dir.join("recovery.itb"), recovery_os("1.1.0")).unwrap();
        let mut rootfs = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(ROOTFS as u64);
        header.set_mode(0o644);
        let content = random(ROOTFS);
        rootfs
            .append_data(&mut header, "content", content.as_slice())
            .unwrap();
        fs::write(dir.join("rootfs.tar"), rootfs.into_inner().unwrap()).unwrap();
        Maker {
            dir: dir.to_owned(),
            chain: pki.signer_chain(),
            key: pki.signer_key(),
        }
    }

    /// The bytes of a package.
    pub fn make(&self, wish: &Wish) -> Vec<u8> {
        let recipe = Recipe {
            product: wish.product.to_owned(),
            version: wish.version.to_owned(),
            created: CREATED,
            rollback_index: wish.rollback_index,
            kernel: wish.kernel.then(|| self.dir.join("kernel.itb")),
            rootfs: wish.rootfs.then(|| self.dir.join("rootfs.tar")),
            sbom: None,
            recovery: wish.recovery.then(|| self.dir.join("recovery.itb")),
            minimum_recovery: wish.minimum_recovery.map(str::to_owned),
            compression: Compression::default(),
        };
        let key = PKey::private_key_from_pem(&fs::read(&self.key).unwrap()).unwrap();
        let signing = Signing::with_key(&fs::read(&self.chain).unwrap(), key).unwrap();
        let output = self.dir.join("x.dau");
        build(&recipe, Some(&signing), &output, &mut |_, _, _| {}).unwrap();
        fs::read(output).unwrap()
    }
}

/// A RecoveryOS of a version, as a FIT image.
pub fn recovery_os(version: &str) -> Vec<u8> {
    let kernel: Vec<u8> = version.bytes().cycle().take(KERNEL).collect();
    let digest = openssl::sha::sha256(&kernel);
    dau_boot_state::fit::testing::image(
        &format!("DAU {PRODUCT} {version} RecoveryOS"),
        &[("kernel", &kernel, Some(("sha256", &digest)))],
    )
}

fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}
