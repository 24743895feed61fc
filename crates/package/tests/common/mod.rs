//! Packages made for tests: good ones, and ones taken apart, changed, and put together again.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use dau_package::make::{build, Compression, Pki, PkiOptions, Recipe, Signing};
use dau_package::{
    Algorithm, Keyring, Manifest, PackageError, PackageKind, Payload, PayloadType, SystemTar,
    Verified, FORMAT,
};
use openssl::hash::{hash, MessageDigest};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use tar::{EntryType, Header};
use tempfile::TempDir;

pub const CREATED: &str = "2026-01-31T12:00:00Z";
pub const CREATED_UNIX: i64 = 1_769_860_800;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&hash(MessageDigest::sha256(), bytes).unwrap())
}

pub fn md5(bytes: &[u8]) -> String {
    hex(&hash(MessageDigest::md5(), bytes).unwrap())
}

pub fn sign(key: &PKey<Private>, message: &[u8]) -> Vec<u8> {
    let mut signer = match Algorithm::of(key) {
        Ok(Algorithm::Ed25519) => Signer::new_without_digest(key).unwrap(),
        _ => Signer::new(MessageDigest::sha256(), key).unwrap(),
    };
    signer.sign_oneshot_to_vec(message).unwrap()
}

/// A PKI, its keyring and a place for files.
pub struct Bench {
    pub dir: TempDir,
    pub pki: Pki,
    pub keyring: Keyring,
    pub key: PKey<Private>,
    pub chain: Vec<u8>,
}

impl Bench {
    pub fn new(algorithm: Algorithm) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = PkiOptions {
            algorithm,
            ..PkiOptions::default()
        };
        let pki = Pki::create(&dir.path().join("pki"), &options).unwrap();
        Self {
            keyring: Keyring::load(&pki.keyring()).unwrap(),
            key: PKey::private_key_from_pem(&fs::read(pki.signer_key()).unwrap()).unwrap(),
            chain: fs::read(pki.signer_chain()).unwrap(),
            dir,
            pki,
        }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn signing(&self) -> Signing {
        Signing::with_key(&self.chain, self.key.clone()).unwrap()
    }

    /// A full package made by the packager's own code, of a kernel of `kernel` bytes and an image of `rootfs`.
    pub fn build(&self, kernel: usize, rootfs: usize) -> Vec<u8> {
        fs::write(self.path("kernel.itb"), fit_image(kernel)).unwrap();
        fs::write(self.path("rootfs.img"), ext4_image(rootfs)).unwrap();
        let output = self.path("package.dau");
        let signing = self.signing();
        build(&self.recipe(), Some(&signing), &output, &mut |_, _, _| ()).unwrap();
        fs::read(&output).unwrap()
    }

    pub fn recipe(&self) -> Recipe {
        Recipe {
            product: "qemu-aarch64".into(),
            version: "1.1.0".into(),
            created: CREATED_UNIX,
            rollback_index: 7,
            kernel: Some(self.path("kernel.itb")),
            rootfs: Some(self.path("rootfs.img")),
            sbom: None,
            recovery: None,
            minimum_recovery: None,
            compression: Compression {
                level: 1,
                threads: 2,
            },
        }
    }

    pub fn verify(&self, package: &[u8]) -> Result<Verified, PackageError> {
        dau_package::verify(Cursor::new(package), &self.keyring, &mut |_, _| ())
    }
}

/// Bytes that pass for a FIT image.
pub fn fit_image(size: usize) -> Vec<u8> {
    let mut image = noise(size.max(8));
    image[..4].copy_from_slice(&[0xD0, 0x0D, 0xFE, 0xED]);
    image[4..8].copy_from_slice(&(size as u32).to_be_bytes());
    image
}

/// Bytes that pass for an ext4 image of 4096-byte blocks, of a part that compresses and one that does not.
pub fn ext4_image(size: usize) -> Vec<u8> {
    let mut image = noise(size.max(4096) / 3);
    image.resize(size.max(4096), 0);
    image[1028..1032].copy_from_slice(&((size / 4096) as u32).to_le_bytes());
    image[1048..1052].copy_from_slice(&2_u32.to_le_bytes());
    image[1080..1082].copy_from_slice(&[0x53, 0xEF]);
    image
}

