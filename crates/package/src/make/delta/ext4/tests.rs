//! The walk over a file system, compared with debugfs of e2fsprogs.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, FileExt};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::{Payload, PayloadLocation, PayloadType};

/// Bytes of the image.
const SIZE: u64 = 64 << 20;

/// Makes files of every kind that the walk meets; returns the paths of those with bytes of their own.
fn fill(tree: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut put = |path: &str, content: &[u8]| {
        let place = tree.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
        paths.push(format!("/{path}"));
    };
    put("empty", b"");
    put("small", b"a few bytes");
    put("large", &vec![7; 3_000_000]);
    put("a/deep/er/file", &[1; 9000]);
    // So many that the folder gets an index.
    for number in 0..1500 {
        put(
            &format!("many/library-{number}.so.1.2.3"),
            number.to_string().as_bytes(),
        );
    }
    put("holes", b"");
    put("shreds", b"");
    let open = |path: &str| File::options().write(true).open(tree.join(path)).unwrap();
    open("holes").write_all_at(&[5; 5000], 1_000_000).unwrap();
    // More extents than an inode holds, and than one block of them does.
    let shreds = open("shreds");
    for number in 0..900 {
        shreds.write_all_at(&[3; 4096], number * 8192).unwrap();
    }
    fs::hard_link(tree.join("small"), tree.join("small-too")).unwrap();
    symlink("small", tree.join("link")).unwrap();
    paths
}

/// Returns the places of a file's blocks in the image, as debugfs lists its extents.
fn extents(image: &Path, path: &str) -> Vec<Range> {
    let output = Command::new("debugfs")
        .arg("-R")
        .arg(format!("dump_extents -l {path}"))
        .arg(image)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // Level, entries, logical and physical blocks, length, flags:
    // ` 1/ 1   1/340     0 -     0   2117 -  2117      1 `
    let text = String::from_utf8(output.stdout).unwrap();
    let ranges = text.lines().skip(1).map(|line| {
        let numbers: Vec<u64> = line
            .split(|char: char| !char.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        (numbers[6] * BLOCK as u64, numbers[8] * BLOCK as u64)
    });
    ranges.collect()
}

#[test]
fn files_lie_where_debugfs_says() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    let mut paths = fill(&tree);
    paths.sort();
    for features in [
        "^64bit",
        "64bit",
        "64bit,metadata_csum,^has_journal",
        "^flex_bg,^resize_inode",
    ] {
        let _ = fs::remove_file(&image);
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-b", "4096", "-O", features, "-d"])
            .args([&tree, &image])
            .arg(format!("{}k", SIZE >> 10))
            .status();
        assert!(made.unwrap().success());
        let file = File::open(&image).unwrap();
        // Stored as it is, and behind another one, so that places are not those in the image.
        let place = PayloadLocation {
            payload: Payload {
                name: "image".into(),
                payload_type: PayloadType::Kernel,
                size: SIZE,
                sha256: String::new(),
                image_size: SIZE,
                image_sha256: String::new(),
            },
            offset: 0,
            len: SIZE,
        };
        let places = [place.clone(), place];
        let images = Images::unpack(&file, &places, dir.path(), &mut |_, _, _| {}).unwrap();
        let second = images.images[1];
        assert_eq!(second.start, SIZE);
        let found = files(&images, &second).unwrap();
        let names = found
            .keys()
            .map(|path| String::from_utf8(path.clone()).unwrap());
        // Of a file with two names one counts.
        let named: Vec<String> = names
            .map(|name| name.replace("/small-too", "/small"))
            .filter(|name| !name.starts_with("/lost+found"))
            .collect();
        let mut sorted = named.clone();
        sorted.sort();
        assert_eq!(sorted, paths, "{features}");
        let witnessed = [
            "/small",
            "/large",
            "/a/deep/er/file",
            "/holes",
            "/shreds",
            "/empty",
            "/many/library-0.so.1.2.3",
            "/many/library-1499.so.1.2.3",
        ];
        for path in witnessed {
            let ranges = found
                .get(path.as_bytes())
                .or_else(|| found.get(format!("{path}-too").as_bytes()));
            let inside: Vec<Range> = ranges
                .unwrap()
                .iter()
                .map(|(start, len)| (start - second.start, *len))
                .collect();
            let expected = extents(&image, path);
            assert_eq!(inside, expected, "{features} {path}");
        }
        assert!(found[b"/shreds".as_slice()].len() > 340, "{features}");
    }
}

#[test]
fn what_is_no_ext4_or_torn_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, vec![0xA5; 2 << 20]).unwrap();
    let file = File::open(&path).unwrap();
    let place = PayloadLocation {
        payload: Payload {
            name: "image".into(),
            payload_type: PayloadType::Kernel,
            size: 2 << 20,
            sha256: String::new(),
            image_size: 2 << 20,
            image_sha256: String::new(),
        },
        offset: 0,
        len: 2 << 20,
    };
    let images = Images::unpack(&file, &[place], dir.path(), &mut |_, _, _| {}).unwrap();
    assert!(files(&images, &images.images[0]).is_none());
}
