use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::make::{build, Compression, Recipe};

/// A folder with the files of a root filesystem, and the images made of it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        for number in 0..60_u8 {
            let size = 1000 * (usize::from(number) + 1);
            bench.put(&format!("lib/file{number:02}"), &random(number, size));
        }
        std::os::unix::fs::symlink("x".repeat(100), bench.path("tree/lib/link")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.path("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes an image of the files.
    fn image(&self, name: &str, options: &[&str], size: &str) -> PathBuf {
        let image = self.path(name);
        let made = Command::new("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-O",
                "^metadata_csum,^orphan_file",
            ])
            .args(options)
            .arg("-d")
            .args([self.path("tree"), image.clone()])
            .arg(size)
            .status();
        assert!(made.unwrap().success());
        image
    }

    /// Makes a package of an image.
    fn package(&self, image: &Path) -> PathBuf {
        let package = self.path("old.dau");
        let recipe = Recipe {
            product: "p".to_owned(),
            version: "1".to_owned(),
            created: 1_767_225_600,
            rollback_index: 1,
            kernel: None,
            rootfs: Some(image.to_owned()),
            sbom: None,
            recovery: None,
            minimum_recovery: None,
            compression: Compression::default(),
        };
        build(&recipe, None, &package, &mut |_, _, _| {}).unwrap();
        package
    }

    /// Returns what debugfs says of an image.
    fn debugfs(&self, image: &Path, request: &str) -> String {
        let said = Command::new("debugfs")
            .args(["-R", request])
            .arg(image)
            .output();
        String::from_utf8(said.unwrap().stdout).unwrap()
    }

    fn assert_same_tree(&self, one: &Path, other: &Path) {
        for (image, name) in [(one, "one"), (other, "other")] {
            let folder = self.path(name);
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            self.debugfs(image, &format!("rdump / {}", folder.display()));
        }
        let mut diff = Command::new("diff");
        diff.args(["-r", "--no-dereference"])
            .args([self.path("one"), self.path("other")]);
        assert!(diff.status().unwrap().success());
        assert!(self.path("other/lib/file59").exists());
    }
}

fn random(seed: u8, size: usize) -> Vec<u8> {
    let blocks = 0..size.div_ceil(32) as u64;
    let mut bytes: Vec<u8> = blocks
        .flat_map(|block| openssl::sha::sha256(&[&[seed][..], &block.to_le_bytes()].concat()))
        .collect();
    bytes.truncate(size);
    bytes
}

fn assert_clean(image: &Path) {
    let checked = Command::new("e2fsck")
        .arg("-fn")
        .arg(image)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
}

#[test]
fn files_that_did_not_change_lie_where_they_lay() {
    for (options, size) in [
        (&["-O", "uninit_bg"][..], "16M"),
        (&["-O", "^uninit_bg,^64bit", "-N", "256"], "16M"),
        // Two groups, of which the second has no file; without a journal.
        (
            &["-O", "uninit_bg,^has_journal,^resize_inode", "-g", "2048"],
            "16M",
        ),
        (&["-O", "sparse_super2,^resize_inode", "-g", "1024"], "16M"),
    ] {
        let bench = Bench::new();
        let old = bench.image("old.ext4", options, size);
        let package = bench.package(&old);
        // All that follows moves along, one file grows, one shrinks, one goes.
        bench.put("aaa/new", &random(100, 200_000));
        bench.put("lib/file10", &random(101, 90_000));
        bench.put("lib/file20", &random(102, 500));
        fs::remove_file(bench.path("tree/lib/file30")).unwrap();
        let new = bench.image("new.ext4", options, size);
        let kept = bench.path("kept.ext4");
        let places = keep_places(&package, &new, &kept, &mut |_, _, _| {}).unwrap();
        assert_clean(&kept);
        bench.assert_same_tree(&new, &kept);
        assert!(places.after < places.before / 2, "{options:?}: {places:?}");
        for name in ["file00", "file29", "file59", "link"] {
            let [was, moved, is] = [&old, &new, &kept]
                .map(|image| bench.debugfs(image, &format!("blocks /lib/{name}")));
            assert_eq!(was, is, "{options:?} {name}");
            assert!(
                !was.trim().is_empty() && was != moved,
                "{options:?} {name}: {was}"
            );
        }
        // The same again, as bytes.
        let again = bench.path("again.ext4");
        keep_places(&package, &new, &again, &mut |_, _, _| {}).unwrap();
        assert!(fs::read(&kept).unwrap() == fs::read(&again).unwrap());
    }
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    let bench = Bench::new();
    let old = bench.image("old.ext4", &[], "16M");
    let package = bench.package(&old);
    let refused = |new: &Path| {
        let kept = bench.path("kept.ext4");
        let error = keep_places(&package, new, &kept, &mut |_, _, _| {}).unwrap_err();
        assert!(!kept.exists());
        error.to_string()
    };
    let summed = bench.image("summed.ext4", &["-O", "metadata_csum"], "16M");
    assert!(refused(&summed).contains("metadata checksums"));
    let small = bench.image("small.ext4", &["-b", "1024"], "16M");
    assert!(refused(&small).contains("-b 4096"));
    let meta = bench.image("meta.ext4", &["-O", "meta_bg,^resize_inode"], "16M");
    assert!(refused(&meta).contains("^meta_bg"));
    let short = bench.path("short.ext4");
    fs::write(&short, &fs::read(&old).unwrap()[..1 << 20]).unwrap();
    assert!(refused(&short).contains("cut short"));
}

