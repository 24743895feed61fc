//! Reads the archive, which an attacker may have written.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType, Header};

use super::super::digest::ContentHash;
use super::super::entry::{Entry, Kind, Role, Time, MODE_BITS};
use super::super::sparse::{self, Hashing, Segment};
use super::super::{list, ParametersError, MAX_ENTRIES};
use super::{pax, LINKED, PARENT, REQUIRED};

const BLOCK: u64 = 512;

/// Bytes copied at once.
const COPIED: usize = 64 << 10;

/// Reads the archive in `source` to its end and hands out each entry with its content.
///
/// `name` appears in errors. An archive that [`super::Writer`] would not write is
/// [`ParametersError::Damaged`], but its first entries may have been handed out by then, and the
/// content of the last may be incomplete.
pub(in super::super) fn read(
    source: impl Read,
    name: &Path,
    mut visit: impl FnMut(Entry, &mut Content<'_>) -> Result<(), ParametersError>,
) -> Result<(), ParametersError> {
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(_) => ParametersError::io("read", name)(error),
        None => ParametersError::damaged(name, error.to_string()),
    };
    let damaged = |reason: &str| ParametersError::damaged(name, reason);
    let mut archive = Archive::new(Counting { source, count: 0 });
    let mut order = Order::default();
    let mut records: Option<Vec<u8>> = None;
    let mut end = 0;
    for member in archive.entries().map_err(failed)?.raw(true) {
        let mut member = member.map_err(failed)?;
        let blocks = member.size().checked_next_multiple_of(BLOCK);
        end = blocks
            .and_then(|size| size.checked_add(member.raw_file_position()))
            .ok_or_else(|| damaged("the size of an entry is wrong"))?;
        if member.header().entry_type() != EntryType::XHeader {
            let (entry, has_map) = decode(member.header(), &records.take().unwrap_or_default())
                .and_then(|(entry, has_map)| Ok((order.admit(entry)?, has_map)))
                .map_err(|reason| damaged(&reason))?;
            let size = match entry.kind {
                Kind::File { size } => size,
                _ => 0,
            };
            let stored = member.size();
            let segments = match has_map {
                true => pax::read_sparse_map(&mut member, size, stored).map_err(failed)?,
                false => sparse::dense(size),
            };
            let source = &mut member;
            visit(
                entry,
                &mut Content {
                    source,
                    segments,
                    size,
                },
            )?;
            continue;
        }
        if records.is_some() || member.size() > pax::MAX_RECORDS {
            return Err(damaged("two extended headers in a row, or a huge one"));
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(failed)?;
        records = Some(bytes);
    }
    // The iterator ends at the first of the two zero blocks, or at the end of the file.
    let mut rest = archive.into_inner();
    let mut block = [0; BLOCK as usize];
    let cut = Some(rest.count) != end.checked_add(BLOCK) || rest.read_exact(&mut block).is_err();
    if cut || block != [0; BLOCK as usize] || records.is_some() {
        return Err(damaged("it ends too early"));
    }
    match rest.read(&mut block).map_err(failed)? {
        0 => Ok(()),
        _ => Err(damaged("something follows its end")),
    }
}

/// Counts the bytes read.
struct Counting<R> {
    source: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count = self.count.saturating_add(count as u64);
        Ok(count)
    }
}

/// A reason why a content was not copied.
pub(in super::super) enum CopyError {
    /// The archive cannot be read, or is too short.
    Source(io::Error),
    /// The file cannot be written.
    Target(io::Error),
}

/// The content of an entry.
pub(in super::super) struct Content<'a> {
    /// Its data, from the beginning.
    source: &'a mut dyn Read,
    segments: Vec<Segment>,
    size: u64,
}

impl Content<'_> {
    /// Reads it to its end.
    pub(in super::super) fn hash(&mut self) -> io::Result<ContentHash> {
        let mut content = Hashing::new(&mut *self.source, &self.segments, self.size);
        io::copy(&mut content, &mut io::sink())?;
        whole(content.count, &self.segments)?;
        Ok(content.finish())
    }

    /// Writes it to an empty file, leaving the holes.
    pub(in super::super) fn write_to(&mut self, mut file: &File) -> Result<ContentHash, CopyError> {
        let mut content = Hashing::new(&mut *self.source, &self.segments, self.size);
        let mut buffer = vec![0; COPIED];
        for segment in &self.segments {
            file.seek(SeekFrom::Start(segment.offset))
                .map_err(CopyError::Target)?;
            let mut data = (&mut content).take(segment.length);
            loop {
                let count = data.read(&mut buffer).map_err(CopyError::Source)?;
                if count == 0 {
                    break;
                }
                let bytes = buffer.get(..count).unwrap_or_default();
                file.write_all(bytes).map_err(CopyError::Target)?;
            }
        }
        whole(content.count, &self.segments).map_err(CopyError::Source)?;
        file.set_len(self.size).map_err(CopyError::Target)?;
        Ok(content.finish())
    }
}

