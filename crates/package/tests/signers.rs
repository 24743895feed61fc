//! Who is believed, and who is not.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use std::fs;

use common::{assert_refused, Bench, Parts, CREATED_UNIX};
use dau_package::make::{generate_key, issue, Issuer, Role, Template};
use dau_package::{Algorithm, Keyring, KeyringError};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::{X509Extension, X509};

const YEAR: i64 = 365 * 24 * 3600;

fn template(role: Role) -> Template<'static> {
    Template {
        common_name: "somebody",
        role,
        not_before: CREATED_UNIX - YEAR,
        not_after: CREATED_UNIX + YEAR,
    }
}

fn issuer(template: &Template<'_>, issuer: Option<&Issuer>) -> Issuer {
    let key = generate_key(Algorithm::Ed25519).unwrap();
    let certificate = issue(template, &key, issuer).unwrap();
    Issuer { certificate, key }
}

/// The package root of a bench, with its key.
fn root(bench: &Bench) -> Issuer {
    let file = |name: &str| fs::read(bench.path("pki/package").join(name)).unwrap();
    Issuer {
        certificate: X509::from_pem(&file("root.pem")).unwrap(),
        key: PKey::private_key_from_pem(&file("root.key")).unwrap(),
    }
}

/// A package by this signer, whose certificates are `chain`.
fn package(bench: &Bench, key: &PKey<Private>, chain: &[&X509]) -> Vec<u8> {
    let mut parts = Parts::new(bench);
    parts.key = key.clone();
    parts.chain = chain
        .iter()
        .flat_map(|certificate| certificate.to_pem().unwrap())
        .collect();
    parts.bytes()
}

#[test]
fn every_kind_of_key_is_accepted() {
    for algorithm in [
        Algorithm::RsaSha256,
        Algorithm::EcdsaP256Sha256,
        Algorithm::Ed25519,
    ] {
        let bench = Bench::new(algorithm);
        let verified = bench.verify(&bench.build(3000, 10_000)).unwrap();
        assert_eq!(verified.signer.algorithm, algorithm);
        assert_eq!(verified.signer.subject, "CN=dau development package signer");
        let certificate = X509::from_pem(&bench.chain).unwrap();
        let fingerprint = certificate.digest(MessageDigest::sha256()).unwrap();
        assert_eq!(
            verified.signer.fingerprint_sha256,
            common::hex(&fingerprint)
        );
    }
}

