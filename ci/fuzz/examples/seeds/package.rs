//! Packages of a signer whose key is thrown away, attacks on them, and their manifests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dau_package::frames::FRAME_CONTENT;
use dau_package::make::{self, Compression, Pki, PkiOptions, Recipe, Signing};
use dau_package::{Head, Manifest};
use dau_rig::hostile::{self, Signatory, Tampering};
use serde_json::json;

use crate::images::{ext4, fit};
use crate::seed;

/// 2026-01-31T12:00:00Z
const CREATED: i64 = 1_769_860_800;

struct Maker {
    folder: PathBuf,
    signing: Signing,
}

impl Maker {
    fn build(&self, name: &str, parts: [Option<&Path>; 3]) -> Result<PathBuf> {
        let [kernel, rootfs, recovery] = parts.map(|part| part.map(Path::to_owned));
        let recipe = Recipe {
            product: "qemu-aarch64".into(),
            version: "1.1.0".into(),
            created: CREATED,
            rollback_index: 7,
            kernel,
            rootfs,
            sbom: None,
            minimum_recovery: recovery.is_some().then(|| "1.0.0".to_owned()),
            recovery,
            compression: Compression {
                level: 19,
                ..Compression::default()
            },
        };
        let output = self.folder.join(name);
        make::build(&recipe, Some(&self.signing), &output, &mut |_, _, _| ())?;
        Ok(output)
    }
}
/// Makes the seeds and returns the full package.
pub fn seeds(work: &Path) -> Result<PathBuf> {
    let pki = Pki::create(&work.join("pki"), &PkiOptions::default())?;
    let keyring = dau_fuzz::folder().join("keyring");
    fs::create_dir_all(&keyring)?;
    fs::copy(pki.keyring().join("root.pem"), keyring.join("root.pem"))?;
    let file = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        fs::write(work.join(name), bytes)?;
        Ok(work.join(name))
    };
    let (kernel, recovery) = (
        file("kernel.itb", &fit(600))?,
        file("recovery.itb", &fit(300))?,
    );
    let rootfs = file("rootfs.img", &ext4(FRAME_CONTENT + 8192))?;
    let key = openssl::pkey::PKey::private_key_from_pem(&fs::read(pki.signer_key())?)?;
    let maker = Maker {
        folder: work.to_owned(),
        signing: Signing::with_key(&fs::read(pki.signer_chain())?, key)?,
    };
    let full = maker.build("full.dau", [Some(&kernel), Some(&rootfs), Some(&recovery)])?;
    let small = maker.build("kernel.dau", [Some(&kernel), None, None])?;
    for (name, path) in [("genuine-full", &full), ("genuine-kernel", &small)] {
        let bytes = fs::read(path)?;
        let head = Head::parse(&bytes)?.context("a package has a head")?;
        seed("manifest", name, &head.manifest_bytes)?;
        seed("package", name, bytes)?;
    }
    for (name, tampering) in [
        ("attack-manifest-changed", Tampering::Manifest),
        ("attack-signature-changed", Tampering::Signature),
        ("attack-signer-changed", Tampering::Signer),
        ("attack-kernel-changed", Tampering::Kernel),
        ("attack-md5-changed", Tampering::Md5),
        ("attack-second-manifest", Tampering::Trailing),
    ] {
        let path = work.join(name);
        hostile::tamper(&small, tampering, &path)?;
        seed("package", name, fs::read(path)?)?;
    }
    let stranger = Pki::create(&work.join("stranger"), &PkiOptions::default())?;
    let path = work.join("stranger.dau");
    hostile::sign_again(&small, &Signatory::of(&stranger), &path, |_| ())?;
    seed("package", "attack-signed-by-a-stranger", fs::read(path)?)?;
    manifests(&fs::read(&full)?)?;
    Ok(full)
}

fn manifests(full: &[u8]) -> Result<()> {
    let head = Head::parse(full)?.context("a package has a head")?;
    let genuine: serde_json::Value = serde_json::from_slice(&head.manifest_bytes)?;
    let attack = |name: &str, pointer: &str, value: serde_json::Value| -> Result<()> {
        let mut manifest = genuine.clone();
        *manifest.pointer_mut(pointer).context("it is there")? = value;
        Manifest::from_json(&serde_json::to_vec(&manifest)?)
            .err()
            .with_context(|| format!("{name} is accepted"))?;
        seed("manifest", name, serde_json::to_vec(&manifest)?)
    };
    attack("attack-path-as-product", "/product", json!("../../etc"))?;
    attack("attack-huge-payload", "/payloads/0/size", json!(u64::MAX))?;
    attack(
        "attack-huge-image",
        "/payloads/1/image_size",
        json!(u64::MAX),
    )?;
    attack(
        "attack-other-member",
        "/payloads/0/name",
        json!("/etc/passwd"),
    )?;
    attack(
        "attack-made-before-1970",
        "/created",
        json!("1969-12-31T23:59:59Z"),
    )?;
    attack("attack-later-format", "/format", json!(2))?;
    attack("attack-word-as-object", "/kind", json!({"full": null}))?;
    let system = genuine["system"].as_object().context("it is there")?;
    let values: Vec<_> = system.values().cloned().collect();
    attack("attack-object-as-array", "/system", json!(values))?;
    attack(
        "attack-time-in-other-words",
        "/created",
        json!("2026-01-31 12:00:00Z"),
    )?;
    seed("manifest", "attack-deep", "[".repeat(10_000))
}
