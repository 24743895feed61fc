//! What a rebuild makes, and how it goes on after an interruption.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;

use dau_package::{verify, verify_kept, verify_stored, verify_whole, Form, PackageError};

use super::*;

#[test]
fn the_rebuilt_package_holds_the_signed_images_and_is_the_next_base() {
    let pair = Pair::new();
    let rebuilt = pair.rebuild(&pair.old, "rebuilt.dau").unwrap();
    let keyring = &pair.bench.keyring;
    let file = File::open(&rebuilt).unwrap();
    let kept = verify_kept(&file, keyring, &mut |_, _| Ok(())).unwrap();
    let signed = verify(File::open(&pair.new).unwrap(), keyring, &mut |_, _| ()).unwrap();
    assert_eq!((kept.form, signed.form), (Form::Rebuilt, Form::AsSigned));
    assert_eq!(kept.manifest_sha256, signed.manifest_sha256);
    assert!(fs::metadata(&rebuilt).unwrap().len() <= pair.verified().rebuilt_size());

    let (kernel, rootfs) = changed();
    let read = |place: &dau_package::PayloadLocation| {
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, place.offset).unwrap();
        bytes
    };
    assert!(read(&kept.payloads[0]) == kernel);
    let mut image = Vec::new();
    let stored = read(&kept.payloads[1]);
    zstd::Decoder::new(stored.as_slice())
        .unwrap()
        .read_to_end(&mut image)
        .unwrap();
    assert!(image == rootfs);

    // On from the rebuilt form, back to the first package.
    let back = Pair {
        old: rebuilt,
        new: pair.old.clone(),
        delta: pair.bench.path("back.delta.dau"),
        bench: pair.bench,
    };
    back.make(&back.old, &back.new, &back.delta).unwrap();
    let again = File::open(back.rebuild(&back.old, "again.dau").unwrap()).unwrap();
    let again = verify_kept(&again, &back.bench.keyring, &mut |_, _| Ok(())).unwrap();
    let first = verify(
        File::open(&back.new).unwrap(),
        &back.bench.keyring,
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(again.manifest_sha256, first.manifest_sha256);
}

#[test]
fn tar_and_md5sum_read_a_rebuilt_package() {
    let pair = Pair::new();
    pair.rebuild(&pair.old, "rebuilt.dau").unwrap();
    let script = "mkdir out && cd out && tar -xf ../rebuilt.dau && md5sum -c rebuilt.tar.md5 && tar -xf rebuilt.tar \
        && zstd -dq rootfs.img.zst && ls";
    let folder = pair.bench.dir.path();
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let names =
        "rebuilt.tar: OK\nkernel.itb\nmanifest.json\nmanifest.sig\nrebuilt.tar\nrebuilt.tar.md5\n\
        rootfs.img\nrootfs.img.zst\nsigner.pem\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), names);
}

#[test]
fn a_rebuild_goes_on_after_the_last_whole_piece_wherever_it_was_cut() {
    let pair = Pair::new();
    let whole = fs::read(pair.rebuild(&pair.old, "whole.dau").unwrap()).unwrap();
    let delta = pair.verified();
    let base = File::open(&pair.old).unwrap();
    for eighth in [0, 3, 6, 7, 8] {
        let path = pair.bench.path("cut.dau");
        let mut bytes = whole[..whole.len() * eighth / 8].to_vec();
        // As a file system may leave it: the last blocks of a cut file are zeros.
        let from = bytes.len().saturating_sub(3000);
        bytes[from..].fill(0);
        fs::write(&path, &bytes).unwrap();
        let output = open(&path);
        let mut rebuild = Rebuild::new(&delta, &base, &output).unwrap();
        let mut least = u64::MAX;
        while rebuild.step(&mut || Ok(())).unwrap() {
            least = least.min(output.metadata().unwrap().len());
        }
        rebuild.finish().unwrap();
        assert!(fs::read(&path).unwrap() == whole, "cut at {eighth}/8");
        // What was whole was not written again: the file was never cut below it, but for one piece.
        assert!(
            least + 2 * MIB as u64 > bytes.len() as u64 || eighth == 8,
            "{eighth}/8: {least}"
        );
    }
}

