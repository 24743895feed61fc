//! Reads the archive, as if an attacker had written it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType, Header};

use super::super::entry::{Entry, Kind, Role, Time, MODE_BITS};
use super::super::{list, ParametersError, MAX_ENTRIES};
use super::{pax, LINKED, PARENT};

const BLOCK: u64 = 512;

/// Reads the archive in `source` to its end and hands out each entry with its content.
///
/// `name` stands in errors. An archive that [`Writer`] would not write is [`ParametersError::Damaged`], but
/// its first entries may have been handed out by then, and the content of the last may be short.
pub(in super::super) fn read(
    source: impl Read,
    name: &Path,
    mut visit: impl FnMut(Entry, &mut dyn Read) -> Result<(), ParametersError>,
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
        end = member.raw_file_position() + member.size().next_multiple_of(BLOCK);
        if member.header().entry_type() != EntryType::XHeader {
            let entry = decode(member.header(), &records.take().unwrap_or_default())
                .and_then(|entry| order.admit(entry))
                .map_err(|reason| damaged(&reason))?;
            visit(entry, &mut member)?;
            continue;
        }
        if records.is_some() || member.size() > pax::MAX_RECORDS {
            return Err(damaged("two extended headers in a row, or a huge one"));
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(failed)?;
        records = Some(bytes);
    }
    // The iterator ends at the first of the two zero blocks, or where nothing follows.
    let mut rest = archive.into_inner();
    let mut block = [0; BLOCK as usize];
    let cut = rest.count != end + BLOCK || rest.read_exact(&mut block).is_err();
    if cut || block != [0; BLOCK as usize] || records.is_some() {
        return Err(damaged("it ends too early"));
    }
    match rest.read(&mut block).map_err(failed)? {
        0 => Ok(()),
        _ => Err(damaged("something follows its end")),
    }
}

/// Counts the bytes that are read.
struct Counting<R> {
    source: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Reads a header and its pax records; the error says what is wrong.
fn decode(header: &Header, records: &[u8]) -> Result<Entry, String> {
    let fields = header.as_old();
    let mut path = until_nul(&fields.name);
    let mut target = until_nul(&fields.linkname);
    let mut modified = None;
    let mut role = Role::Parameter;
    let mut attributes = Vec::new();
    for (key, value) in pax::parse(records)? {
        match key {
            b"path" => path = value,
            b"linkpath" => target = value,
            b"mtime" => modified = std::str::from_utf8(value).ok().and_then(Time::parse),
            b"comment" if value == PARENT => role = Role::Parent,
            b"comment" if value == LINKED => role = Role::Linked,
            _ => attributes.extend(pax::attribute_name(key).map(|name| (name, value.to_vec()))),
        }
    }
    attributes.sort();
    let path = absolute(path)?;
    let about = |what: &str| format!("{what} of {} is wrong", path.display());
    let kind = match header.entry_type() {
        EntryType::Regular => Kind::File {
            size: header.entry_size().map_err(|_| about("the size"))?,
        },
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
    Ok(Entry {
        kind,
        role,
        mode: header.mode().map_err(|_| about("the mode"))? & MODE_BITS,
        uid: header.uid().map_err(|_| about("the owner"))?,
        gid: header.gid().map_err(|_| about("the group"))?,
        modified: modified.ok_or_else(|| about("the time"))?,
        attributes,
        path,
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The path on the root that the archive's bytes stand for; only one spelling is taken.
fn absolute(bytes: &[u8]) -> Result<PathBuf, String> {
    let shown = String::from_utf8_lossy(bytes);
    let mut path = b"/".to_vec();
    path.extend_from_slice(bytes);
    let path = PathBuf::from(OsString::from_vec(path));
    let plain = path
        .components()
        .skip(1)
        .all(|part| matches!(part, Component::Normal(_)));
    // Rebuilt from its parts it is the same only without `//`, `/./` and `/` at the end.
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

/// What the entries so far demand of the next.
#[derive(Default)]
struct Order {
    count: u64,
    last: Option<PathBuf>,
    linked: HashSet<PathBuf>,
}

impl Order {
    fn admit(&mut self, entry: Entry) -> Result<Entry, String> {
        self.count += 1;
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
