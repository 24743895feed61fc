//! The list of revoked signers.

use std::fs;

use crate::common::{assert_refused, Bench};
use dau_package::make::generate_key;
use dau_package::{Algorithm, Keyring};
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::x509::extension::ExtendedKeyUsage;
use openssl::x509::X509;

use super::certificates::custom;
use super::{package, root};

#[test]
fn what_is_revoked_is_refused() {
    let mut bench = Bench::new(Algorithm::Ed25519);
    let package = bench.build(3000, 12_288);
    let chain = X509::stack_from_pem(&bench.chain).unwrap();
    let fingerprint = |certificate: &X509| {
        dau_model::hex::encode(certificate.digest(MessageDigest::sha256()).unwrap())
    };
    let key = |certificate: &X509| {
        let der = certificate
            .public_key()
            .unwrap()
            .public_key_to_der()
            .unwrap();
        dau_model::hex::encode(sha256(&der))
    };
    let colons = fingerprint(&chain[0])
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap().to_owned())
        .collect::<Vec<_>>()
        .join(":");
    let lists = [
        (
            "revoked-signer",
            format!("certificate {}", fingerprint(&chain[0])),
        ),
        (
            "revoked-signer-as-openssl-prints-it",
            format!("# lost\ncertificate {colons} # 2026"),
        ),
        ("revoked-signer-key", format!("key {}", key(&chain[0]))),
        (
            "revoked-intermediate",
            format!("certificate\t{}\n", fingerprint(&chain[1])),
        ),
        (
            "revoked-intermediate-key",
            format!("key {}", key(&chain[1])),
        ),
    ];
    let revoked = bench.pki.keyring().join("revoked");
    for (attack, list) in lists {
        fs::write(&revoked, list).unwrap();
        bench.keyring = Keyring::load(&bench.pki.keyring()).unwrap();
        assert_refused(&bench, attack, &package, "signer-revoked");
    }
    fs::write(&revoked, format!("certificate {}", "0".repeat(64))).unwrap();
    bench.keyring = Keyring::load(&bench.pki.keyring()).unwrap();
    bench.verify(&package).unwrap();
}

/// A key can be written in several ways; a list may have any of them, and reaches all.
#[test]
fn a_revoked_key_is_refused_however_it_is_written() {
    let mut bench = Bench::new(Algorithm::Ed25519);
    let root = root(&bench);
    let key = generate_key(Algorithm::EcdsaP256Sha256).unwrap();
    let plain = key.public_key_to_der().unwrap();
    let ec = key.ec_key().unwrap();
    let forms = [
        PointConversionForm::UNCOMPRESSED,
        PointConversionForm::COMPRESSED,
        PointConversionForm::HYBRID,
    ];
    let mut numbers = BigNumContext::new().unwrap();
    let infos = forms.map(|form| {
        let point = ec.public_key().to_bytes(ec.group(), form, &mut numbers);
        let mut bits = point.unwrap();
        bits.insert(0, 0);
        let length = |bytes: &[u8]| bytes.len() as u8;
        // The algorithm stands before the bit string: 21 bytes for a named curve.
        let algorithm = &plain[2..23];
        let key = [&[3, length(&bits)], &bits[..]].concat();
        let content = [algorithm, &key].concat();
        [&[0x30, length(&content)], &content[..]].concat()
    });
    assert_eq!(infos[0], plain);
    let revoked = bench.pki.keyring().join("revoked");
    for (form, info) in infos.iter().enumerate() {
        let public = PKey::public_key_from_der(info).unwrap();
        let usage = ExtendedKeyUsage::new().code_signing().build().unwrap();
        let signer = custom(&root, &key, Some(&public), vec![usage]);
        let der = signer.to_der().unwrap();
        assert!(der.windows(info.len()).any(|found| found == info), "{form}");
        let package = package(&bench, &key, &[&signer]);
        fs::write(&revoked, "").unwrap();
        bench.keyring = Keyring::load(&bench.pki.keyring()).unwrap();
        bench.verify(&package).unwrap();
        for listed in &infos {
            let line = format!("key {}", dau_model::hex::encode(sha256(listed)));
            fs::write(&revoked, line).unwrap();
            bench.keyring = Keyring::load(&bench.pki.keyring()).unwrap();
            let attack = format!("revoked-key-in-form-{form}");
            assert_refused(&bench, &attack, &package, "signer-revoked");
        }
    }
}