#[test]
fn signers_that_are_refused() {
    let bench = Bench::new(Algorithm::Ed25519);
    let root = root(&bench);
    let code_signing = || template(Role::CodeSigning);
    let by =
        |template: &Template<'_>, key: &PKey<Private>| issue(template, key, Some(&root)).unwrap();
    let key = generate_key(Algorithm::Ed25519).unwrap();
    let check = |attack: &str, key: &PKey<Private>, chain: &[&X509], word: &str| {
        assert_refused(&bench, attack, &package(&bench, key, chain), word);
    };

    // What all of the below start from.
    let good = by(&code_signing(), &key);
    bench.verify(&package(&bench, &key, &[&good])).unwrap();

    let other_key = generate_key(Algorithm::Ed25519).unwrap();
    check(
        "signature-by-another-key",
        &other_key,
        &[&good],
        "signature-invalid",
    );
    check(
        "self-signed",
        &key,
        &[&issue(&code_signing(), &key, None).unwrap()],
        "signer-unknown",
    );
    let other_root = issuer(&template(Role::Authority), None);
    let foreign = issue(&code_signing(), &key, Some(&other_root)).unwrap();
    check("chain-to-other-root", &key, &[&foreign], "signer-unknown");
    let chain = [&foreign, &other_root.certificate];
    check("chain-that-brings-its-root", &key, &chain, "signer-unknown");
    let impostor = Issuer {
        certificate: root.certificate.clone(),
        key: other_key.clone(),
    };
    let forged = issue(&code_signing(), &key, Some(&impostor)).unwrap();
    check(
        "chain-with-forged-signature",
        &key,
        &[&forged],
        "signer-unknown",
    );

    let not_code_signing = "signer-not-for-code-signing";
    check(
        "signer-without-code-signing",
        &key,
        &[&by(&template(Role::Client), &key)],
        not_code_signing,
    );
    let server = template(Role::Server(vec!["station".into()]));
    check(
        "station-certificate-as-signer",
        &key,
        &[&by(&server, &key)],
        not_code_signing,
    );
    check(
        "authority-as-signer",
        &key,
        &[&by(&template(Role::Authority), &key)],
        not_code_signing,
    );
    check(
        "root-as-signer",
        &root.key,
        &[&root.certificate],
        not_code_signing,
    );
    let leaf = Issuer {
        certificate: good.clone(),
        key: key.clone(),
    };
    let below = issue(&code_signing(), &other_key, Some(&leaf)).unwrap();
    check(
        "signer-as-authority",
        &other_key,
        &[&below, &good],
        "signer-unknown",
    );

    let expired = Template {
        not_after: CREATED_UNIX - 1,
        ..code_signing()
    };
    check(
        "expired-signer-at-creation",
        &key,
        &[&by(&expired, &key)],
        "signer-expired-at-creation",
    );
    let early = Template {
        not_before: CREATED_UNIX + 1,
        ..code_signing()
    };
    check(
        "signer-not-yet-valid-at-creation",
        &key,
        &[&by(&early, &key)],
        "signer-not-yet-valid-at-creation",
    );
    let old_authority = Template {
        not_after: CREATED_UNIX - 1,
        ..template(Role::Authority)
    };
    let authority = issuer(&old_authority, Some(&root));
    let below = issue(&code_signing(), &key, Some(&authority)).unwrap();
    let chain = [&below, &authority.certificate];
    check(
        "expired-intermediate-at-creation",
        &key,
        &chain,
        "signer-expired-at-creation",
    );

    let weak = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    check(
        "rsa-of-1024-bits",
        &weak,
        &[&by(&code_signing(), &weak)],
        "signer-key",
    );
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let curve = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    check(
        "curve-other-than-p256",
        &curve,
        &[&by(&code_signing(), &curve)],
        "signer-key",
    );
}

/// A certificate of any extensions, by the root of the bench.
fn custom(root: &Issuer, key: &PKey<Private>, extensions: Vec<X509Extension>) -> X509 {
    let plain = issue(&template(Role::Client), key, Some(root)).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(plain.serial_number()).unwrap();
    builder.set_subject_name(plain.subject_name()).unwrap();
    builder.set_issuer_name(plain.issuer_name()).unwrap();
    builder.set_not_before(plain.not_before()).unwrap();
    builder.set_not_after(plain.not_after()).unwrap();
    builder.set_pubkey(key).unwrap();
    let own = SubjectKeyIdentifier::new()
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    for extension in extensions.into_iter().chain([own]) {
        builder.append_extension(extension).unwrap();
    }
    builder.sign(&root.key, MessageDigest::null()).unwrap();
    builder.build()
}

#[test]
fn certificates_with_other_limits_are_refused() {
    let bench = Bench::new(Algorithm::Ed25519);
    let root = root(&bench);
    let key = generate_key(Algorithm::Ed25519).unwrap();
    let code_signing = || ExtendedKeyUsage::new().code_signing().build().unwrap();

    let encipherment = KeyUsage::new().key_encipherment().build().unwrap();
    let signer = custom(&root, &key, vec![encipherment, code_signing()]);
    let package_by_signer = package(&bench, &key, &[&signer]);
    let word = "signer-not-for-code-signing";
    assert_refused(
        &bench,
        "signer-for-encipherment-only",
        &package_by_signer,
        word,
    );

    let authority_key = generate_key(Algorithm::Ed25519).unwrap();
    let authority = |key: &PKey<Private>, more: Option<X509Extension>| {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        let certificate = custom(&root, key, [constraints].into_iter().chain(more).collect());
        Issuer {
            certificate,
            key: key.clone(),
        }
    };
    let package_below = |authority: &Issuer| {
        let signer = issue(&template(Role::CodeSigning), &key, Some(authority)).unwrap();
        package(&bench, &key, &[&signer, &authority.certificate])
    };
    bench
        .verify(&package_below(&authority(&authority_key, None)))
        .unwrap();
    bench
        .verify(&package_below(&authority(
            &authority_key,
            Some(code_signing()),
        )))
        .unwrap();
    let for_servers = ExtendedKeyUsage::new().server_auth().build().unwrap();
    let below = package_below(&authority(&authority_key, Some(for_servers)));
    assert_refused(
        &bench,
        "signer-below-an-authority-for-servers",
        &below,
        word,
    );
    let weak = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let below = package_below(&authority(&weak, None));
    assert_refused(
        &bench,
        "signer-below-a-weak-authority",
        &below,
        "signer-unknown",
    );
}

