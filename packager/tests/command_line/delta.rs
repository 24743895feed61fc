//! `delta` and `apply`.

use std::fs;

use crate::common::{Bench, SIGNED};

const DELTA: [&str; 5] = ["delta", "old.dau", "new.dau", "--output", "x.delta.dau"];
const APPLY: [&str; 5] = [
    "apply",
    "--keyring",
    "pki/keyring",
    "old.dau",
    "x.delta.dau",
];

/// A folder with old.dau, new.dau and the delta between them.
fn bench() -> Bench {
    let bench = Bench::new("ed25519");
    fs::write(bench.path("old.dau"), bench.build(&[])).unwrap();
    let mut kernel = fs::read(bench.path("kernel.itb")).unwrap();
    kernel[5000..5100].fill(7);
    fs::write(bench.path("kernel.itb"), kernel).unwrap();
    fs::write(bench.path("new.dau"), bench.build(&[])).unwrap();
    let said = bench.run_well(&[&DELTA[..], &SIGNED].concat());
    assert!(said.contains("of the whole package"), "{said}");
    bench
}

/// Returns the line that `inspect` prints of a package's own digest.
fn digest(bench: &Bench, package: &str) -> String {
    let said = bench.run_well(&["inspect", package]);
    let line = said.lines().find(|line| line.starts_with("manifest "));
    line.unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_delta_names_both_packages_and_makes_the_new_one() {
    let bench = bench();
    let said = bench.run_well(&["inspect", "x.delta.dau"]);
    for package in ["old.dau", "new.dau"] {
        let digest = digest(&bench, package);
        assert!(said.contains(&format!("SHA-256 {digest}")), "{said}");
    }
    let said = bench.run_well(&[&APPLY[..], &["--output", "rebuilt.dau"]].concat());
    assert!(said.contains("qemu-aarch64 1.1.0"), "{said}");
    let rebuilt = fs::read(bench.path("rebuilt.dau")).unwrap();
    let new = fs::read(bench.path("new.dau")).unwrap();
    assert_eq!(rebuilt[..512], new[..512], "the same manifest");
    // Terminals keep that form; nobody hands it on.
    let said = bench.run_badly(3, &["verify", "--keyring", "pki/keyring", "rebuilt.dau"]);
    assert!(said.contains("unexpected-member"), "{said}");
}

#[test]
fn what_is_at_the_place_of_the_output_stays_unless_a_whole_package_replaces_it() {
    let bench = bench();
    let old = fs::read(bench.path("old.dau")).unwrap();
    // The base of another delta, named as output by mistake.
    let wrong = [
        "apply",
        "--keyring",
        "pki/keyring",
        "new.dau",
        "x.delta.dau",
    ];
    let said = bench.run_badly(3, &[&wrong[..], &["--output", "old.dau"]].concat());
    assert!(said.contains("delta-base"), "{said}");
    assert_eq!(fs::read(bench.path("old.dau")).unwrap(), old);
    // Even the base itself may be replaced.
    bench.run_well(&[&APPLY[..], &["--output", "old.dau"]].concat());
    assert_ne!(fs::read(bench.path("old.dau")).unwrap(), old);
    let names = fs::read_dir(bench.dir.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().starts_with(".tmp")),
        "{names:?}"
    );
}

#[test]
fn no_delta_is_made_from_a_package_to_itself() {
    let bench = bench();
    let nothing_changes = ["delta", "new.dau", "new.dau", "--output", "y.dau"];
    bench.run_badly(1, &[&nothing_changes[..], &SIGNED].concat());
    assert!(!bench.path("y.dau").exists());
}
