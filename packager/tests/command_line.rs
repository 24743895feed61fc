//! The command line as the help describes it.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{fit_image, Bench, BUILD, SIGNED};
use serde_json::Value;

#[test]
fn kernel_rootfs_and_full_packages_are_made_by_what_is_given() {
    let bench = Bench::new("ed25519");
    let common = [
        "build",
        "--product",
        "p",
        "--version",
        "1",
        "-o",
        "package.dau",
    ];
    for (kind, inputs) in [
        ("kernel", &["--kernel", "kernel.itb"][..]),
        ("rootfs", &["--rootfs", "rootfs.img"]),
        (
            "full",
            &["--rootfs", "rootfs.img", "--kernel", "kernel.itb"],
        ),
        ("recovery", &["--recovery", "kernel.itb"]),
        (
            "full",
            &[
                "--kernel",
                "kernel.itb",
                "--rootfs",
                "rootfs.img",
                "--recovery",
                "kernel.itb",
            ],
        ),
    ] {
        bench.run_well(&[&common[..], inputs, &SIGNED].concat());
        assert!(bench.verify().status.success());
        let shown: Value =
            serde_json::from_str(&bench.run_well(&["inspect", "--json", "package.dau"])).unwrap();
        assert_eq!(shown["manifest"]["kind"], kind);
        assert_eq!(shown["signed"], true);
        assert_eq!(
            shown["signer"][0]["subject"],
            "CN=dau development package signer"
        );
    }
}

#[test]
fn a_recovery_os_travels_alone_or_with_both_others_and_can_be_demanded() {
    let bench = Bench::new("ed25519");
    let only_kernel = [
        "build",
        "--product",
        "p",
        "--version",
        "1",
        "--kernel",
        "kernel.itb",
        "--recovery",
        "kernel.itb",
        "-o",
        "package.dau",
    ];
    let said = bench.run_badly(1, &[&only_kernel[..], &SIGNED].concat());
    assert!(said.contains("RecoveryOS travels alone"), "{said}");
    bench.build(&["--minimum-recovery", "1.0.0"]);
    let shown: Value =
        serde_json::from_str(&bench.run_well(&["inspect", "--json", "package.dau"])).unwrap();
    assert_eq!(shown["manifest"]["minimum_recovery"], "1.0.0");
    let text = bench.run_well(&["inspect", "package.dau"]);
    assert!(text.contains("RecoveryOS      1.0.0 or later"), "{text}");
}

#[test]
fn the_digest_of_the_bill_of_materials_is_signed() {
    let bench = Bench::new("ed25519");
    fs::write(bench.path("sbom.spdx.json"), "{}").unwrap();
    bench.build(&["--sbom", "sbom.spdx.json"]);
    assert!(bench.verify().status.success());
    let shown: Value =
        serde_json::from_str(&bench.run_well(&["inspect", "--json", "package.dau"])).unwrap();
    // Of the two bytes {}.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(shown["manifest"]["sbom_sha256"], digest);
    bench.build(&[]);
    let text = bench.run_well(&["inspect", "--json", "package.dau"]);
    assert!(!text.contains("sbom"), "{text}");
}

#[test]
fn equal_inputs_and_time_make_equal_packages() {
    for algorithm in ["rsa", "ed25519"] {
        let bench = Bench::new(algorithm);
        let build = |threads: &str, epoch: &str| {
            let status = Command::new(env!("CARGO_BIN_EXE_dau-packager"))
                .args(BUILD)
                .args(SIGNED)
                .args(["--threads", threads])
                .current_dir(bench.dir.path())
                .env("SOURCE_DATE_EPOCH", epoch)
                .output()
                .unwrap()
                .status;
            assert!(status.success());
            fs::read(bench.path("package.dau")).unwrap()
        };
        let package = build("1", "1769860800");
        assert!(
            package == build("3", "1769860800"),
            "{algorithm}: threads show"
        );
        assert!(
            package != build("1", "1769860801"),
            "{algorithm}: the time plays no part"
        );
        let asked = bench.build(&["--created", "2026-01-31T12:00:00Z"]);
        assert!(
            package == asked,
            "{algorithm}: --created is not SOURCE_DATE_EPOCH"
        );
    }
}

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

        // The manifest is carried there, the signature back.
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
    let encrypt = "openssl pkcs8 -topk8 -v2 aes256 -passout pass:secret -in pki/package/signer.key -out locked.key";
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