/// A file system may show anything in blocks that it had no time to write.
#[test]
fn what_stands_between_the_members_is_not_trusted() {
    let pair = Pair::new();
    let path = pair.rebuild(&pair.old, "whole.dau").unwrap();
    let whole = fs::read(&path).unwrap();
    let keyring = &pair.bench.keyring;
    let kept = verify_kept(File::open(&path).unwrap(), keyring, &mut |_, _| Ok(())).unwrap();
    let mut dirty = whole.clone();
    for place in &kept.payloads {
        let end = (place.offset + place.len) as usize;
        let gap = end..end.next_multiple_of(512);
        assert!(!gap.is_empty() && whole[gap.clone()].iter().all(|byte| *byte == 0));
        dirty[gap].fill(0xA5);
    }
    fs::write(&path, &dirty).unwrap();
    pair.rebuild(&pair.old, "whole.dau").unwrap();
    assert!(fs::read(&path).unwrap() == whole);
}

#[test]
fn a_stopped_rebuild_says_so_and_keeps_its_pieces() {
    let pair = Pair::new();
    let delta = pair.verified();
    let base = File::open(&pair.old).unwrap();
    let path = pair.bench.path("stopped.dau");
    let output = open(&path);
    let mut rebuild = Rebuild::new(&delta, &base, &output).unwrap();
    assert_eq!(rebuild.total(), (MIB + 700 + SIZE) as u64);
    for _ in 0..3 {
        assert!(rebuild.step(&mut || Ok(())).unwrap());
    }
    let stop = || Err(std::io::ErrorKind::Interrupted.into());
    assert!(matches!(
        rebuild.step(&mut { stop }),
        Err(RebuildError::Io(_))
    ));
    let kept = output.metadata().unwrap().len();
    assert!(kept > MIB as u64, "{kept}");
    assert!(pair.rebuild(&pair.old, "stopped.dau").is_ok());
}

#[test]
fn only_readers_of_what_a_terminal_keeps_take_a_rebuilt_package() {
    let pair = Pair::new();
    let rebuilt = File::open(pair.rebuild(&pair.old, "rebuilt.dau").unwrap()).unwrap();
    let keyring = &pair.bench.keyring;
    let refusals = [
        verify(&rebuilt, keyring, &mut |_, _| ()).unwrap_err(),
        verify_whole(&rebuilt, keyring, &mut |_, _| Ok(())).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.word().as_str(), "unexpected-member", "{refusal}");
    }
    assert!(verify_stored(&rebuilt, keyring, &mut |_, _| ()).is_ok());
    assert!(verify_kept(&rebuilt, keyring, &mut |_, _| Ok(())).is_ok());
}

#[test]
fn nothing_takes_a_delta_for_a_package_or_the_other_way_round() {
    let pair = Pair::new();
    let keyring = &pair.bench.keyring;
    let delta = || File::open(&pair.delta).unwrap();
    let refusals = [
        verify(delta(), keyring, &mut |_, _| ()).unwrap_err(),
        verify_stored(delta(), keyring, &mut |_, _| ()).unwrap_err(),
        verify_whole(delta(), keyring, &mut |_, _| Ok(())).unwrap_err(),
        verify_kept(delta(), keyring, &mut |_, _| Ok(())).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.word().as_str(), "unexpected-delta", "{refusal}");
    }
    let whole = Delta::verify(File::open(&pair.new).unwrap(), keyring, &mut |_, _| Ok(()));
    assert!(matches!(whole, Err(PackageError::NotADelta)), "{whole:?}");
}

#[test]
fn equal_inputs_make_equal_deltas() {
    let pair = Pair::new();
    let again = pair.bench.path("again.delta.dau");
    let manifest = pair.make(&pair.old, &pair.new, &again).unwrap();
    assert!(fs::read(&again).unwrap() == fs::read(&pair.delta).unwrap());
    let size = fs::metadata(&again).unwrap().len();
    assert!(size < 100_000, "{size}");
    let of = manifest.delta.unwrap();
    let new = verify(
        File::open(&pair.new).unwrap(),
        &pair.bench.keyring,
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(of.target, new.manifest_sha256);
    assert_eq!(
        (manifest.version.as_str(), manifest.rollback_index),
        ("1.1.0", 7)
    );
}

#[test]
fn a_delta_is_not_made_where_none_helps() {
    let pair = Pair::new();
    let output = pair.bench.path("none.delta.dau");
    let refused = |old: &Path, new: &Path, why: &str| {
        let error = pair.make(old, new, &output).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(!output.exists());
    };
    refused(&pair.old, &pair.old, "the same package");
    refused(&pair.delta, &pair.new, "is a delta itself");
    let mut rootfs = noise(MIB);
    rootfs.reverse();
    let start = ext4_image(MIB)[..2048].to_vec();
    rootfs[..2048].copy_from_slice(&start);
    let other = package(&pair.bench, "2.0.0", &fit_image(400), &rootfs);
    refused(&pair.old, &other, "use that");
}
