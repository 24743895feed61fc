//! `build`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::common::{fit_image, Bench, BUILD, SIGNED};

#[test]
fn kernel_rootfs_and_full_packages_are_made_by_what_is_given() {
    let bench = Bench::new("ed25519");
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
        let output = ["-o", "package.dau"];
        bench.run_well(&[&BUILD[..7], inputs, &output, &SIGNED].concat());
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
        &BUILD[..9],
        &["--recovery", "kernel.itb", "-o", "package.dau"],
    ]
    .concat();
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
    // Digest of the two bytes {}.
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
fn an_index_against_rollback_is_asked_for() {
    let bench = Bench::new("ed25519");
    let build: Vec<&str> = BUILD
        .into_iter()
        .filter(|word| !["--rollback-index", "7"].contains(word))
        .collect();
    let said = bench.run_badly(2, &[&build[..], &SIGNED].concat());
    assert!(said.contains("--rollback-index"), "{said}");
}

/// Broker and station would misunderstand them.
#[test]
fn names_that_no_terminal_can_have_are_refused() {
    let bench = Bench::new("ed25519");
    for id in ["station", ".", "..", "", "a/b", "+", "#", "a b"] {
        let said = bench.run_badly(1, &["keygen", "terminal", "--pki", "pki", "--id", id]);
        assert!(said.contains("terminal"), "{id}: {said}");
    }
    bench.run_well(&["keygen", "terminal", "--pki", "pki", "--id", "station-2"]);
}
