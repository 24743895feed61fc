//! Records of a pax extended header (POSIX.1-2017, pax, "pax Extended Header"): `<length>
//! <key>=<value>\n`.
//!
//! The tar crate's own parser ends a record at a newline in a binary value.

use std::io::{self, Read};

use super::super::sparse::{self, Segment, MAX_FILE_SIZE, MAX_SEGMENTS};

/// Size of a block of a tar archive.
const BLOCK: usize = 512;

/// Largest extended header that is written or read; Linux limits a file's attributes to less.
pub(super) const MAX_RECORDS: u64 = 1024 * 1024;

/// Prefix of extended attributes, as GNU tar, bsdtar and star write them.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// Records of a file with holes, as GNU tar 1.15.92 and later, bsdtar and star write them: "GNU tar
/// manual, Sparse Formats, PAX format, version 1.0".
const MAJOR: &[u8] = b"GNU.sparse.major";
const MINOR: &[u8] = b"GNU.sparse.minor";
const NAME: &[u8] = b"GNU.sparse.name";
const REAL_SIZE: &[u8] = b"GNU.sparse.realsize";

/// The records of a file with holes.
#[derive(Debug, Default)]
pub(super) struct Sparse<'a> {
    major: &'a [u8],
    minor: &'a [u8],
    name: &'a [u8],
    size: &'a [u8],
}

impl<'a> Sparse<'a> {
    /// Adds a record if it is of this kind; returns whether it was.
    pub(super) fn take(&mut self, key: &[u8], value: &'a [u8]) -> bool {
        let field = match key {
            MAJOR => &mut self.major,
            MINOR => &mut self.minor,
            NAME => &mut self.name,
            REAL_SIZE => &mut self.size,
            _ => return false,
        };
        *field = value;
        true
    }

    /// Returns path and size; `None` if the file has no holes.
    pub(super) fn finish(self) -> Result<Option<(&'a [u8], u64)>, &'static str> {
        if [self.major, self.minor, self.name, self.size] == [b""; 4] {
            return Ok(None);
        }
        let size = std::str::from_utf8(self.size).ok();
        match size.and_then(|size| size.parse().ok()) {
            Some(size) if (self.major, self.minor) == (b"1", b"0") && size <= MAX_FILE_SIZE => {
                Ok(Some((self.name, size)))
            }
            _ => Err("a file with holes is not as version 1.0 has it, or too large"),
        }
    }
}

/// Appends the records of a file with holes.
pub(super) fn push_sparse(records: &mut Vec<u8>, path: &[u8], size: u64) {
    push(records, MAJOR, b"1");
    push(records, MINOR, b"0");
    push(records, NAME, path);
    push(records, REAL_SIZE, size.to_string().as_bytes());
}

/// Returns the map before the data of a file with holes: numbers, each with a newline, and zeros up
/// to a whole block.
pub(super) fn sparse_map(segments: &[Segment], size: u64) -> Vec<u8> {
    let end = segments.last().map_or(0, Segment::end);
    // An empty segment at the end gives the size of a file that ends with a hole.
    let last = Segment {
        offset: size,
        length: 0,
    };
    let last = Some(last).filter(|_| end < size);
    let count = segments.len().saturating_add(last.iter().len());
    let mut map = format!("{count}\n").into_bytes();
    for segment in segments.iter().chain(&last) {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset, segment.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Reads the map before the data of a file of `size` bytes; `stored` is the length of map and data.
pub(super) fn read_sparse_map(
    source: &mut dyn Read,
    size: u64,
    stored: u64,
) -> io::Result<Vec<Segment>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the map of holes is wrong");
    let mut numbers = Numbers {
        source,
        block: Vec::new(),
        read: 0,
    };
    let count = numbers.next()?;
    if count > (MAX_SEGMENTS as u64).saturating_add(1) {
        return Err(wrong());
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut end = 0_u64;
    for number in 1..=count {
        let (offset, length) = (numbers.next()?, numbers.next()?);
        let next = offset.checked_add(length).ok_or_else(wrong)?;
        let last = number == count && offset == size;
        if offset < end || next > size || (length == 0 && !last) {
            return Err(wrong());
        }
        end = next;
        if length > 0 {
            segments.push(Segment { offset, length });
        }
    }
    match stored.checked_sub(numbers.read) == Some(sparse::stored(&segments)) {
        true => Ok(segments),
        false => Err(wrong()),
    }
}

/// Decimal numbers with a newline each, read block by block.
struct Numbers<'a> {
    source: &'a mut dyn Read,
    /// The rest of the block, reversed.
    block: Vec<u8>,
    read: u64,
}

impl Numbers<'_> {
    fn next(&mut self) -> io::Result<u64> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the map of holes is no numbers");
        let mut number: Option<u64> = None;
        loop {
            let byte = match self.block.pop() {
                Some(byte) => byte,
                None => {
                    self.fill()?;
                    continue;
                }
            };
            if byte == b'\n' {
                return number.ok_or_else(wrong);
            }
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10);
            let digit = u64::from(digit.ok_or_else(wrong)?);
            let so_far = number.unwrap_or(0).checked_mul(10);
            let so_far = so_far.and_then(|number| number.checked_add(digit));
            number = Some(so_far.ok_or_else(wrong)?);
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.block.resize(BLOCK, 0);
        self.source.read_exact(&mut self.block)?;
        self.block.reverse();
        self.read = self.read.saturating_add(BLOCK as u64);
        Ok(())
    }
}