/// A terminal would find out only half-way through writing.
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
fn bad_input_is_refused_and_the_old_package_stays() {
    let bench = Bench::new("ed25519");
    let before = bench.build(&[]);
    fs::write(bench.path("kernel.itb"), "not a kernel").unwrap();
    let said = bench.run_badly(1, &[&BUILD[..], &SIGNED].concat());
    assert!(
        said.contains("kernel.itb") && said.contains("FIT image"),
        "{said}"
    );
    fs::write(bench.path("kernel.itb"), fit_image(100)).unwrap();
    let product = [&["build", "--product", "a/b"][..], &BUILD[3..], &SIGNED].concat();
    assert!(bench.run_badly(1, &product).contains("product"));
    assert!(fs::read(bench.path("package.dau")).unwrap() == before);

    for wrong in [
        &["build"][..],
        &BUILD,
        &[&BUILD[..], &SIGNED, &["--unsigned"]].concat(),
        &[&BUILD[..], &SIGNED, &["--level", "20"]].concat(),
    ] {
        bench.run_badly(2, wrong);
    }
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let bench = Bench::new("ecdsa");
    let key = |name: &str| fs::read(bench.path(name)).unwrap();
    let signer = key("pki/package/signer.key");
    assert!(bench
        .run_badly(1, &["keygen", "--out", "pki"])
        .contains("never overwritten"));
    bench.run_well(&["keygen", "terminal", "--pki", "pki", "--id", "T1"]);
    let terminal = key("pki/tls/terminals/T1.key");
    bench.run_badly(1, &["keygen", "terminal", "--pki", "pki", "--id", "T1"]);
    bench.run_badly(
        1,
        &["keygen", "terminal", "--pki", "pki", "--id", "../../T1"],
    );
    bench.run_badly(1, &["keygen", "terminal", "--pki", "missing", "--id", "T1"]);
    assert_eq!(
        (
            key("pki/package/signer.key"),
            key("pki/tls/terminals/T1.key")
        ),
        (signer, terminal)
    );

    let find = "find pki -name '*.key' -printf '%m %p\\n'";
    let listed = Command::new("sh")
        .args(["-c", find])
        .current_dir(bench.dir.path())
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert_eq!(listed.lines().count(), 8);
    assert!(
        listed.lines().all(|line| line.starts_with("600 ")),
        "{listed}"
    );
    let package = fs::metadata(bench.path("pki/keyring/root.pem")).unwrap();
    assert_eq!(package.permissions().mode() & 0o777, 0o644);
}

/// As TLS libraries will: names of the station, and what each certificate may be used for.
#[test]
fn tls_certificates_are_for_what_they_are_named_after() {
    let bench = Bench::new("ed25519");
    let names = [
        "--station-name",
        "station.example",
        "--station-name",
        "192.0.2.7",
        "--terminal",
        "T20SHEIRI001",
    ];
    bench.run_well(&[&["keygen", "--out", "other"][..], &names].concat());
    let verify = |certificate: &str, options: &str| {
        let script = format!(
            "openssl verify -CAfile other/tls/ca.pem {options} other/tls/{certificate}.pem"
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(bench.dir.path())
            .output();
        output.unwrap().status.success()
    };
    for server in ["station", "broker"] {
        assert!(verify(
            server,
            "-purpose sslserver -verify_hostname station.example"
        ));
        assert!(verify(server, "-purpose sslserver -verify_ip 192.0.2.7"));
        assert!(!verify(server, "-verify_hostname localhost"));
        assert!(!verify(server, "-purpose sslclient"));
    }
    for client in ["station-mqtt", "terminals/T20SHEIRI001"] {
        assert!(verify(client, "-purpose sslclient"));
        assert!(!verify(client, "-purpose sslserver"));
    }
    let shown = "openssl x509 -noout -subject -in other/tls/terminals/T20SHEIRI001.pem";
    let shown = Command::new("sh")
        .args(["-c", shown])
        .current_dir(bench.dir.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout).trim(),
        "subject=CN = T20SHEIRI001"
    );
}