#[test]
fn what_has_to_be_repaired_first_is_refused_and_stays_as_it_is() {
    let bench = Bench::new();
    let package = bench.package(&bench.image("old.ext4", &[], "16M"));
    bench.put("aaa/new", &random(100, 200_000));
    let new = bench.image("new.ext4", &[], "16M");
    // A block of a file as the journal has it and the file does not.
    let block = bench.debugfs(&new, "blocks /lib/file10");
    let block = block.split_whitespace().next().unwrap();
    fs::write(bench.path("journaled"), random(103, BLOCK)).unwrap();
    let journaled = bench.path("journaled");
    let replayed = format!("jo\njw -b {block} {}\njc\n", journaled.display());
    for (script, said) in [
        (replayed.as_str(), "needs_recovery"),
        ("feature needs_recovery", "needs_recovery"),
        ("feature encrypt", "encrypt"),
        ("ssv feature_ro_compat 0x10000003", "ro_compat 0x10000000"),
        ("ssv state 0", "not unmounted cleanly"),
        ("ssv state 3", "has errors"),
    ] {
        let image = bench.path("image.ext4");
        fs::copy(&new, &image).unwrap();
        fs::write(bench.path("script"), script).unwrap();
        let mut debugfs = Command::new("debugfs");
        debugfs.args(["-w", "-f"]).arg(bench.path("script"));
        assert!(debugfs.arg(&image).output().unwrap().status.success());
        let before = fs::read(&image).unwrap();
        let error = keep_places(&package, &image, &image, &mut |_, _, _| {}).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(said), "{script}: {error}");
        assert!(error.contains("image.ext4"), "{script}: {error}");
        assert!(before == fs::read(&image).unwrap(), "{script}");
    }
}

#[test]
fn what_an_earlier_file_system_left_is_no_file() {
    let bench = Bench::new();
    let package = bench.package(&bench.image("old.ext4", &["-O", "uninit_bg"], "16M"));
    let left = ["-O", "uninit_bg", "-E", "nodiscard,lazy_itable_init=1"];
    for number in 0..200 {
        bench.put(&format!("left/file{number}"), &random(number, 20_000));
    }
    let new = bench.image("new.ext4", &left, "16M");
    fs::remove_dir_all(bench.path("tree/left")).unwrap();
    bench.put("aaa/new", &random(100, 200_000));
    bench.image("new.ext4", &left, "16M");
    assert_clean(&new);
    // The inodes after those in use still hold files.
    assert!(bench.debugfs(&new, "stat <150>").contains("EXTENTS"));
    let kept = bench.path("kept.ext4");
    let places = keep_places(&package, &new, &kept, &mut |_, _, _| {}).unwrap();
    assert!(places.after < places.before, "{places:?}");
    assert_clean(&kept);
    bench.assert_same_tree(&new, &kept);
}

#[test]
fn a_file_that_finds_no_room_is_named() {
    let bench = Bench::new();
    let package = bench.package(&bench.image("old.ext4", &["-O", "^has_journal"], "16M"));
    // Every second file grows: the large ones find only gaps between those that stay.
    for number in (1..60_u8).step_by(2) {
        bench.put(&format!("lib/file{number:02}"), &random(number, 320_000));
    }
    let new = bench.image("new.ext4", &["-O", "^has_journal"], "2900");
    let kept = bench.path("kept.ext4");
    let error = keep_places(&package, &new, &kept, &mut |_, _, _| {}).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("/lib/file") && error.contains("finds no room"),
        "{error}"
    );
}

#[test]
fn attack_damaged_images_are_refused_or_laid_out_and_nothing_else() {
    let bench = Bench::new();
    let old = fs::read(bench.image("old.ext4", &["-O", "uninit_bg"], "8M")).unwrap();
    bench.put("aaa/new", &random(100, 200_000));
    let new = fs::read(bench.image("new.ext4", &["-O", "uninit_bg"], "8M")).unwrap();
    assert!(lay_out(&new, &old).is_ok());
    // Where super block, descriptors, inodes and folders are, more bytes are damaged.
    let metadata: Vec<usize> = (0..new.len())
        .filter(|offset| *offset < 8192 || new[*offset] != 0 && offset % 4096 < 256)
        .collect();
    for round in 0..400_usize {
        let (mut new, mut old) = (new.clone(), old.clone());
        for hit in random((round % 251) as u8, 24 + round / 251).chunks_exact(8) {
            let number = u64::from_le_bytes(hit.try_into().unwrap()) as usize;
            let offset = metadata[number % metadata.len()];
            let damaged = if round % 2 == 0 { &mut new } else { &mut old };
            damaged[offset] = hit[7];
        }
        let _ = lay_out(&new, &old);
    }
}
