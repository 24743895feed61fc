//! `sign`, and the ways to sign in `build`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::common::{Bench, BUILD, SIGNED};

#[test]
fn keys_may_be_elsewhere() {
    for (algorithm, command) in [
        ("rsa", "test $DAU_ALGORITHM = rsa-sha256 && openssl dgst -sha256 -sign pki/package/signer.key"),
        // From the digest alone, as an HSM does.
        (
            "ecdsa",
            "test $DAU_ALGORITHM = ecdsa-p256-sha256 && perl -e 'print pack(q(H*), $ENV{DAU_SHA256})' \
             | openssl pkeyutl -sign -inkey pki/package/signer.key",
        ),
        (
            "ed25519",
            "cat > to-sign && openssl pkeyutl -sign -inkey pki/package/signer.key -rawin -in to-sign",
        ),
    ] {
        let bench = Bench::new(algorithm);
        let signer = ["--signer", "pki/package/signer.pem"];
        let created = ["--created", "2026-01-31T12:00:00Z"];
        let at_once = bench.build(&created);

        bench.run_well(&[&BUILD[..], &created, &["--unsigned"]].concat());
        let said = bench.run_badly(3, &["verify", "--keyring", "pki/keyring", "package.dau"]);
        assert!(said.contains("unsigned"), "{said}");
        bench.run_well(
            &[&["sign", "--command", command, "package.dau"][..], &signer].concat(),
        );
        let output = bench.verify();
        assert!(output.status.success(), "{algorithm}: {output:?}");
        if algorithm != "ecdsa" {
            let later = fs::read(bench.path("package.dau")).unwrap();
            assert!(later == at_once, "{algorithm}: signed later differs from signed at once");
        }

        // The manifest is carried to the signer, the signature back.
        bench.run_well(&[&BUILD[..], &created, &["--unsigned"]].concat());
        let carried = Command::new("sh")
            .args(["-c", "tar -xOf package.dau manifest.json | sh -c \"$COMMAND\" > manifest.sig"])
            .env("COMMAND", command)
            .env("DAU_ALGORITHM", format!("{algorithm}-sha256").replace("ecdsa", "ecdsa-p256"))
            .env("DAU_SHA256", manifest_sha256(&bench))
            .current_dir(bench.dir.path())
            .status()
            .unwrap();
        assert!(carried.success());
        let arguments = ["sign", "--signature", "manifest.sig", "-o", "signed.dau", "package.dau"];
        bench.run_well(&[&arguments[..], &signer].concat());
        bench.run_well(&["verify", "--keyring", "pki/keyring", "signed.dau"]);
        bench.run_badly(3, &["verify", "--keyring", "pki/keyring", "package.dau"]);
    }
}

fn manifest_sha256(bench: &Bench) -> String {
    let shown = bench.run_well(&["inspect", "--json", "package.dau"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["manifest_sha256"].as_str().unwrap().to_owned()
}

#[test]
fn a_command_that_fails_or_signs_something_else_signs_nothing() {
    let bench = Bench::new("ed25519");
    bench.run_well(&[&BUILD[..], &["--unsigned"]].concat());
    let before = fs::read(bench.path("package.dau")).unwrap();
    for (command, said) in [
        ("echo no >&2; exit 7", "exit status: 7"),
        ("head -c 64 /dev/zero", "does not fit"),
    ] {
        let arguments = [
            "sign",
            "--signer",
            "pki/package/signer.pem",
            "--command",
            command,
            "package.dau",
        ];
        let text = bench.run_badly(1, &arguments);
        assert!(text.contains(said), "{text}");
        assert!(fs::read(bench.path("package.dau")).unwrap() == before);
    }
}

#[test]
fn a_key_with_a_passphrase_is_used() {
    let bench = Bench::new("rsa");
    let encrypt =
        "openssl pkcs8 -topk8 -v2 aes256 -passout pass:secret -in pki/package/signer.key \
        -out locked.key";
    let status = Command::new("sh")
        .args(["-c", encrypt])
        .current_dir(bench.dir.path())
        .status();
    assert!(status.unwrap().success());
    fs::write(bench.path("passphrase"), "secret\n").unwrap();
    let with = |passphrase: &'static str| {
        let signing = ["--signer", "pki/package/signer.pem", "--key", "locked.key"];
        [&BUILD[..], &signing, &["--passphrase-file", passphrase]].concat()
    };
    bench.run_well(&with("passphrase"));
    fs::write(bench.path("wrong"), "guess\n").unwrap();
    assert!(bench.run_badly(1, &with("wrong")).contains("passphrase"));
}

#[test]
fn a_package_of_the_day_after_tomorrow_is_neither_made_nor_signed() {
    let bench = Bench::new("ed25519");
    let said = bench.run_badly(
        1,
        &[&BUILD[..], &SIGNED, &["--created", "2200-01-01T00:00:00Z"]].concat(),
    );
    assert!(
        said.contains("created") && said.contains("set the clock"),
        "{said}"
    );
    assert!(!bench.path("package.dau").exists());
}