/// Bytes that do not compress and are always the same.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A member of a tar, of whatever kind.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub entry_type: EntryType,
}

impl Member {
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            entry_type: EntryType::Regular,
        }
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(self.content.len() as u64);
        header.set_entry_type(self.entry_type);
        if self.entry_type == EntryType::Symlink || self.entry_type == EntryType::Link {
            header.set_link_name("/etc/shadow").unwrap();
        }
        // Written directly: the tar crate refuses the names that attacks need.
        header.as_old_mut().name[..self.name.len()].copy_from_slice(&self.name);
        header.set_cksum();
        header
    }
}

/// A tar as it is written by ordinary tools, up to the end mark.
pub fn tar_open(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend_from_slice(member.header().as_bytes());
        bytes.extend_from_slice(&member.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = tar_open(members);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A package in parts. What depends on another part is computed when it is put together, unless it was set.
pub struct Parts {
    pub manifest: Manifest,
    pub system: Vec<Member>,
    pub system_bytes: Option<Vec<u8>>,
    pub manifest_bytes: Option<Vec<u8>>,
    pub signature: Option<Vec<u8>>,
    pub md5_file: Option<Vec<u8>>,
    pub key: PKey<Private>,
    pub chain: Vec<u8>,
}

impl Parts {
    /// A small package of a kernel alone, genuine in all its parts.
    pub fn new(bench: &Bench) -> Self {
        let kernel = fit_image(700);
        let digest = sha256(&kernel);
        Self {
            manifest: Manifest {
                format: FORMAT,
                product: "qemu-aarch64".into(),
                version: "1.1.0".into(),
                kind: PackageKind::Kernel,
                created: CREATED.into(),
                rollback_index: 7,
                minimum_recovery: None,
                payloads: vec![Payload {
                    name: "kernel.itb".into(),
                    payload_type: PayloadType::Kernel,
                    size: 700,
                    sha256: digest.clone(),
                    image_size: 700,
                    image_sha256: digest,
                }],
                system: SystemTar {
                    size: 0,
                    md5: String::new(),
                    sha256: String::new(),
                },
                sbom_sha256: None,
            },
            system: vec![Member::new("kernel.itb", kernel)],
            system_bytes: None,
            manifest_bytes: None,
            signature: None,
            md5_file: None,
            key: bench.key.clone(),
            chain: bench.chain.clone(),
        }
    }

    /// The five members. The signer signs whatever the parts are: only what was set by hand does not fit.
    pub fn members(mut self) -> Vec<Member> {
        let system = tar(&self.system);
        for (value, found) in [
            (&mut self.manifest.system.md5, md5(&system)),
            (&mut self.manifest.system.sha256, sha256(&system)),
        ] {
            if value.is_empty() {
                *value = found;
            }
        }
        if self.manifest.system.size == 0 {
            self.manifest.system.size = system.len() as u64;
        }
        let manifest = self
            .manifest_bytes
            .unwrap_or_else(|| self.manifest.to_json());
        let signature = self.signature.unwrap_or_else(|| sign(&self.key, &manifest));
        let line = format!("{}  system.tar\n", self.manifest.system.md5);
        vec![
            Member::new("manifest.json", manifest),
            Member::new("manifest.sig", signature),
            Member::new("signer.pem", self.chain),
            Member::new("system.tar", self.system_bytes.unwrap_or(system)),
            Member::new("system.tar.md5", self.md5_file.unwrap_or(line.into_bytes())),
        ]
    }

    pub fn bytes(self) -> Vec<u8> {
        tar(&self.members())
    }
}

/// Asserts that a package is refused with this word, and says by whose attack it was not.
pub fn assert_refused(bench: &Bench, attack: &str, package: &[u8], word: &str) {
    match bench.verify(package) {
        Ok(_) => panic!("{attack}: accepted"),
        Err(error) => assert_eq!(error.word(), word, "{attack}: {error}"),
    }
}

pub fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
