//! Every seed keeps every promise of its target, both the initial ones and those that the fuzzer
//! found.

use std::fs;
use std::sync::Mutex;

use dau_fuzz::{folder, TARGETS};
use dau_package::Keyring;

/// Held by each test, as memory is measured.
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
            // The medium may also cut it short or flip a bit.
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
    let programs = folder().join("targets/src/bin");
    for target in TARGETS {
        let program = fs::read_to_string(programs.join(target.name).with_extension("rs")).unwrap();
        let call = format!("dau_fuzz::check(\"{}\", data)", target.name);
        assert!(program.contains(&call), "{program}");
    }
    assert_eq!(fs::read_dir(programs).unwrap().count(), TARGETS.len());
}

/// Keeps the checks of accepted packages from being skipped.
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

/// Keeps the checks of what was rebuilt from being skipped.
#[test]
fn genuine_deltas_make_their_target_and_attacks_do_not() {
    let _alone = ALONE.lock().unwrap();
    for entry in fs::read_dir(folder().join("seeds/delta")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let genuine = ["copies", "all-kinds"].contains(&name.as_str());
        let seed = fs::read(&path).unwrap();
        assert_eq!(dau_fuzz::delta::rebuilds(&seed), genuine, "{name}");
    }
}
