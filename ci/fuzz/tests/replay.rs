//! Every seed keeps every promise of its target: what the fuzzer starts from, and whatever it has found so far.

use std::fs;
use std::sync::Mutex;

use dau_fuzz::{folder, TARGETS};
use dau_package::Keyring;

/// Memory is measured: nothing else may run meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn every_seed_keeps_the_promises_of_its_target() {
    let _alone = ALONE.lock().unwrap();
    for target in TARGETS {
        let seeds = folder().join("seeds").join(target.name);
        let mut paths: Vec<_> = fs::read_dir(&seeds)
            .unwrap_or_else(|error| panic!("{}: {error}", seeds.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} has no seeds", target.name);
        for path in paths {
            let seed = fs::read(&path).unwrap();
            println!("{}", path.display());
            (target.check)(&seed);
            // And as the medium may leave it: cut short, and with a bit turned.
            for cut in [0, 1, seed.len() / 2, seed.len().saturating_sub(1)] {
                (target.check)(&seed[..cut.min(seed.len())]);
            }
            for at in (0..seed.len()).step_by(seed.len() / 32 + 1) {
                let mut turned = seed.clone();
                turned[at] ^= 1 << (at % 8);
                (target.check)(&turned);
            }
        }
    }
}

#[test]
fn there_is_a_fuzzer_for_every_target() {
    let manifest = fs::read_to_string(folder().join("../../fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        let program = format!("name = \"{}\"", target.name);
        assert!(manifest.contains(&program), "{program} in fuzz/Cargo.toml");
    }
}

/// Otherwise what is promised of accepted packages would never be looked at.
#[test]
fn genuine_packages_are_accepted_and_attacks_are_not() {
    let _alone = ALONE.lock().unwrap();
    let keyring = Keyring::load(&folder().join("keyring")).unwrap();
    for entry in fs::read_dir(folder().join("seeds/package")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file = fs::File::open(&path).unwrap();
        let accepted = dau_package::verify(file, &keyring, &mut |_, _| ()).is_ok();
        assert_eq!(accepted, name.starts_with("genuine-"), "{name}");
    }
}