/// The terminal's clock plays no part: a certificate that has run out since, or one from the future, is judged at the time
/// of the package alone.
#[test]
fn certificates_are_judged_at_the_time_of_the_package() {
    let bench = Bench::new(Algorithm::Ed25519);
    let root = root(&bench);
    // The root of the bench is valid from 2020.
    for created in ["2021-06-01T00:00:00Z", "2055-06-01T00:00:00Z"] {
        let mut parts = Parts::new(&bench);
        parts.manifest.created = created.into();
        let time = parts.manifest.created_unix().unwrap();
        let brief = Template {
            not_before: time - 10,
            not_after: time + 10,
            ..template(Role::CodeSigning)
        };
        let signer = issuer(&brief, Some(&root));
        parts.key = signer.key;
        parts.chain = signer.certificate.to_pem().unwrap();
        bench.verify(&parts.bytes()).unwrap();
    }
}

#[test]
fn what_is_revoked_is_refused() {
    let mut bench = Bench::new(Algorithm::Ed25519);
    let package = bench.build(3000, 10_000);
    let chain = X509::stack_from_pem(&bench.chain).unwrap();
    let fingerprint =
        |certificate: &X509| common::hex(&certificate.digest(MessageDigest::sha256()).unwrap());
    let key = |certificate: &X509| {
        let der = certificate
            .public_key()
            .unwrap()
            .public_key_to_der()
            .unwrap();
        common::hex(&sha256(&der))
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

/// A keyring that cannot be read in full is none: a revocation that is overlooked would be worse than a refusal.
#[test]
fn keyrings_that_are_refused() {
    let bench = Bench::new(Algorithm::Ed25519);
    let dir = bench.pki.keyring();
    let load = || Keyring::load(&dir);
    fs::write(dir.join("revoked"), "certificate 1234\n").unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(error, KeyringError::Revoked { line: 1, .. }),
        "{error}"
    );
    fs::remove_file(dir.join("revoked")).unwrap();

    fs::write(dir.join("broken.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(matches!(load().unwrap_err(), KeyringError::Root { .. }));
    fs::copy(bench.pki.signer_chain(), dir.join("broken.pem")).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(
        text.contains("not self-signed") && text.contains("broken.pem"),
        "{text}"
    );

    fs::remove_file(dir.join("broken.pem")).unwrap();
    fs::remove_file(dir.join("root.pem")).unwrap();
    assert!(matches!(load().unwrap_err(), KeyringError::Empty { .. }));
    let missing = Keyring::load(&dir.join("missing")).unwrap_err();
    assert!(matches!(missing, KeyringError::Read { .. }));
}

/// Roots are exchanged by having both for a while.
#[test]
fn a_keyring_may_hold_several_roots() {
    let [old, new] = [
        Bench::new(Algorithm::RsaSha256),
        Bench::new(Algorithm::Ed25519),
    ];
    let packages = [old.build(3000, 5000), new.build(3000, 5000)];
    fs::copy(
        old.pki.keyring().join("root.pem"),
        new.pki.keyring().join("root-old.pem"),
    )
    .unwrap();
    let keyring = Keyring::load(&new.pki.keyring()).unwrap();
    let bench = Bench { keyring, ..new };
    for package in packages {
        bench.verify(&package).unwrap();
    }
}
