use std::fs::{self, File};
use std::path::{Path, PathBuf};

use dau_package::make::{self, Compression, Pki, PkiOptions, Recipe};
use dau_package::{Keyring, Manifest, PackageError};
use serde_json::Value;

use super::{rootfs_image, sign_again, tamper, with_file, Signatory, Tampering};
use crate::disk::Ext4;
use crate::process::{run, tool};

/// Makes a PKI and a small full package in `folder`.
fn genuine(folder: &Path) -> (Pki, PathBuf) {
    let pki = Pki::create(&folder.join("pki"), &PkiOptions::default()).unwrap();
    let mut kernel = vec![7; 300_000];
    kernel[..8].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 4, 0x93, 0xe0]);
    fs::write(folder.join("kernel.itb"), kernel).unwrap();
    let rootfs = folder.join("rootfs.img");
    let mut mkfs = tool("mkfs.ext4");
    run(mkfs.args(["-q", "-b", "4096"]).arg(&rootfs).arg("2M")).unwrap();
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
    let signing = Signatory::of(&pki).signing().unwrap();
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
