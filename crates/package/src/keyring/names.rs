//! Names of certificates for people.

use dau_model::hex;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::{X509NameRef, X509Ref};

pub(super) fn fingerprint(certificate: &X509Ref) -> Result<String, ErrorStack> {
    Ok(hex::encode(certificate.digest(MessageDigest::sha256())?))
}

pub(super) fn subject(certificate: &X509Ref) -> String {
    distinguished_name(certificate.subject_name())
}

/// Formats a name with the most specific part first, as in RFC 4514. Control characters are
/// escaped, as names come from hostile input and go to logs.
pub fn distinguished_name(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry
            .data()
            .to_string()
            .map(|value| value.escape_debug().to_string());
        format!("{key}={}", value.unwrap_or_default())
    };
    let mut parts: Vec<_> = name.entries().map(part).collect();
    parts.reverse();
    parts.join(",")
}
