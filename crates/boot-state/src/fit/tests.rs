use super::testing::image;
use super::*;

fn checked(bytes: &[u8]) -> Result<u64, FitError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    check(file.path())
}

fn good() -> Vec<u8> {
    let (kernel, tree) = (vec![7; 9001], b"device tree");
    let digests = [&kernel[..], tree].map(openssl::sha::sha256);
    image(
        "test",
        &[
            ("kernel-1", &kernel, Some(("sha256", &digests[0]))),
            ("fdt-1", tree, Some(("sha256", &digests[1]))),
        ],
    )
}

#[test]
fn a_whole_image_passes_also_with_something_behind_it() {
    let image = good();
    assert_eq!(checked(&image).unwrap(), image.len() as u64);
    let mut longer = image.clone();
    longer.extend([0xff; 5000]);
    assert_eq!(checked(&longer).unwrap(), image.len() as u64);
}

#[test]
fn any_torn_or_altered_image_is_refused() {
    let image = good();
    for length in [0, 3, 39, 60, 1000, image.len() - 1] {
        assert!(checked(&image[..length]).is_err(), "cut to {length}");
    }
    let data = image.windows(4).position(|bytes| bytes == [7; 4]).unwrap();
    let mut altered = image.clone();
    altered[data + 4321] ^= 0x10;
    assert!(matches!(checked(&altered), Err(FitError::Mismatch(name)) if name == "kernel-1"));
}

#[test]
fn an_image_without_sha256_is_refused() {
    for hash in [None, Some(("crc32", &[1, 2, 3, 4][..]))] {
        let image = image("test", &[("kernel", b"data", hash)]);
        assert!(matches!(checked(&image), Err(FitError::NoHash(_))));
    }
    assert!(matches!(
        checked(&image("test", &[])),
        Err(FitError::Malformed(_))
    ));
}

/// As `mkimage -E` makes them: the data stands behind the structure.
#[test]
fn data_behind_the_structure_is_checked_too() {
    let data = b"data outside";
    let digest = openssl::sha::sha256(data);
    let mut image = image(
        "test",
        &[("kernel", &0u32.to_be_bytes(), Some(("sha256", &digest)))],
    );
    let name = image
        .windows(5)
        .position(|bytes| bytes == b"data\0")
        .unwrap();
    // Another property of the same length in the strings: the table has no room for a longer one.
    image[name..name + 4].copy_from_slice(b"size");
    assert!(matches!(checked(&image), Err(FitError::Malformed(_))));
}

proptest::proptest! {
    #[test]
    fn no_input_panics_or_hangs(position in 0..200usize, value: u8, length in 0..10_000usize) {
        let mut image = good();
        image[position] = value;
        image.truncate(length);
        let _ = checked(&image);
    }
}

#[test]
fn version_and_what_it_takes_stand_in_the_description() {
    for (description, expected) in [
        (
            "DAU qemu-aarch64 1.1.0 RecoveryOS\0",
            Some(("1.1.0", false)),
        ),
        (
            "DAU x 1.1.0 RecoveryOS rebuilt-packages\0",
            Some(("1.1.0", true)),
        ),
        (
            "DAU x 1.1.0 RecoveryOS of-tomorrow rebuilt-packages",
            Some(("1.1.0", true)),
        ),
        (
            "DAU x rebuilt-packages RecoveryOS",
            Some(("rebuilt-packages", false)),
        ),
        ("test\0", None),
        ("DAU x\0", None),
        ("DAU x  y\0", None),
        ("", None),
    ] {
        let expected = expected.map(|(version, takes_rebuilt)| Description {
            version: version.to_owned(),
            takes_rebuilt,
        });
        assert_eq!(described(description), expected, "{description}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.itb");
    let digest = openssl::sha::sha256(b"kernel");
    for (description, expected) in [("DAU x 1.1.0 RecoveryOS", Some("1.1.0")), ("test", None)] {
        let bytes = image(
            description,
            &[("kernel", b"kernel", Some(("sha256", &digest)))],
        );
        // Wherever it stands.
        for start in [0, 512] {
            let content = [vec![1; start], bytes.clone()].concat();
            std::fs::write(&path, content).unwrap();
            let found = describe(&File::open(&path).unwrap(), start as u64).unwrap();
            assert_eq!(found.map(|found| found.version).as_deref(), expected);
        }
        std::fs::write(&path, &bytes[..20]).unwrap();
        assert!(describe(&File::open(&path).unwrap(), 0).is_err());
    }
}
