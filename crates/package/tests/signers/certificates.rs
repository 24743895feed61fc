//! Keys and certificates of a package's signer.

use crate::common::{assert_refused, Bench, Parts, CREATED_UNIX};
use dau_package::make::{generate_key, issue, Issuer, Role, Template};
use dau_package::Algorithm;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::{X509Extension, X509};

use super::{issuer, package, root, template};

#[test]
fn every_kind_of_key_is_accepted() {
    for algorithm in [
        Algorithm::RsaSha256,
        Algorithm::EcdsaP256Sha256,
        Algorithm::Ed25519,
    ] {
        let bench = Bench::new(algorithm);
        let verified = bench.verify(&bench.build(3000, 12_288)).unwrap();
        assert_eq!(verified.signer.algorithm, algorithm);
        assert_eq!(verified.signer.subject, "CN=dau development package signer");
        let certificate = X509::from_pem(&bench.chain).unwrap();
        let fingerprint = certificate.digest(MessageDigest::sha256()).unwrap();
        assert_eq!(
            verified.signer.fingerprint_sha256,
            dau_model::hex::encode(fingerprint)
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
pub fn custom(
    root: &Issuer,
    key: &PKey<Private>,
    public: Option<&PKey<Public>>,
    extensions: Vec<X509Extension>,
) -> X509 {
    let plain = issue(&template(Role::Client), key, Some(root)).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(plain.serial_number()).unwrap();
    builder.set_subject_name(plain.subject_name()).unwrap();
    builder.set_issuer_name(plain.issuer_name()).unwrap();
    builder.set_not_before(plain.not_before()).unwrap();
    builder.set_not_after(plain.not_after()).unwrap();
    match public {
        Some(public) => builder.set_pubkey(public).unwrap(),
        None => builder.set_pubkey(key).unwrap(),
    }
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
    let signer = custom(&root, &key, None, vec![encipherment, code_signing()]);
    let package_by_signer = package(&bench, &key, &[&signer]);
    let word = "signer-not-for-code-signing";
    assert_refused(
        &bench,
        "signer-for-encipherment-only",
        &package_by_signer,
        word,
    );

    let signs = || {
        let mut usage = KeyUsage::new();
        usage.digital_signature();
        usage
    };
    let ca = BasicConstraints::new().critical().ca().build().unwrap();
    let ca_not_critical = BasicConstraints::new().ca().build().unwrap();
    let certifies = signs().key_cert_sign().build().unwrap();
    for (attack, extensions) in [
        (
            "authority-that-signs-packages",
            vec![ca, signs().key_cert_sign().build().unwrap(), code_signing()],
        ),
        (
            "authority-without-key-cert-sign",
            vec![ca_not_critical, signs().build().unwrap(), code_signing()],
        ),
        ("signer-with-key-cert-sign", vec![certifies, code_signing()]),
    ] {
        let signer = custom(&root, &key, None, extensions);
        assert_refused(&bench, attack, &package(&bench, &key, &[&signer]), word);
    }
    let leaf = BasicConstraints::new().critical().build().unwrap();
    let usage = signs().build().unwrap();
    let signer = custom(&root, &key, None, vec![leaf, usage, code_signing()]);
    bench.verify(&package(&bench, &key, &[&signer])).unwrap();

    let authority_key = generate_key(Algorithm::Ed25519).unwrap();
    let authority = |key: &PKey<Private>, more: Option<X509Extension>| {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        let certificate = custom(
            &root,
            key,
            None,
            [constraints].into_iter().chain(more).collect(),
        );
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

/// The terminal's clock plays no part: a certificate that has run out since, or one from the
/// future, is judged at the time of the package alone.
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
