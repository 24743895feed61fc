//! `verify`.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{Bench, BUILD, SIGNED};

#[test]
fn verify_tells_refusal_from_failure() {
    let bench = Bench::new("ed25519");
    let mut package = bench.build(&[]);
    let verify =
        |more: &[&'static str]| [&["verify", "--keyring", "pki/keyring"][..], more].concat();
    let accepted: Value =
        serde_json::from_str(&bench.run_well(&verify(&["--json", "package.dau"]))).unwrap();
    assert_eq!(accepted["accepted"], true);
    assert_eq!(accepted["signer"]["algorithm"], "ed25519");

    let middle = package.len() / 2;
    package[middle] ^= 1;
    fs::write(bench.path("package.dau"), &package).unwrap();
    let refused: Value =
        serde_json::from_str(&bench.run_badly(3, &verify(&["--json", "package.dau"]))).unwrap();
    assert_eq!(refused["accepted"], false);
    assert_eq!(refused["word"], "md5-mismatch");

    bench.run_badly(1, &verify(&["missing.dau"]));
    bench.run_badly(1, &["verify", "--keyring", "missing", "package.dau"]);
    bench.run_badly(2, &["verify", "package.dau"]);
}

/// A terminal would find out only in the middle of writing.
#[test]
fn verify_refuses_a_genuine_package_that_does_not_unpack() {
    let bench = Bench::new("rsa");
    bench.build(&[]);
    // A signer whose tool computed the digest of another image.
    let script = "tar -xf package.dau && \
        sed -i '/rootfs.img.zst/,/image_sha256/ s/\"image_sha256\": \"..../\"image_sha256\": \"0000/' manifest.json && \
        openssl dgst -sha256 -sign pki/package/signer.key -out manifest.sig manifest.json && \
        tar --format=ustar -cf package.dau manifest.json manifest.sig signer.pem system.tar system.tar.md5";
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(bench.dir.path())
        .status();
    assert!(status.unwrap().success());
    let said = bench.run_badly(3, &["verify", "--keyring", "pki/keyring", "package.dau"]);
    assert!(
        said.contains("image-mismatch") && said.contains("rootfs.img.zst"),
        "{said}"
    );
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    let bench = Bench::new("ed25519");
    bench.run_well(&[&BUILD[..], &SIGNED].concat());
    let mut other = fs::read(bench.path("package.dau")).unwrap();
    other[600] ^= 1;
    fs::write(bench.path("other.dau"), other).unwrap();
    for (args, status) in [
        (&["inspect", "package.dau"][..], 0),
        (&["verify", "--keyring", "pki/keyring", "package.dau"], 0),
        (&["verify", "--keyring", "pki/keyring", "other.dau"], 3),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dau-packager"))
            .args(args)
            .current_dir(bench.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    }
}
