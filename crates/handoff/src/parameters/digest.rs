//! The digest of a set of parameters: docs/formats/parameters.md, "Digest".

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use openssl::sha::Sha256;

use dau_model::hex;

use super::entry::{Entry, Kind};

/// The first bytes of the hashed data.
const HEADER: &[u8] = b"dau parameters 1\n";

/// Unit of holes: a block of zeros counts as a hole even if it is stored, as file systems differ in
/// keeping holes.
const BLOCK: usize = 4096;
const BLOCK_BYTES: u64 = BLOCK as u64;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The hash of a file's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContentHash {
    /// SHA-256 of the data outside of holes.
    pub data: [u8; 32],
    /// SHA-256 of the places of the holes; `None`: there are none.
    pub holes: Option<[u8; 32]>,
}

/// Hashes a content without reading its holes: one SHA-256 of the rest, and one of `offset+length,`
/// of each run of zero blocks, whether hole or stored.
#[derive(Clone)]
pub(super) struct ContentHasher {
    data: Sha256,
    holes: Option<Sha256>,
    /// Start of the current hole.
    hole: Option<u64>,
    /// Bytes hashed so far, without those in `block`.
    position: u64,
    block: Vec<u8>,
}

impl Default for ContentHasher {
    fn default() -> Self {
        ContentHasher {
            data: Sha256::new(),
            holes: None,
            hole: None,
            position: 0,
            block: Vec::with_capacity(BLOCK),
        }
    }
}

impl ContentHasher {
    /// Adds bytes of the content.
    pub(super) fn data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            bytes = later;
            if now.len() == BLOCK {
                self.add(now);
                continue;
            }
            self.block.extend_from_slice(now);
            if self.block.len() == BLOCK {
                self.add_block();
            }
        }
    }

    /// Adds zeros up to `end`.
    pub(super) fn hole_up_to(&mut self, end: u64) {
        let fill = self.block.len() as u64;
        let mut left = end.saturating_sub(self.position.saturating_add(fill));
        if fill > 0 {
            left = left.saturating_sub(self.zeros(left));
        }
        let blocks = left.saturating_sub(left % BLOCK_BYTES);
        if blocks > 0 {
            self.hole.get_or_insert(self.position);
            self.position = self.position.saturating_add(blocks);
        }
        self.zeros(left.saturating_sub(blocks));
    }

    /// Fills the block up with zeros, at most `count`; returns their number.
    fn zeros(&mut self, count: u64) -> u64 {
        let room = BLOCK.saturating_sub(self.block.len());
        let count = usize::try_from(count).map_or(room, |count| count.min(room));
        self.data(ZEROS.get(..count).unwrap_or_default());
        count as u64
    }

    fn add_block(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        self.add(&block);
        block.clear();
        self.block = block;
    }

    /// Adds a block; only the last of a file is shorter than [`BLOCK`].
    fn add(&mut self, block: &[u8]) {
        match ZEROS.starts_with(block) {
            true => {
                self.hole.get_or_insert(self.position);
            }
            false => {
                self.end_hole();
                self.data.update(block);
            }
        }
        self.position = self.position.saturating_add(block.len() as u64);
    }

    fn end_hole(&mut self) {
        if let Some(start) = self.hole.take() {
            let length = self.position.saturating_sub(start);
            let holes = self.holes.get_or_insert_with(Sha256::new);
            holes.update(format!("{start}+{length},").as_bytes());
        }
    }

    pub(super) fn finish(mut self) -> ContentHash {
        if !self.block.is_empty() {
            self.add_block();
        }
        self.end_hole();
        ContentHash {
            data: self.data.finish(),
            holes: self.holes.map(Sha256::finish),
        }
    }
}

/// Hashes entries in the order of their paths.
pub(super) struct SetDigest {
    hash: Sha256,
}

impl SetDigest {
    pub(super) fn new() -> Self {
        let mut hash = Sha256::new();
        hash.update(HEADER);
        SetDigest { hash }
    }

    /// Adds the output of [`record`] or [`absent`].
    pub(super) fn add(&mut self, record: &[u8]) {
        self.hash.update(record);
    }

    /// Returns 64 hexadecimal digits.
    pub(super) fn finish(self) -> String {
        hex::encode(self.hash.finish())
    }
}

/// Returns the bytes to hash for an entry: netstrings, then a newline.
///
/// `content` is used for files only.
pub(super) fn record(entry: &Entry, content: &ContentHash) -> Vec<u8> {
    let mut record = Vec::new();
    let path = entry.path.as_os_str().as_bytes();
    match &entry.kind {
        // The first name has everything else.
        Kind::HardLink { first } => {
            field(&mut record, b"h");
            field(&mut record, path);
            field(&mut record, first.as_os_str().as_bytes());
            record.push(b'\n');
            return record;
        }
        Kind::File { .. } => field(
            &mut record,
            if content.holes.is_some() { b"s" } else { b"f" },
        ),
        Kind::Folder => field(&mut record, b"d"),
        Kind::Link { .. } => field(&mut record, b"l"),
    }
    field(&mut record, path);
    field(&mut record, entry.uid.to_string().as_bytes());
    field(&mut record, entry.gid.to_string().as_bytes());
    match &entry.kind {
        Kind::File { size } => {
            field(&mut record, format!("{:04o}", entry.mode).as_bytes());
            field(&mut record, entry.modified.to_string().as_bytes());
            field(&mut record, size.to_string().as_bytes());
            for hash in content.holes.iter().chain([&content.data]) {
                field(&mut record, hex::encode(hash).as_bytes());
            }
        }
        // Without the time, which changes with any name in the folder, parameter or not.
        Kind::Folder => field(&mut record, format!("{:04o}", entry.mode).as_bytes()),
        // Linux gives links no permissions of their own.
        Kind::Link { target } => {
            field(&mut record, entry.modified.to_string().as_bytes());
            field(&mut record, target.as_os_str().as_bytes());
        }
        Kind::HardLink { .. } => {}
    }
    for (name, value) in &entry.attributes {
        field(&mut record, name);
        field(&mut record, value);
    }
    record.push(b'\n');
    record
}

