//! Packages for tests: valid ones, and ones taken apart, changed and put together again.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use dau_model::{hex, Kind};
use dau_package::make::{build, Compression, Pki, PkiOptions, Recipe, Signing};
use dau_package::{
    Algorithm, Keyring, Manifest, PackageError, Payload, PayloadType, SystemTar, Verified, FORMAT,
};
use openssl::hash::{hash, MessageDigest};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use tar::EntryType;
use tempfile::TempDir;

pub const CREATED: &str = "2026-01-31T12:00:00Z";
pub const CREATED_UNIX: i64 = 1_769_860_800;

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(hash(MessageDigest::sha256(), bytes).unwrap())
}

pub fn md5(bytes: &[u8]) -> String {
    hex::encode(hash(MessageDigest::md5(), bytes).unwrap())
}

pub fn sign(key: &PKey<Private>, message: &[u8]) -> Vec<u8> {
    let mut signer = match Algorithm::of(key) {
        Ok(Algorithm::Ed25519) => Signer::new_without_digest(key).unwrap(),
        _ => Signer::new(MessageDigest::sha256(), key).unwrap(),
    };
    signer.sign_oneshot_to_vec(message).unwrap()
}

/// A PKI with its keyring, and a folder for files.
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

    /// Returns a full package made by the packager's own code, of a kernel of `kernel` bytes and an
    /// image of `rootfs`.
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

/// Returns bytes that count as a FIT image.
pub fn fit_image(size: usize) -> Vec<u8> {
    let mut image = noise(size.max(8));
    image[..4].copy_from_slice(&[0xD0, 0x0D, 0xFE, 0xED]);
    image[4..8].copy_from_slice(&(size as u32).to_be_bytes());
    image
}

/// Returns bytes that count as an ext4 image of 4096-byte blocks, partly compressible.
pub fn ext4_image(size: usize) -> Vec<u8> {
    let mut image = noise(size / 3);
    image.resize(size, 0);
    let mut set = |offset: usize, bytes: &[u8]| {
        image[1024 + offset..][..bytes.len()].copy_from_slice(bytes);
    };
    set(0, &[0; 1024]);
    set(0x4, &((size / 4096) as u32).to_le_bytes());
    set(0x18, &2_u32.to_le_bytes());
    set(0x38, &[0x53, 0xEF]);
    // Unmounted cleanly, dynamic revision, extents.
    set(0x3A, &[1, 0]);
    set(0x4C, &[1, 0, 0, 0]);
    set(0x60, &[0x42, 0, 0, 0]);
    image
}

/// Returns reproducible incompressible bytes.
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

/// A tar member of any type.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub entry_type: EntryType,
    pub mtime: i64,
}

impl Member {
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            entry_type: EntryType::Regular,
            mtime: CREATED_UNIX,
        }
    }

    /// Returns a header as written by `tar --format=ustar --owner=0 --group=0 --numeric-owner
    /// --mode=644 --mtime=@TIME`.
    fn header(&self) -> [u8; 512] {
        let mut header = [0; 512];
        let mut put = |offset: usize, bytes: &[u8]| {
            header[offset..][..bytes.len()].copy_from_slice(bytes);
        };
        put(0, &self.name);
        put(100, b"0000644\x000000000\x000000000\0");
        put(124, format!("{:011o}\0", self.content.len()).as_bytes());
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.entry_type.as_byte()]);
        if self.entry_type == EntryType::Symlink || self.entry_type == EntryType::Link {
            put(157, b"/etc/shadow");
        }
        put(257, b"ustar\x0000");
        put(329, b"0000000\x000000000\0");
        repair_checksum(&mut header);
        header
    }
}

/// Corrects the checksum of a tar header.
pub fn repair_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Returns a tar as ordinary tools write it, without the end mark.
pub fn tar_open(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend_from_slice(&member.header());
        bytes.extend_from_slice(&member.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = tar_open(members);
    bytes.resize((bytes.len() + 1024).next_multiple_of(10240), 0);
    bytes
}

/// The parts of a package. Parts that depend on others are computed at the end, unless they were
/// set.
#[derive(Clone)]
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
    /// Returns a small genuine package of a kernel alone.
    pub fn new(bench: &Bench) -> Self {
        let kernel = fit_image(700);
        let digest = sha256(&kernel);
        Self {
            manifest: Manifest {
                format: FORMAT,
                product: "qemu-aarch64".into(),
                version: "1.1.0".into(),
                kind: Kind::Kernel,
                created: CREATED.into(),
                rollback_index: 7,
                minimum_recovery: None,
                delta: None,
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

    /// Returns the five members. The signature covers whatever the parts are, so that only parts
    /// set by hand do not match.
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
        let mtime = self.manifest.created_unix().unwrap_or(CREATED_UNIX);
        let mut members = vec![
            Member::new("manifest.json", manifest),
            Member::new("manifest.sig", signature),
            Member::new("signer.pem", self.chain),
            Member::new("system.tar", self.system_bytes.unwrap_or(system)),
            Member::new("system.tar.md5", self.md5_file.unwrap_or(line.into_bytes())),
        ];
        members.iter_mut().for_each(|member| member.mtime = mtime);
        members
    }

    pub fn bytes(self) -> Vec<u8> {
        tar(&self.members())
    }
}

/// Asserts that a package is refused with this word; `attack` names it in failures.
pub fn assert_refused(bench: &Bench, attack: &str, package: &[u8], word: &str) {
    match bench.verify(package) {
        Ok(_) => panic!("{attack}: accepted"),
        Err(error) => assert_eq!(error.word(), word, "{attack}: {error}"),
    }
}

pub fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