/// Appends a record.
pub(in super::super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len().saturating_add(value.len()).saturating_add(3);
    // The length includes its own digits.
    let mut length = rest.saturating_add(digits(rest));
    if digits(length) != length.saturating_sub(rest) {
        length = length.saturating_add(1);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Key and value of a record.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits an extended header into keys and values; the error names the fault.
pub(super) fn parse(mut records: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut pairs = Vec::new();
    while !records.is_empty() {
        let (digits, _) = split(records, b' ').ok_or("a pax record has no length")?;
        let length: usize = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or("the length of a pax record is no number")?;
        let (record, next) = records
            .split_at_checked(length)
            .ok_or("the length of a pax record is wrong")?;
        let record = record
            .strip_suffix(b"\n")
            .and_then(|record| record.get(digits.len().saturating_add(1)..))
            .ok_or("the length of a pax record is wrong")?;
        pairs.push(split(record, b'=').ok_or("a pax record has no '='")?);
        records = next;
    }
    Ok(pairs)
}

/// Splits at the first `separator`.
fn split(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    let (before, rest) = bytes.split_at(at);
    Some((before, rest.get(1..)?))
}

/// Returns the key for an extended attribute, with `=` and `%` escaped as by GNU tar.
pub(super) fn attribute_key(name: &[u8]) -> Vec<u8> {
    let mut key = ATTRIBUTE.to_vec();
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            other => key.push(*other),
        }
    }
    key
}

/// The inverse of [`attribute_key`]; `None` for other keys.
pub(super) fn attribute_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(ATTRIBUTE)?;
    let mut name = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, escaped) = match rest.get(..3) {
            Some(b"%25") => (b'%', 2),
            Some(b"%3D") => (b'=', 2),
            _ => (*first, 0),
        };
        name.push(byte);
        rest = tail.get(escaped..).unwrap_or_default();
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_at_every_change_of_digits() {
        for length in [0, 1, 3, 80, 89, 90, 91, 92, 985, 988, 989, 990, 9990] {
            let value = vec![b'\n'; length];
            let mut records = Vec::new();
            push(&mut records, b"key", &value);
            push(&mut records, b"other", b"a=b");
            let expected: [(&[u8], &[u8]); 2] = [(b"key", &value), (b"other", b"a=b")];
            assert_eq!(parse(&records).unwrap(), expected, "{length}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"x"[..],
            b"x a=b\n",
            b" a=b\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"6 a+b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"99999999999999999999999 a=b\n",
        ] {
            let text = String::from_utf8_lossy(records).into_owned();
            assert!(parse(records).is_err(), "{text:?}");
        }
    }

    #[test]
    fn attribute_names_are_escaped() {
        for name in [&b"user.a"[..], b"user.%3D=", b"user.\xff%", b"user.%"] {
            let key = attribute_key(name);
            assert!(!key.contains(&b'='));
            assert_eq!(attribute_name(&key).as_deref(), Some(name));
        }
        assert_eq!(attribute_name(b"mtime"), None);
    }
}
