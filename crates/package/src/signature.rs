//! Detached signatures over the bytes of `manifest.json`. The key's type determines the algorithm;
//! no field of a package selects one.
//!
//! SM2 with SM3 would be one more [`Algorithm`], recognised by the key and checked by [`is_valid`].

use std::fmt;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKeyRef};
use openssl::sign::Verifier;

/// Smallest RSA modulus that is accepted, in bits.
const MIN_RSA_BITS: u32 = 2048;

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA of at least 2048 bits, PKCS#1 v1.5 padding, SHA-256.
    RsaSha256,
    /// ECDSA on P-256, SHA-256, signature as DER.
    EcdsaP256Sha256,
    /// Ed25519 over the message itself (RFC 8032, no prehash).
    Ed25519,
}

impl Algorithm {
    /// Returns the algorithm for `key`, or the reason why the key is not accepted.
    pub fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, String> {
        match key.id() {
            Id::RSA if key.bits() >= MIN_RSA_BITS => Ok(Self::RsaSha256),
            Id::RSA => Err(format!(
                "RSA of {} bits, at least {MIN_RSA_BITS} are needed",
                key.bits()
            )),
            Id::EC => {
                let curve = key.ec_key().ok().and_then(|ec| ec.group().curve_name());
                match curve {
                    Some(Nid::X9_62_PRIME256V1) => Ok(Self::EcdsaP256Sha256),
                    _ => Err("an elliptic curve other than P-256".into()),
                }
            }
            Id::ED25519 => Ok(Self::Ed25519),
            _ => Err("neither RSA, nor ECDSA P-256, nor Ed25519".into()),
        }
    }

    /// Returns a stable word for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Returns the digest to sign; `None` for Ed25519, which signs the message itself.
    pub(crate) fn digest(self) -> Option<MessageDigest> {
        match self {
            Self::RsaSha256 | Self::EcdsaP256Sha256 => Some(MessageDigest::sha256()),
            Self::Ed25519 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Tells whether `signature` is a signature of `message` by `key`. OpenSSL reports some bad
/// signatures as errors, depending on its version, so an error means no.
pub(crate) fn is_valid<T: HasPublic>(
    algorithm: Algorithm,
    key: &PKeyRef<T>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let verifier = match algorithm.digest() {
        Some(digest) => Verifier::new(digest, key),
        None => Verifier::new_without_digest(key),
    };
    verifier
        .and_then(|mut verifier| verifier.verify_oneshot(signature, message))
        .unwrap_or(false)
}