/// Returns the bytes to hash for a path without a file, folder or link.
pub(super) fn absent(path: &Path) -> Vec<u8> {
    let mut record = Vec::new();
    field(&mut record, b"-");
    field(&mut record, path.as_os_str().as_bytes());
    record.push(b'\n');
    record
}

/// Appends a netstring (D. J. Bernstein, 1997): `<length>:<bytes>,`.
fn field(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    record.extend_from_slice(bytes);
    record.push(b',');
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Role, Time};
    use super::*;

    fn entry(kind: Kind) -> Entry {
        Entry {
            path: "/etc/app/x".into(),
            kind,
            role: Role::Parameter,
            required: false,
            mode: 0o640,
            uid: 0,
            gid: 20,
            modified: Time {
                seconds: 5,
                nanos: 7,
            },
            attributes: vec![(b"user.k".to_vec(), b"v\n".to_vec())],
        }
    }

    #[test]
    fn records_are_as_documented() {
        let mut content = ContentHash {
            data: [0xab; 32],
            holes: None,
        };
        let file = record(&entry(Kind::File { size: 3 }), &content);
        let expected = format!(
            "1:f,10:/etc/app/x,1:0,2:20,4:0640,11:5.000000007,1:3,64:{},6:user.k,2:v\n,\n",
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(file).unwrap(), expected);
        content.holes = Some([0xcd; 32]);
        let sparse = record(&entry(Kind::File { size: 3 }), &content);
        let expected = format!(
            "1:s,10:/etc/app/x,1:0,2:20,4:0640,11:5.000000007,1:3,64:{},64:{},6:user.k,2:v\n,\n",
            "cd".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(sparse).unwrap(), expected);
        let link = record(
            &entry(Kind::Link { target: "y".into() }),
            &ContentHash::default(),
        );
        let expected = "1:l,10:/etc/app/x,1:0,2:20,11:5.000000007,1:y,6:user.k,2:v\n,\n";
        assert_eq!(String::from_utf8(link).unwrap(), expected);
        let folder = record(&entry(Kind::Folder), &ContentHash::default());
        let expected = "1:d,10:/etc/app/x,1:0,2:20,4:0640,6:user.k,2:v\n,\n";
        assert_eq!(String::from_utf8(folder).unwrap(), expected);
        let first = "/etc/app/a".into();
        let hard = record(&entry(Kind::HardLink { first }), &ContentHash::default());
        assert_eq!(hard, b"1:h,10:/etc/app/x,10:/etc/app/a,\n");
        assert_eq!(absent(Path::new("/a")), b"1:-,2:/a,\n");
    }

    #[test]
    fn an_empty_set_has_a_digest() {
        // printf 'dau parameters 1\n' | sha256sum
        let expected = "3c467fd56f96cc2e0cace9c09e1797cd61eca245ce30ed6b3977da9e73987a32";
        assert_eq!(SetDigest::new().finish(), expected);
    }

    /// One way reads `holes` as zeros, the other skips them.
    #[test]
    fn content_has_one_hash_however_it_is_stored() {
        let text = |length: usize| vec![b'x'; length];
        let zeros = |length: usize| vec![0; length];
        for content in [
            text(10),
            text(BLOCK),
            zeros(3),
            zeros(3 * BLOCK),
            [text(10), zeros(5 * BLOCK), text(BLOCK)].concat(),
            [zeros(2 * BLOCK), text(2 * BLOCK), zeros(7)].concat(),
            [text(BLOCK), zeros(BLOCK), text(1)].concat(),
        ] {
            let mut expected = ContentHasher::default();
            expected.data(&content);
            let expected = expected.finish();
            for piece in [1, 511, 1024, BLOCK, 5000, 3 * BLOCK] {
                let mut hasher = ContentHasher::default();
                let mut position = 0;
                for bytes in content.chunks(piece) {
                    position += bytes.len() as u64;
                    match bytes.iter().all(|byte| *byte == 0) {
                        true => hasher.hole_up_to(position),
                        false => hasher.data(bytes),
                    }
                }
                assert_eq!(hasher.finish(), expected, "{} by {piece}", content.len());
            }
        }
        let mut plain = ContentHasher::default();
        plain.data(&text(5000));
        let plain = plain.finish();
        assert_eq!(
            (plain.data, plain.holes),
            (openssl::sha::sha256(&text(5000)), None)
        );
        let mut moved = [ContentHasher::default(), ContentHasher::default()];
        moved[0].data(&[zeros(BLOCK), text(BLOCK)].concat());
        moved[1].data(&[text(BLOCK), zeros(BLOCK)].concat());
        let [first, second] = moved.map(ContentHasher::finish);
        assert_ne!(first, second);
    }

    #[test]
    fn a_hole_of_eight_exbibytes_is_hashed_at_once() {
        let mut hasher = ContentHasher::default();
        hasher.data(b"x");
        hasher.hole_up_to(i64::MAX as u64);
        let expected = openssl::sha::sha256(b"4096+9223372036854771711,");
        assert_eq!(hasher.finish().holes, Some(expected));
    }
}
