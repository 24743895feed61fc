//! Bytes as lower-case hexadecimal digits.

use std::fmt::Write;

/// The digits of these bytes, two for each.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for byte in bytes.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text is the hexadecimal form of `bytes` bytes, in lower or upper case.
pub fn is_digest(text: &str, bytes: usize) -> bool {
    text.len() == bytes.saturating_mul(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(encode([0, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert!(is_digest(&encode([7; 16]), 16) && is_digest("ABCDEF01", 4));
        for other in ["000fa0f", "000fa0fff", "000fa0fg", "000fa0f\u{e9}"] {
            assert!(!is_digest(other, 4), "{other}");
        }
    }
}
