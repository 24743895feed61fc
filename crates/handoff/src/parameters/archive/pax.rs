//! Records of a pax extended header (POSIX.1-2017, pax, "pax Extended Header"): `<length> <key>=<value>\n`.
//!
//! The tar crate's own parser takes the newline in a binary value for the end of the record.

/// The largest extended header that is written or read; Linux limits the attributes of a file to less.
pub(super) const MAX_RECORDS: u64 = 1024 * 1024;

/// Prefix of extended attributes, as GNU tar, bsdtar and star write them.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// Appends a record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + digits(rest);
    if digits(length) != length - rest {
        length += 1;
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

/// Splits an extended header into keys and values; the error is a word on what is wrong.
pub(super) fn parse(mut records: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut pairs = Vec::new();
    while !records.is_empty() {
        let space = position(records, b' ').ok_or("a pax record has no length")?;
        let length: usize = std::str::from_utf8(&records[..space])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or("the length of a pax record is no number")?;
        let record = records
            .get(space + 1..length)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or("the length of a pax record is wrong")?;
        let equals = position(record, b'=').ok_or("a pax record has no '='")?;
        pairs.push((&record[..equals], &record[equals + 1..]));
        records = &records[length..];
    }
    Ok(pairs)
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// The key for an extended attribute; `=` and `%` are escaped as GNU tar does.
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
        let (byte, length) = match rest.get(..3) {
            Some(b"%25") => (b'%', 3),
            Some(b"%3D") => (b'=', 3),
            _ => (*first, 1),
        };
        name.push(byte);
        rest = tail.get(length - 1..).unwrap_or_default();
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
