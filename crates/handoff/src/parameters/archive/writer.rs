//! Writes the archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::super::entry::{Entry, Kind};
use super::super::sparse::{self, Segment};
use super::{comment, pax};

/// Name field of an extended header.
const PAX_NAME: &[u8] = b"PaxHeaders/dau";

/// Name field of a file with holes.
const SPARSE_NAME: &[u8] = b"GNUSparseFile/dau";

/// Writes entries; a failed entry can be removed.
pub(in super::super) struct Writer {
    builder: Builder<File>,
}

impl Writer {
    pub(in super::super) fn new(file: File) -> Self {
        Writer {
            builder: Builder::new(file),
        }
    }

    /// Returns the offset of the next entry.
    pub(in super::super) fn position(&mut self) -> io::Result<u64> {
        self.builder.get_mut().stream_position()
    }

    /// Removes everything from `position` on.
    pub(in super::super) fn take_back(&mut self, position: u64) -> io::Result<()> {
        let file = self.builder.get_mut();
        file.seek(SeekFrom::Start(position))?;
        file.set_len(position)
    }

    /// Writes an entry; a file's `content` is the data of `segments`.
    pub(in super::super) fn append(
        &mut self,
        entry: &Entry,
        segments: &[Segment],
        content: impl Read,
    ) -> io::Result<()> {
        let path = stored(&entry.path);
        let mut records = Vec::new();
        let mut header = Header::new_ustar();
        let mut map = Vec::new();
        let mut name = path;
        header.set_size(0);
        match &entry.kind {
            Kind::File { size } if segments != sparse::dense(*size) => {
                map = pax::sparse_map(segments, *size);
                pax::push_sparse(&mut records, path, *size);
                // A program that does not know holes must not extract it under the file's own name.
                name = SPARSE_NAME;
                header.set_entry_type(EntryType::Regular);
                header.set_size((map.len() as u64).saturating_add(sparse::stored(segments)));
            }
            Kind::File { size } => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(*size);
            }
            Kind::Folder => header.set_entry_type(EntryType::Directory),
            Kind::Link { target } => {
                header.set_entry_type(EntryType::Symlink);
                put_target(&mut header, target.as_os_str().as_bytes(), &mut records);
            }
            Kind::HardLink { first } => {
                header.set_entry_type(EntryType::Link);
                put_target(&mut header, stored(first), &mut records);
            }
        }
        put(&mut header.as_old_mut().name, name, b"path", &mut records);
        header.set_mode(entry.mode);
        header.set_uid(entry.uid);
        header.set_gid(entry.gid);
        header.set_mtime(u64::try_from(entry.modified.seconds).unwrap_or(0));
        pax::push(
            &mut records,
            b"mtime",
            entry.modified.to_string().as_bytes(),
        );
        let comment = comment(entry.role, entry.required);
        if !comment.is_empty() {
            pax::push(&mut records, b"comment", comment.as_bytes());
        }
        for (name, value) in &entry.attributes {
            pax::push(&mut records, &pax::attribute_key(name), value);
        }
        self.extended_header(&entry.path, &records)?;
        header.set_cksum();
        self.builder.append(&header, map.as_slice().chain(content))
    }

    fn extended_header(&mut self, path: &Path, records: &[u8]) -> io::Result<()> {
        let size = records.len() as u64;
        if size > pax::MAX_RECORDS {
            let path = path.display();
            let reason = format!("the extended attributes of {path} are too large");
            return Err(io::Error::other(reason));
        }
        let mut header = Header::new_ustar();
        for (place, byte) in header.as_old_mut().name.iter_mut().zip(PAX_NAME) {
            *place = *byte;
        }
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.builder.append(&header, records)
    }

    /// Ends the archive.
    pub(in super::super) fn finish(self) -> io::Result<File> {
        self.builder.into_inner()
    }
}

/// Writes `value` to a field of the header, or to a pax record if it is too long.
fn put(field: &mut [u8; 100], value: &[u8], key: &[u8], records: &mut Vec<u8>) {
    for (place, byte) in field.iter_mut().zip(value) {
        *place = *byte;
    }
    if field.len() < value.len() {
        pax::push(records, key, value);
    }
}

fn put_target(header: &mut Header, target: &[u8], records: &mut Vec<u8>) {
    put(
        &mut header.as_old_mut().linkname,
        target,
        b"linkpath",
        records,
    );
}

/// Returns a path as stored in the archive, without the leading `/`.
fn stored(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes)
}
