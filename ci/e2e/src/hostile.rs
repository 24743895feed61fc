//! Packages that a terminal must refuse, made from genuine ones. Each is named after the attack.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dau_package::make::{self, Compression, Pki, Recipe, Signing};
use dau_package::{member, Manifest};
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use serde_json::Value;
use tar::Archive;

use crate::disk::Ext4;

/// What is changed in a package without signing it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// A digit of the manifest's rollback index.
    Manifest,
    /// A bit of the signature.
    Signature,
    /// A byte in the signer's certificate.
    Signer,
    /// A bit of the kernel.
    Kernel,
    /// A bit of the root filesystem.
    Rootfs,
    /// A digit of the MD5 file.
    Md5,
    /// The end is missing.
    Cut,
    /// A second manifest follows.
    Trailing,
}

/// Where the members of a package lie in its file.
struct Members(Vec<(String, Range<usize>)>);

impl Members {
    fn of(bytes: &[u8]) -> Result<Self> {
        let mut archive = Archive::new(bytes);
        let mut members = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let start = usize::try_from(entry.raw_file_position())?;
            let end = start + usize::try_from(entry.size())?;
            members.push((entry.path()?.display().to_string(), start..end));
        }
        Ok(Members(members))
    }

    fn range(&self, name: &str) -> Result<Range<usize>> {
        let found = self.0.iter().find(|(member, _)| member == name);
        Ok(found
            .with_context(|| format!("no member {name}"))?
            .1
            .clone())
    }
}

