//! The parts of a certificate's DER that OpenSSL's safe interface does not expose (X.690, RFC 5280
//! 4.1).

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0]` and `[3]` of a TBSCertificate: its version and its extensions.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
/// 2.5.29.19
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1D, 0x13];

/// An element: its tag, its content, and its whole encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Removes an element from the front of `bytes`.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<Element<'a>> {
    let [tag, length, rest @ ..] = *bytes else {
        return None;
    };
    let (length, rest) = match length {
        0..=0x7F => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
            let length = digits
                .iter()
                .fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len().checked_sub(after.len())?)?;
    *bytes = after;
    Some(Element {
        tag: *tag,
        content,
        whole,
    })
}

/// Removes an element with this tag and returns its content.
fn enter<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    take(bytes)
        .filter(|element| element.tag == tag)
        .map(|element| element.content)
}

/// A public key as a certificate holds it.
pub(crate) struct PublicKeyInfo<'a> {
    /// The whole SubjectPublicKeyInfo.
    pub whole: &'a [u8],
    /// Its AlgorithmIdentifier.
    algorithm: &'a [u8],
}

impl PublicKeyInfo<'_> {
    /// Returns the DER of a SubjectPublicKeyInfo with the same algorithm and another key.
    pub(crate) fn with_key(&self, key: &[u8]) -> Vec<u8> {
        // No bit of the last byte is unused.
        let bits = element(BIT_STRING, &[&[0], key].concat());
        element(SEQUENCE, &[self.algorithm, &bits].concat())
    }
}

/// Encodes an element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let digits = content.len().to_be_bytes();
    let first = digits.iter().position(|digit| *digit != 0);
    let digits = first.and_then(|first| digits.get(first..)).unwrap_or(&[0]);
    let mut bytes = vec![tag];
    match digits {
        [length @ 0..=0x7F] => bytes.push(*length),
        // At most eight digits.
        _ => {
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Returns a certificate's public key and everything that follows it.
fn walk(certificate: &[u8]) -> Option<(PublicKeyInfo<'_>, &[u8])> {
    let mut bytes = enter(&mut &*certificate, SEQUENCE)?;
    let mut fields = enter(&mut bytes, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        take(&mut fields)?;
    }
    // Serial number, signature, issuer, validity, subject.
    for _ in 0..5 {
        take(&mut fields)?;
    }
    let info = take(&mut fields).filter(|info| info.tag == SEQUENCE)?;
    let algorithm = take(&mut &*info.content)?.whole;
    let info = PublicKeyInfo {
        whole: info.whole,
        algorithm,
    };
    Some((info, fields))
}

/// Returns the public key of a certificate in DER.
pub(crate) fn public_key(certificate: &[u8]) -> Option<PublicKeyInfo<'_>> {
    walk(certificate).map(|(info, _)| info)
}

/// Tells whether a certificate in DER is an authority's: basicConstraints CA:TRUE. `None` if it is
/// no certificate.
pub(crate) fn is_authority(certificate: &[u8]) -> Option<bool> {
    let (_, mut fields) = walk(certificate)?;
    while let Some(field) = take(&mut fields) {
        if field.tag != EXTENSIONS {
            continue;
        }
        let mut extensions = enter(&mut &*field.content, SEQUENCE)?;
        while let Some(mut extension) = enter(&mut extensions, SEQUENCE) {
            if enter(&mut extension, OBJECT_IDENTIFIER)? != BASIC_CONSTRAINTS {
                continue;
            }
            let mut value = take(&mut extension)?;
            // The optional field "critical".
            if value.tag == BOOLEAN {
                value = take(&mut extension)?;
            }
            if value.tag != OCTET_STRING {
                return None;
            }
            let mut constraints = enter(&mut &*value.content, SEQUENCE)?;
            if enter(&mut constraints, BOOLEAN).is_some_and(|ca| ca != [0]) {
                return Some(true);
            }
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let bytes = element(OCTET_STRING, &content);
            let mut rest = &bytes[..];
            let found = take(&mut rest).unwrap();
            assert_eq!((found.tag, found.content), (OCTET_STRING, &content[..]));
            assert!(rest.is_empty() && found.whole == bytes);
        }
    }

    #[test]
    fn hostile_lengths() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x01],
            &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x30, 0x82, 0x01],
        ] {
            assert_eq!(take(&mut &*bytes), None, "{bytes:x?}");
            assert!(public_key(bytes).is_none() && is_authority(bytes).is_none());
        }
    }
}
