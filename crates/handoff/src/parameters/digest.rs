//! The digest over a set of parameters: docs/formats/parameters.md, "Digest".

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use openssl::sha::Sha256;

use super::entry::{Entry, Kind};

/// The first bytes that are hashed.
const HEADER: &[u8] = b"dau parameters 1\n";

/// SHA-256 of a file's content.
pub(super) type ContentHash = [u8; 32];

/// Hashes one entry after the other, in the order of their paths.
pub(super) struct SetDigest {
    hash: Sha256,
}

impl SetDigest {
    pub(super) fn new() -> Self {
        let mut hash = Sha256::new();
        hash.update(HEADER);
        SetDigest { hash }
    }

    /// Adds what [`record`] or [`absent`] made.
    pub(super) fn add(&mut self, record: &[u8]) {
        self.hash.update(record);
    }

    /// 64 hexadecimal digits.
    pub(super) fn finish(self) -> String {
        hex(&self.hash.finish())
    }
}

/// The bytes that stand for an entry: netstrings, then a newline.
///
/// `content` counts for files only.
pub(super) fn record(entry: &Entry, content: &ContentHash) -> Vec<u8> {
    let mut record = Vec::new();
    let path = entry.path.as_os_str().as_bytes();
    match &entry.kind {
        // Everything else is said at the first name.
        Kind::HardLink { first } => {
            field(&mut record, b"h");
            field(&mut record, path);
            field(&mut record, first.as_os_str().as_bytes());
            record.push(b'\n');
            return record;
        }
        Kind::File { .. } => field(&mut record, b"f"),
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
            field(&mut record, hex(content).as_bytes());
        }
        // Not the time: it says that some name in the folder changed, be it no parameter at all.
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

/// The bytes that stand for a path where there is no file, folder or link.
pub(super) fn absent(path: &Path) -> Vec<u8> {
    let mut record = Vec::new();
    field(&mut record, b"-");
    field(&mut record, path.as_os_str().as_bytes());
    record.push(b'\n');
    record
}

/// A netstring (D. J. Bernstein, 1997): `<length>:<bytes>,`.
fn field(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    record.extend_from_slice(bytes);
    record.push(b',');
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        let file = record(&entry(Kind::File { size: 3 }), &[0xab; 32]);
        let expected = format!(
            "1:f,10:/etc/app/x,1:0,2:20,4:0640,11:5.000000007,1:3,64:{},6:user.k,2:v\n,\n",
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(file).unwrap(), expected);
        let link = record(&entry(Kind::Link { target: "y".into() }), &[0; 32]);
        let expected = "1:l,10:/etc/app/x,1:0,2:20,11:5.000000007,1:y,6:user.k,2:v\n,\n";
        assert_eq!(String::from_utf8(link).unwrap(), expected);
        let folder = record(&entry(Kind::Folder), &[0; 32]);
        let expected = "1:d,10:/etc/app/x,1:0,2:20,4:0640,6:user.k,2:v\n,\n";
        assert_eq!(String::from_utf8(folder).unwrap(), expected);
        let first = "/etc/app/a".into();
        let hard = record(&entry(Kind::HardLink { first }), &[0; 32]);
        assert_eq!(hard, b"1:h,10:/etc/app/x,10:/etc/app/a,\n");
        assert_eq!(absent(Path::new("/a")), b"1:-,2:/a,\n");
    }

    #[test]
    fn an_empty_set_has_a_digest() {
        // printf 'dau parameters 1\n' | sha256sum
        let expected = "3c467fd56f96cc2e0cace9c09e1797cd61eca245ce30ed6b3977da9e73987a32";
        assert_eq!(SetDigest::new().finish(), expected);
    }
}
