//! U-Boot's environment format, without the redundancy flag: CRC32 (little endian) of all that
//! follows it, then `key=value\0` ..., closed by one more `\0`, padded to the fixed length.
//!
//! Source: U-Boot include/env_internal.h (`environment_t`), env/common.c; `mkenvimage`, `env import
//! -c` and `env export -c` read and write the same.

use crate::COPY_SIZE;

const CRC_LENGTH: usize = 4;

/// A reason why bytes are no environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// Not [`COPY_SIZE`] bytes.
    #[error("it is {0} bytes long, not {COPY_SIZE}")]
    Length(usize),
    /// The checksum does not hold: torn, blank or damaged.
    #[error("its CRC32 does not match: torn or damaged")]
    Checksum,
    /// Not `key=value` text closed by an empty entry.
    #[error("its text is not closed key=value entries")]
    Text,
    /// The entries do not fit.
    #[error("its entries are longer than {COPY_SIZE} bytes")]
    TooLong,
}

/// Writes entries, in the order given. Keys and values must hold no `\0`, keys no `=`.
pub fn encode<'a>(
    entries: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<[u8; COPY_SIZE], EnvError> {
    let mut text = Vec::new();
    for (key, value) in entries {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return Err(EnvError::Text);
        }
        text.extend_from_slice(format!("{key}={value}\0").as_bytes());
    }
    text.push(0);
    let mut bytes = [0; COPY_SIZE];
    let (crc, data) = bytes.split_at_mut(CRC_LENGTH);
    let room = data.get_mut(..text.len()).ok_or(EnvError::TooLong)?;
    room.copy_from_slice(&text);
    crc.copy_from_slice(&crc32fast::hash(data).to_le_bytes());
    Ok(bytes)
}

/// Reads entries; of a key that stands twice, the last value counts, as in U-Boot.
pub fn decode(bytes: &[u8]) -> Result<Vec<(&str, &str)>, EnvError> {
    if bytes.len() != COPY_SIZE {
        return Err(EnvError::Length(bytes.len()));
    }
    let (crc, data) = bytes.split_at(CRC_LENGTH);
    if crc != crc32fast::hash(data).to_le_bytes() {
        return Err(EnvError::Checksum);
    }
    let mut entries = Vec::new();
    let mut rest = data;
    loop {
        let end = rest.iter().position(|byte| *byte == 0);
        let (entry, zero) = rest.split_at(end.ok_or(EnvError::Text)?);
        if entry.is_empty() {
            return Ok(entries);
        }
        let entry = std::str::from_utf8(entry).map_err(|_| EnvError::Text)?;
        entries.push(entry.split_once('=').ok_or(EnvError::Text)?);
        rest = zero.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_does_not_fit_is_refused() {
        assert_eq!(
            encode([("key", "x".repeat(COPY_SIZE))]),
            Err(EnvError::TooLong)
        );
        assert_eq!(encode([("a=b", String::new())]), Err(EnvError::Text));
    }

    #[test]
    fn a_blank_copy_is_refused() {
        assert_eq!(decode(&[0xff; COPY_SIZE]), Err(EnvError::Checksum));
        assert_eq!(decode(&[0; COPY_SIZE]), Err(EnvError::Checksum));
        assert_eq!(decode(&[0; 12]), Err(EnvError::Length(12)));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            entries in proptest::collection::vec(("[a-z_]{1,12}", "[ -~]{0,40}"), 0..20)
        ) {
            let bytes = encode(entries.iter().map(|(key, value)| (key.as_str(), value.clone()))).unwrap();
            let pairs = entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let expected: Vec<_> = pairs.collect();
            prop_assert_eq!(decode(&bytes).unwrap(), expected);
        }

        #[test]
        fn any_flipped_bit_is_noticed(position in 0..COPY_SIZE, bit in 0..8u32) {
            let mut bytes = encode([("dau_seq", "1f".to_owned())]).unwrap();
            bytes[position] ^= 1u8 << bit;
            prop_assert_eq!(decode(&bytes), Err(EnvError::Checksum));
        }

        #[test]
        fn no_input_panics(mut bytes in proptest::collection::vec(any::<u8>(), COPY_SIZE)) {
            let crc = crc32fast::hash(&bytes[CRC_LENGTH..]).to_le_bytes();
            bytes[..CRC_LENGTH].copy_from_slice(&crc);
            let _ = decode(&bytes);
        }
    }
}