fn whole(count: u64, segments: &[Segment]) -> io::Result<()> {
    match count == sparse::stored(segments) {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Decodes a header and its pax records, and tells whether a map of holes precedes the content; the
/// error names the fault.
fn decode(header: &Header, records: &[u8]) -> Result<(Entry, bool), String> {
    let fields = header.as_old();
    let mut path = until_nul(&fields.name);
    let mut target = until_nul(&fields.linkname);
    let mut modified = None;
    let mut role = Role::Parameter;
    let mut required = false;
    let mut holes = pax::Sparse::default();
    let mut attributes = Vec::new();
    for (key, value) in pax::parse(records)? {
        match key {
            b"path" => path = value,
            b"linkpath" => target = value,
            b"mtime" => modified = std::str::from_utf8(value).ok().and_then(Time::parse),
            b"comment" => {
                for word in String::from_utf8_lossy(value).split(", ") {
                    match word {
                        PARENT => role = Role::Parent,
                        LINKED => role = Role::Linked,
                        REQUIRED => required = true,
                        _ => {}
                    }
                }
            }
            _ if holes.take(key, value) => {}
            _ => attributes.extend(pax::attribute_name(key).map(|name| (name, value.to_vec()))),
        }
    }
    attributes.sort();
    let holes = holes.finish()?;
    if let Some((name, _)) = holes {
        path = name;
    }
    let path = absolute(path)?;
    let about = |what: &str| format!("{what} of {} is wrong", path.display());
    let kind = match header.entry_type() {
        EntryType::Regular => {
            let stored = header.entry_size().map_err(|_| about("the size"))?;
            Kind::File {
                size: holes.map_or(stored, |(_, size)| size),
            }
        }
        _ if holes.is_some() => return Err(about("the map of holes")),
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink if !target.is_empty() && !target.contains(&0) => Kind::Link {
            target: OsString::from_vec(target.to_vec()).into(),
        },
        EntryType::Link => Kind::HardLink {
            first: absolute(target)?,
        },
        _ => return Err(format!("{} is no file, folder or link", path.display())),
    };
    if role == Role::Parent && kind != Kind::Folder {
        return Err(about("the comment"));
    }
    if !matches!(kind, Kind::File { .. }) && header.entry_size().ok() != Some(0) {
        return Err(about("the size"));
    }
    let entry = Entry {
        kind,
        role,
        required,
        mode: header.mode().map_err(|_| about("the mode"))? & MODE_BITS,
        uid: header.uid().map_err(|_| about("the owner"))?,
        gid: header.gid().map_err(|_| about("the group"))?,
        modified: modified.ok_or_else(|| about("the time"))?,
        attributes,
        path,
    };
    Ok((entry, holes.is_some()))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the path on the root for the archive's bytes; only one spelling is accepted.
fn absolute(bytes: &[u8]) -> Result<PathBuf, String> {
    let shown = String::from_utf8_lossy(bytes);
    let mut path = b"/".to_vec();
    path.extend_from_slice(bytes);
    let path = PathBuf::from(OsString::from_vec(path));
    let plain = path
        .components()
        .skip(1)
        .all(|part| matches!(part, Component::Normal(_)));
    // Rebuilding changes any path with `//`, `/./` or `/` at the end.
    let rebuilt: PathBuf = path.components().collect();
    let same = rebuilt.as_os_str() == path.as_os_str();
    if bytes.is_empty() || bytes.contains(&0) || !plain || !same {
        return Err(format!(
            "the path '{shown}' is not a plain one below the root"
        ));
    }
    if list::in_forbidden_place(&path) {
        return Err(format!(
            "the path '{shown}' is in a place that holds no parameters"
        ));
    }
    Ok(path)
}

/// Checks the order of entries.
#[derive(Default)]
struct Order {
    count: u64,
    last: Option<PathBuf>,
    linked: HashSet<PathBuf>,
}

impl Order {
    fn admit(&mut self, entry: Entry) -> Result<Entry, String> {
        self.count = self.count.saturating_add(1);
        if self.count > MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} entries"));
        }
        let path = &entry.path;
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err(format!("{} comes twice or out of order", path.display()));
        }
        if let Kind::HardLink { first } = &entry.kind {
            if !self.linked.contains(first) {
                let (path, first) = (path.display(), first.display());
                return Err(format!(
                    "{path} is another name of {first}, which is not in it"
                ));
            }
        }
        if entry.role == Role::Linked {
            self.linked.insert(path.clone());
        }
        self.last = Some(path.clone());
        Ok(entry)
    }
}
