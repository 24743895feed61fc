use super::*;

/// Algorithm and value.
type Hash<'a> = (&'a str, &'a [u8]);

/// Builds a FIT image: name, data and hash of each image.
pub fn image(images: &[(&str, &[u8], Option<Hash<'_>>)]) -> Vec<u8> {
    let mut strings = Vec::new();
    let mut structure = Vec::new();
    let word = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u32).to_be_bytes());
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
    let begin = |bytes: &mut Vec<u8>, name: &str| {
        word(bytes, 1);
        bytes.extend(name.bytes().chain([0]));
        pad(bytes);
    };
    let mut property = |bytes: &mut Vec<u8>, name: &str, value: &[u8]| {
        word(bytes, 3);
        word(bytes, value.len());
        word(bytes, strings.len());
        strings.extend(name.bytes().chain([0]));
        bytes.extend(value);
        pad(bytes);
    };
    begin(&mut structure, "");
    property(&mut structure, "description", b"test\0");
    begin(&mut structure, "images");
    for (name, data, hash) in images {
        begin(&mut structure, name);
        property(&mut structure, "data", data);
        if let Some((algorithm, value)) = hash {
            begin(&mut structure, "hash-1");
            property(&mut structure, "algo", format!("{algorithm}\0").as_bytes());
            property(&mut structure, "value", value);
            word(&mut structure, 2);
        }
        word(&mut structure, 2);
    }
    for token in [2, 2, 9] {
        word(&mut structure, token);
    }
    let (header, reserve) = (40, 16);
    let start = header + reserve;
    let total = start + structure.len() + strings.len();
    let mut file = Vec::new();
    for value in [
        MAGIC as usize,
        total,
        start,
        start + structure.len(),
        header,
        17,
        16,
        0,
        strings.len(),
        structure.len(),
    ] {
        word(&mut file, value);
    }
    file.resize(start, 0);
    file.extend(structure);
    file.extend(strings);
    file
}

fn checked(bytes: &[u8]) -> Result<u64, FitError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    check(file.path())
}

fn good() -> Vec<u8> {
    let (kernel, tree) = (vec![7; 9001], b"device tree");
    let digests = [&kernel[..], tree].map(openssl::sha::sha256);
    image(&[
        ("kernel-1", &kernel, Some(("sha256", &digests[0]))),
        ("fdt-1", tree, Some(("sha256", &digests[1]))),
    ])
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
        let image = image(&[("kernel", b"data", hash)]);
        assert!(matches!(checked(&image), Err(FitError::NoHash(_))));
    }
    assert!(matches!(checked(&image(&[])), Err(FitError::Malformed(_))));
}

/// As `mkimage -E` makes them: the data stands behind the structure.
#[test]
fn data_behind_the_structure_is_checked_too() {
    let data = b"data outside";
    let digest = openssl::sha::sha256(data);
    let mut image = image(&[("kernel", &0u32.to_be_bytes(), Some(("sha256", &digest)))]);
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