/// Writes a tampered copy of a full package.
pub fn tamper(genuine: &Path, tampering: Tampering, output: &Path) -> Result<()> {
    let mut bytes = fs::read(genuine)?;
    let members = Members::of(&bytes)?;
    let middle = |range: Range<usize>| range.start + range.len() / 2;
    let payload = |name: &str| -> Result<usize> {
        let system = members.range(member::SYSTEM)?;
        let inner = Members::of(&bytes[system.clone()])?;
        Ok(system.start + middle(inner.range(name)?))
    };
    match tampering {
        Tampering::Manifest => {
            let range = members.range(member::MANIFEST)?;
            let at = find(&bytes[range.clone()], b"\"rollback_index\"")?;
            let digit = bytes[range.start + at..]
                .iter()
                .position(u8::is_ascii_digit);
            let digit = digit.context("the rollback index is a number")?;
            bytes[range.start + at + digit] ^= 1;
        }
        Tampering::Signature => {
            let at = middle(members.range(member::SIGNATURE)?);
            bytes[at] ^= 1;
        }
        Tampering::Signer => {
            let range = members.range(member::SIGNER)?;
            // In the middle of the first certificate's text, one letter for another.
            let at = range.start + range.len() / 4;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        }
        Tampering::Kernel => {
            let at = payload("kernel.itb")?;
            bytes[at] ^= 1;
        }
        Tampering::Rootfs => {
            let at = payload("rootfs.img.zst")?;
            bytes[at] ^= 1;
        }
        Tampering::Md5 => {
            let at = members.range(member::SYSTEM_MD5)?.start;
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        }
        Tampering::Cut => bytes.truncate(members.range(member::SYSTEM)?.end - 100_000),
        Tampering::Trailing => {
            let range = members.range(member::MANIFEST)?;
            let copy = bytes[range.start - 512..range.end].to_vec();
            bytes.extend(copy);
        }
    }
    fs::write(output, bytes).with_context(|| format!("cannot write {}", output.display()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Result<usize> {
    let found = bytes
        .windows(wanted.len())
        .position(|window| window == wanted);
    found.with_context(|| format!("'{}' is not there", String::from_utf8_lossy(wanted)))
}

/// Who signs a package again.
#[derive(Debug)]
pub struct Signatory {
    key: PathBuf,
    chain: PathBuf,
}

impl Signatory {
    /// The package signer of a development PKI.
    pub fn of(pki: &Pki) -> Self {
        Signatory {
            key: pki.signer_key(),
            chain: pki.signer_chain(),
        }
    }

    fn key(&self) -> Result<PKey<Private>> {
        let pem =
            fs::read(&self.key).with_context(|| format!("cannot read {}", self.key.display()))?;
        Ok(PKey::private_key_from_pem(&pem)?)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let key = self.key()?;
        let mut signer = match key.id() {
            Id::ED25519 => Signer::new_without_digest(&key)?,
            _ => Signer::new(openssl::hash::MessageDigest::sha256(), &key)?,
        };
        Ok(signer.sign_oneshot_to_vec(message)?)
    }
}

/// Writes a copy whose manifest was changed by `change` and is signed, rightly, by `signatory`. The MD5 file says what
/// the manifest says.
pub fn sign_again(
    genuine: &Path,
    signatory: &Signatory,
    output: &Path,
    change: impl FnOnce(&mut Value),
) -> Result<()> {
    let bytes = fs::read(genuine)?;
    let members = Members::of(&bytes)?;
    let mut manifest: Value = serde_json::from_slice(&bytes[members.range(member::MANIFEST)?])?;
    change(&mut manifest);
    let md5 = manifest["system"]["md5"]
        .as_str()
        .context("the manifest has an MD5")?
        .to_owned();
    let manifest = serde_json::to_vec(&manifest)?;
    let parts: [(&str, Vec<u8>); 5] = [
        (member::SIGNATURE, signatory.sign(&manifest)?),
        (member::SIGNER, fs::read(&signatory.chain)?),
        (
            member::SYSTEM,
            bytes[members.range(member::SYSTEM)?].to_vec(),
        ),
        (
            member::SYSTEM_MD5,
            format!("{md5}  {}\n", member::SYSTEM).into_bytes(),
        ),
        (member::MANIFEST, manifest),
    ];
    let mut archive = tar::Builder::new(File::create(output)?);
    for name in [
        member::MANIFEST,
        member::SIGNATURE,
        member::SIGNER,
        member::SYSTEM,
        member::SYSTEM_MD5,
    ] {
        let (_, content) = parts
            .iter()
            .find(|(part, _)| *part == name)
            .context("every member is there")?;
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, content.as_slice())?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

/// The bytes of a payload as they are stored in a package.
pub fn payload(package: &Path, name: &str) -> Result<Vec<u8>> {
    let bytes = fs::read(package)
        .with_context(|| format!("cannot read {}: run make image", package.display()))?;
    let system = Members::of(&bytes)?.range(member::SYSTEM)?;
    let system = &bytes[system];
    Ok(system[Members::of(system)?.range(name)?].to_vec())
}

/// The root filesystem of a package, unpacked.
pub fn rootfs_image(package: &Path) -> Result<Vec<u8>> {
    Ok(zstd::decode_all(
        payload(package, "rootfs.img.zst")?.as_slice(),
    )?)
}

/// Builds a package of a RecoveryOS, rightly signed; product and the rest are those of `genuine`.
pub fn recovery_package(
    genuine: &Path,
    signatory: &Signatory,
    recovery: &Path,
    output: &Path,
) -> Result<()> {
    let recipe = Recipe {
        recovery: Some(recovery.to_owned()),
        ..like(genuine)?
    };
    build(&recipe, signatory, output)
}

/// What `genuine` is made by, but for its payloads.
fn like(genuine: &Path) -> Result<Recipe> {
    let bytes = fs::read(genuine)?;
    let manifest = Manifest::from_json(&bytes[Members::of(&bytes)?.range(member::MANIFEST)?])?;
    Ok(Recipe {
        product: manifest.product.clone(),
        version: manifest.version.clone(),
        created: manifest.created_unix()?,
        rollback_index: manifest.rollback_index,
        kernel: None,
        rootfs: None,
        sbom: None,
        recovery: None,
        minimum_recovery: None,
        compression: Compression {
            level: 1,
            ..Compression::default()
        },
    })
}

fn build(recipe: &Recipe, signatory: &Signatory, output: &Path) -> Result<()> {
    let signing = Signing::with_key(&fs::read(&signatory.chain)?, signatory.key()?)?;
    make::build(recipe, Some(&signing), output, &mut |_, _, _| ())?;
    Ok(())
}

/// Builds a full package like `genuine`, rightly signed, whose root filesystem has one executable file more.
pub fn with_file(
    genuine: &Path,
    signatory: &Signatory,
    output: &Path,
    path: &str,
    content: &[u8],
) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let recipe = full(genuine, folder.path())?;
    let image = Ext4::image(recipe.rootfs.as_deref().context("no root filesystem")?)?;
    image.make_parents(path)?;
    image.write(path, content, "0100755")?;
    drop(image);
    build(&recipe, signatory, output)
}

/// Builds a full package like `genuine`, rightly signed, that brings the RecoveryOS in `recovery` along.
pub fn with_recovery(
    genuine: &Path,
    signatory: &Signatory,
    recovery: &Path,
    output: &Path,
) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let recipe = Recipe {
        recovery: Some(recovery.to_owned()),
        ..full(genuine, folder.path())?
    };
    build(&recipe, signatory, output)
}

/// How a full package like `genuine` is made, from its payloads as files in `folder`.
fn full(genuine: &Path, folder: &Path) -> Result<Recipe> {
    let (kernel, rootfs) = (folder.join("kernel.itb"), folder.join("rootfs.img"));
    fs::write(&kernel, payload(genuine, "kernel.itb")?)?;
    fs::write(&rootfs, rootfs_image(genuine)?)?;
    Ok(Recipe {
        kernel: Some(kernel),
        rootfs: Some(rootfs),
        ..like(genuine)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_package::make::PkiOptions;
    use dau_package::{Keyring, PackageError};

    /// A PKI and a small full package, both in `folder`.
    fn genuine(folder: &Path) -> (Pki, PathBuf) {
        let pki = Pki::create(&folder.join("pki"), &PkiOptions::default()).unwrap();
        let mut kernel = vec![7; 300_000];
        kernel[..8].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 4, 0x93, 0xe0]);
        fs::write(folder.join("kernel.itb"), kernel).unwrap();
        let rootfs = folder.join("rootfs.img");
        let mut mkfs = crate::process::tool("mkfs.ext4");
        crate::process::run(mkfs.args(["-q", "-b", "4096"]).arg(&rootfs).arg("2M")).unwrap();
        let recipe = Recipe {
            product: "p".into(),
            version: "1.1.0".into(),
            created: 1_769_860_800,
            rollback_index: 2,
            kernel: Some(folder.join("kernel.itb")),
            rootfs: Some(rootfs),
            sbom: None,
            recovery: None,
            minimum_recovery: None,
            compression: Compression::default(),
        };
        let signatory = Signatory::of(&pki);
        let chain = fs::read(&signatory.chain).unwrap();
        let signing = Signing::with_key(&chain, signatory.key().unwrap()).unwrap();
        let package = folder.join("genuine.dau");
        make::build(&recipe, Some(&signing), &package, &mut |_, _, _| ()).unwrap();
        (pki, package)
    }

    fn verdict(pki: &Pki, package: &Path) -> Result<Manifest, PackageError> {
        let keyring = Keyring::load(&pki.keyring()).unwrap();
        let file = File::open(package).unwrap();
        dau_package::verify(file, &keyring, &mut |_, _| ()).map(|verified| verified.manifest)
    }

    #[test]
    fn each_attack_is_the_one_that_it_is_named_after() {
        let dir = tempfile::tempdir().unwrap();
        let (pki, package) = genuine(dir.path());
        let hostile = dir.path().join("hostile.dau");
        for (tampering, word) in [
            (Tampering::Manifest, "signature-invalid"),
            (Tampering::Signature, "signature-invalid"),
            (Tampering::Kernel, "md5-mismatch"),
            (Tampering::Rootfs, "md5-mismatch"),
            (Tampering::Md5, "md5-mismatch"),
            (Tampering::Cut, "truncated"),
            (Tampering::Trailing, "trailing-bytes"),
        ] {
            tamper(&package, tampering, &hostile).unwrap();
            let error = verdict(&pki, &hostile).unwrap_err();
            assert_eq!(error.word(), word, "{tampering:?}: {error}");
        }
        tamper(&package, Tampering::Signer, &hostile).unwrap();
        assert!(verdict(&pki, &hostile).is_err());
    }

    #[test]
    fn a_package_signed_again_is_refused_for_its_change_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (pki, package) = genuine(dir.path());
        let hostile = dir.path().join("hostile.dau");
        let signatory = Signatory::of(&pki);
        let product = |manifest: &mut Value| manifest["product"] = "other".into();
        sign_again(&package, &signatory, &hostile, product).unwrap();
        assert_eq!(verdict(&pki, &hostile).unwrap().product, "other");
        let md5 = |manifest: &mut Value| manifest["system"]["md5"] = "0".repeat(32).into();
        sign_again(&package, &signatory, &hostile, md5).unwrap();
        assert_eq!(verdict(&pki, &hostile).unwrap_err().word(), "md5-mismatch");
        let other = Pki::create(&dir.path().join("other"), &PkiOptions::default()).unwrap();
        sign_again(&package, &Signatory::of(&other), &hostile, |_| ()).unwrap();
        assert_eq!(
            verdict(&pki, &hostile).unwrap_err().word(),
            "signer-unknown"
        );
    }

    #[test]
    fn a_file_more_in_the_root_filesystem_is_genuine() {
        let dir = tempfile::tempdir().unwrap();
        let (pki, package) = genuine(dir.path());
        let more = dir.path().join("more.dau");
        with_file(&package, &Signatory::of(&pki), &more, "/etc/d/x", b"hi").unwrap();
        verdict(&pki, &more).unwrap();
        let image = dir.path().join("more.img");
        fs::write(&image, rootfs_image(&more).unwrap()).unwrap();
        let image = Ext4::image(&image).unwrap();
        assert_eq!(image.text("/etc/d/x").unwrap(), "hi");
        assert_eq!(image.owner_and_mode("/etc/d/x").unwrap(), "0:0 0755");
    }
}
