//! Packages of a trusted signer that contain signed untruths.

use std::fs;

use dau_package::make::{build, Compression, Recipe, Signing};
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{json, Value};

use crate::site::{Site, PRODUCT};

const BLOCK: usize = 512;

/// Returns the beginning of an ext4 image, as far as terminals check it.
fn image() -> Vec<u8> {
    let mut image = vec![0; 1 << 20];
    let mut set = |offset: usize, bytes: &[u8]| {
        image[1024 + offset..][..bytes.len()].copy_from_slice(bytes);
    };
    set(0x4, &256_u32.to_le_bytes());
    set(0x18, &2_u32.to_le_bytes());
    set(0x38, &[0x53, 0xEF, 1, 0]);
    set(0x4C, &[1, 0, 0, 0]);
    set(0x60, &[0x42, 0, 0, 0]);
    image
}

/// Returns a signed package of a root filesystem with another value for `member` in its manifest.
fn package(site: &Site, member: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let rootfs = site.path("rootfs.img");
    fs::write(&rootfs, image()).unwrap();
    let recipe = Recipe {
        product: PRODUCT.to_owned(),
        version: "1.1.0".to_owned(),
        created: 1_790_000_000,
        rollback_index: 5,
        kernel: None,
        rootfs: Some(rootfs),
        sbom: None,
        recovery: None,
        minimum_recovery: None,
        compression: Compression::default(),
    };
    let chain = fs::read(site.pki.signer_chain()).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(site.pki.signer_key()).unwrap()).unwrap();
    let signing = Signing::with_key(&chain, key.clone()).unwrap();
    let path = site.path("hostile.dau");
    build(&recipe, Some(&signing), &path, &mut |_, _, _| {}).unwrap();

    let mut package = fs::read(path).unwrap();
    let octal = std::str::from_utf8(&package[124..135]).unwrap();
    let size = usize::from_str_radix(octal.trim(), 8).unwrap();
    let manifest = String::from_utf8(package[BLOCK..BLOCK + size].to_vec()).unwrap();
    let (before, rest) = manifest.split_once(&format!("\"{member}\"")).unwrap();
    let (colon, value, after) = {
        let mut parts = rest.splitn(3, '"');
        (
            parts.next().unwrap(),
            parts.next().unwrap(),
            parts.next().unwrap(),
        )
    };
    let changed = format!("{before}\"{member}\"{colon}\"{}\"{after}", change(value));
    assert_eq!(changed.len(), size);
    // Ed25519: all signatures have the same length.
    let mut signer = Signer::new_without_digest(&key).unwrap();
    let signature = signer.sign_oneshot_to_vec(changed.as_bytes()).unwrap();
    package[BLOCK..BLOCK + size].copy_from_slice(changed.as_bytes());
    let at = BLOCK + size.next_multiple_of(BLOCK) + BLOCK;
    package[at..at + signature.len()].copy_from_slice(&signature);
    package
}

fn upload(site: &Site, package: &[u8]) -> (u16, Value) {
    let path = site.path("upload.dau");
    fs::write(&path, package).unwrap();
    let (status, answer) = site.upload(&path);
    (status, answer["error"].clone())
}

#[test]
fn attack_signed_untruths_are_refused() {
    let site = Site::start();
    let lies = package(&site, "image_sha256", |_| "5".repeat(64));
    assert_eq!(upload(&site, &lies), (422, json!("image-mismatch")));
    // Far beyond any test's clock, but a valid time for a package.
    let ahead = package(&site, "created", |_| "2241-01-31T12:00:00Z".to_owned());
    assert_eq!(upload(&site, &ahead).0, 422);
    let truth = package(&site, "created", str::to_owned);
    assert_eq!(upload(&site, &truth), (201, Value::Null));
}
