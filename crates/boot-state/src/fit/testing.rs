//! FIT images for tests, of this crate and of others.

/// Algorithm and value.
pub type Hash<'a> = (&'a str, &'a [u8]);

/// Builds a FIT image with this description: name, data and hash of each image.
pub fn image(description: &str, images: &[(&str, &[u8], Option<Hash<'_>>)]) -> Vec<u8> {
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
    property(
        &mut structure,
        "description",
        format!("{description}\0").as_bytes(),
    );
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
        super::MAGIC as usize,
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
