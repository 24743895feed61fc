//! The files of a keyring.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{assert_refused, Bench};
use dau_package::make::{generate_key, issue, Issuer, Role};
use dau_package::{Algorithm, Keyring, KeyringError};
use openssl::pkey::PKey;

use super::{package, root, template};

/// A keyring that cannot be read in full is none: a revocation that is overlooked would be worse
/// than a refusal.
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
    assert!(matches!(load().unwrap_err(), KeyringError::File { .. }));
    fs::copy(bench.pki.signer_chain(), dir.join("broken.pem")).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(
        text.contains("not self-signed") && text.contains("broken.pem"),
        "{text}"
    );

    fs::remove_file(dir.join("broken.pem")).unwrap();
    load().unwrap();
    let root = fs::read(dir.join("root.pem")).unwrap();
    let crl = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let hash = "0".repeat(64);
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("Revoked", Vec::new(), "neither a root"),
        ("revoked.txt", Vec::new(), "neither a root"),
        ("revoked~", Vec::new(), "neither a root"),
        ("root.PEM", root.clone(), "neither a root"),
        ("root.crt", root.clone(), "neither a root"),
        ("README", Vec::new(), "neither a root"),
        (
            "list.pem",
            [&root[..], crl].concat(),
            "besides certificates",
        ),
        ("huge.pem", vec![b'\n'; (1 << 20) + 1], "larger than 1 MiB"),
        (
            "revoked",
            format!("# lost\rkey {hash}\r").into(),
            "control character",
        ),
        (
            "revoked",
            format!("# lost\u{2028}key {hash}\n").into(),
            "control character",
        ),
        ("revoked", b"\xFF\xFEk\0e\0y\0".to_vec(), "not UTF-8"),
    ];
    for (name, content, expected) in cases {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        let text = load().expect_err(name).to_string();
        assert!(text.contains(expected) && text.contains(name), "{text}");
        fs::remove_file(path).unwrap();
    }
    // Windows ends lines so, and nothing is lost.
    fs::write(dir.join("revoked"), format!("# lost\r\nkey {hash}\r\n")).unwrap();
    load().unwrap();
    fs::remove_file(dir.join("revoked")).unwrap();

    fs::remove_file(dir.join("root.pem")).unwrap();
    assert!(matches!(load().unwrap_err(), KeyringError::Empty { .. }));
    let missing = Keyring::load(&dir.join("missing")).unwrap_err();
    assert!(matches!(missing, KeyringError::Read { .. }));
}

/// Only a regular file can be read to its end; a pipe cannot even be opened.
#[test]
fn a_keyring_holds_files_alone() {
    use std::os::unix::fs::symlink;
    type Attack = fn(&Path);
    let attacks: [(&str, Attack); 6] = [
        ("pipe", |path| {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        }),
        ("link-to-a-device", |path| {
            symlink("/dev/zero", path).unwrap()
        }),
        ("link-to-itself", |path| symlink(path, path).unwrap()),
        ("link-to-nothing", |path| symlink("nothing", path).unwrap()),
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("socket", |path| {
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
    ];
    for (attack, make) in attacks {
        for name in ["x.pem", "revoked"] {
            let bench = Bench::new(Algorithm::Ed25519);
            make(&bench.pki.keyring().join(name));
            let text = Keyring::load(&bench.pki.keyring())
                .expect_err(attack)
                .to_string();
            assert!(text.contains(name), "{attack}: {text}");
        }
    }
    // Roots may be links, as configuration management lays them.
    let bench = Bench::new(Algorithm::Ed25519);
    let keyring = bench.pki.keyring();
    fs::rename(keyring.join("root.pem"), bench.path("root.pem")).unwrap();
    symlink(bench.path("root.pem"), keyring.join("root.pem")).unwrap();
    Keyring::load(&keyring).unwrap();
}

/// Parameters of RSA-PSS make endless names for one key, so no list of revoked keys could reach it.
#[test]
fn an_authority_with_a_key_of_endless_names_is_refused() {
    let bench = Bench::new(Algorithm::Ed25519);
    let root = root(&bench);
    let made = Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA-PSS"])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .unwrap();
    let authority = PKey::private_key_from_pem(&made.stdout).unwrap();
    let certificate = issue(&template(Role::Authority), &authority, Some(&root)).unwrap();
    let issuer = Issuer {
        certificate: certificate.clone(),
        key: authority,
    };
    let key = generate_key(Algorithm::Ed25519).unwrap();
    let signer = issue(&template(Role::CodeSigning), &key, Some(&issuer)).unwrap();
    let package = package(&bench, &key, &[&signer, &certificate]);
    assert_refused(&bench, "authority-of-rsa-pss", &package, "signer-key");
}

/// Roots are exchanged by having both for a while.
#[test]
fn a_keyring_may_hold_several_roots() {
    let [old, new] = [
        Bench::new(Algorithm::RsaSha256),
        Bench::new(Algorithm::Ed25519),
    ];
    let packages = [old.build(3000, 8192), new.build(3000, 8192)];
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
