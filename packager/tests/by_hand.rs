//! The commands in docs/formats/package.md work on the packager's packages, and the packager
//! accepts packages made by them.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{fit_image, packager, Bench};

const DOCUMENT: &str = include_str!("../../docs/formats/package.md");

/// Returns the commands after the first line that ends with this.
fn commands(after: &str) -> &'static str {
    let text = DOCUMENT
        .split_once(&format!("{after}\n\n```sh\n"))
        .expect(after)
        .1;
    text.split_once("\n```").expect(after).0
}

/// Returns the last of these commands, which packs the archive.
fn last_command(after: &str) -> &'static str {
    let commands = commands(after);
    &commands[commands.rfind("\ntar ").expect(after)..]
}

fn run(dir: &Path, script: &str) -> Output {
    Command::new("sh")
        .args(["-euc", script])
        .current_dir(dir)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

#[track_caller]
fn run_well(dir: &Path, script: &str) -> String {
    let output = run(dir, script);
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

const CONTENTS: &str = "With a package `package.dau` and the root of its signers `root.pem`:";
const SIGNER: &str = "The signer, at the time of the package:";
const IMAGES: &str = "The images:";

fn signature_check(algorithm: &str) -> &'static str {
    match algorithm {
        "ed25519" => commands("The signature, by Ed25519:"),
        _ => commands("The signature, by RSA or ECDSA:"),
    }
}

#[test]
fn a_package_opens_and_checks_with_plain_tools() {
    for algorithm in ["rsa", "ecdsa", "ed25519"] {
        let bench = Bench::new(algorithm);
        bench.build(&[]);
        fs::copy(bench.path("pki/keyring/root.pem"), bench.path("root.pem")).unwrap();
        let dir = bench.dir.path();
        assert!(run_well(dir, commands(CONTENTS)).contains("system.tar: OK"));
        run_well(dir, signature_check(algorithm));
        assert!(run_well(dir, commands(SIGNER)).contains("signer.pem: OK"));
        // The packager's inputs must not be compared with themselves.
        let rootfs = fs::read(bench.path("rootfs.img")).unwrap();
        fs::remove_file(bench.path("kernel.itb")).unwrap();
        fs::remove_file(bench.path("rootfs.img")).unwrap();
        assert!(run_well(dir, commands(IMAGES)).contains("rootfs.img: OK"));
        assert!(fs::read(bench.path("kernel.itb")).unwrap() == fit_image(10_000));
        assert!(fs::read(bench.path("rootfs.img")).unwrap() == rootfs);
    }
}

#[test]
fn plain_tools_notice_a_package_that_was_tampered_with() {
    for algorithm in ["rsa", "ecdsa", "ed25519"] {
        let bench = Bench::new(algorithm);
        bench.build(&[]);
        let dir = bench.dir.path();
        run_well(dir, "tar -xf package.dau");
        run_well(dir, "sed -i 's/1.1.0/1.1.1/' manifest.json");
        assert!(
            !run(dir, signature_check(algorithm)).status.success(),
            "{algorithm}"
        );
    }
}

/// Makes a package without this project: keys, signature and archive come from openssl and tar.
#[test]
fn a_package_made_with_plain_tools_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("kernel.itb"), fit_image(10_000)).unwrap();
    run_well(dir, commands("A root and a signer, once:"));
    run_well(dir, commands("A package of a kernel:"));
    run_well(dir, "mkdir keyring && cp root.pem keyring/");
    let verify = || packager(dir, &["verify", "--keyring", "keyring", "package.dau"]);
    let output = verify();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("CN=Package signer (rsa-sha256)"), "{text}");

    // Revoked by the fingerprint that openssl prints.
    run_well(
        dir,
        "openssl x509 -in signer.pem -noout -fingerprint -sha256 | sed 's/.*=/certificate /' > \
         keyring/revoked",
    );
    let output = verify();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("signer-revoked"));
    run_well(
        dir,
        "openssl x509 -in signer.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum \
         | sed 's/ .*//; s/^/key /' > keyring/revoked",
    );
    assert_eq!(verify().status.code(), Some(3));
}

/// Ed25519 needs another command than the others.
#[test]
fn a_signature_by_openssl_alone_is_accepted() {
    for (algorithm, script) in [
        (
            "rsa",
            "openssl dgst -sha256 -sign $KEY -out manifest.sig manifest.json",
        ),
        (
            "ecdsa",
            "openssl dgst -sha256 -sign $KEY -out manifest.sig manifest.json",
        ),
        (
            "ed25519",
            "openssl pkeyutl -sign -inkey $KEY -rawin -in manifest.json -out manifest.sig",
        ),
    ] {
        let bench = Bench::new(algorithm);
        bench.build(&[]);
        let dir = bench.dir.path();
        let script = script.replace("$KEY", "pki/package/signer.key");
        run_well(
            dir,
            &format!(
                "tar -xf package.dau; rm manifest.sig package.dau; {script}; {}",
                last_command("A package of a kernel:")
            ),
        );
        let output = bench.verify();
        assert!(output.status.success(), "{algorithm}: {output:?}");
    }
}
