//! Why a package is refused.

use std::io;

use openssl::error::ErrorStack;
use thiserror::Error;

use crate::manifest::ManifestError;

/// Why a package is refused: a stable [`word`](PackageError::word) for programs, a sentence for people.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file cannot be read; says nothing about the package.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
    /// OpenSSL failed for a reason of its own, e.g. lack of memory.
    #[error("OpenSSL failed: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// The file ends too early.
    #[error("the package ends inside {member}: fetch it again")]
    Truncated {
        /// Member in which it ends.
        member: &'static str,
    },
    /// Not built as the format says.
    #[error("{member} is malformed: {reason}")]
    Malformed {
        /// Offending member.
        member: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Another member where one must stand: wrong order, duplicate, unknown or missing.
    #[error("found member {found:?} where {expected} must stand")]
    UnexpectedMember {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A member is larger than the format allows.
    #[error("{member} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Offending member.
        member: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes after the end of the archive.
    #[error("the package has bytes after its end, at offset {offset}")]
    Trailing {
        /// Offset of the first such byte.
        offset: u64,
    },
    /// The manifest makes no sense.
    #[error("manifest.json is refused: {0}")]
    Manifest(#[from] ManifestError),
    /// No signature: a package before `dau-packager sign`.
    #[error("the package is not signed: sign it with dau-packager sign")]
    Unsigned,
    /// The signature does not fit the manifest and the signer's key.
    #[error("manifest.sig is not a signature of manifest.json by {signer}: the package was altered or badly signed")]
    SignatureInvalid {
        /// Subject of the signer's certificate.
        signer: String,
    },
    /// The signer's key is of a kind that is not accepted.
    #[error("the key of {signer} is not accepted: {reason}")]
    SignerKey {
        /// Subject of the signer's certificate.
        signer: String,
        /// What is wrong with the key.
        reason: String,
    },
    /// No chain from the signer to a root of the keyring.
    #[error("signer {signer} does not lead to a root of this keyring: {reason}")]
    SignerUnknown {
        /// Subject of the signer's certificate.
        signer: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// A certificate of the chain is on the keyring's list of revoked ones.
    #[error("certificate {certificate} of signer {signer} is revoked by this keyring")]
    SignerRevoked {
        /// Subject of the signer's certificate.
        signer: String,
        /// Subject of the revoked certificate.
        certificate: String,
    },
    /// The certificate was not issued for signing software.
    #[error("signer {signer} may not sign software: {reason}")]
    SignerNotForCodeSigning {
        /// Subject of the signer's certificate.
        signer: String,
        /// What is missing.
        reason: String,
    },
    /// A certificate of the chain had expired when the package was made.
    #[error("certificate {certificate} of signer {signer} had expired when the package was made ({created})")]
    SignerExpired {
        /// Subject of the signer's certificate.
        signer: String,
        /// Subject of the expired certificate.
        certificate: String,
        /// The manifest's time.
        created: String,
    },
    /// A certificate of the chain was not valid yet when the package was made.
    #[error("certificate {certificate} of signer {signer} was not valid yet when the package was made ({created})")]
    SignerNotYetValid {
        /// Subject of the signer's certificate.
        signer: String,
        /// Subject of the certificate.
        certificate: String,
        /// The manifest's time.
        created: String,
    },
    /// MD5 differs.
    #[error("MD5 of system.tar: {what} says {expected}, but it is {found}")]
    Md5Mismatch {
        /// Where the expected digest stands: `manifest.json` or `system.tar.md5`.
        what: &'static str,
        /// Digest that stands there.
        expected: String,
        /// Digest of the bytes.
        found: String,
    },
    /// SHA-256 differs.
    #[error("SHA-256 of {member}: manifest.json says {expected}, but it is {found}")]
    Sha256Mismatch {
        /// Offending member.
        member: &'static str,
        /// Digest in the manifest.
        expected: String,
        /// Digest of the bytes.
        found: String,
    },
}

impl PackageError {
    /// A stable word for results, counters and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::OpenSsl(_) => "openssl",
            Self::Truncated { .. } => "truncated",
            Self::Malformed { .. } => "malformed",
            Self::UnexpectedMember { .. } => "unexpected-member",
            Self::TooLarge { .. } => "too-large",
            Self::Trailing { .. } => "trailing-bytes",
            Self::Manifest(_) => "manifest-invalid",
            Self::Unsigned => "unsigned",
            Self::SignatureInvalid { .. } => "signature-invalid",
            Self::SignerKey { .. } => "signer-key",
            Self::SignerUnknown { .. } => "signer-unknown",
            Self::SignerRevoked { .. } => "signer-revoked",
            Self::SignerNotForCodeSigning { .. } => "signer-not-for-code-signing",
            Self::SignerExpired { .. } => "signer-expired-at-creation",
            Self::SignerNotYetValid { .. } => "signer-not-yet-valid-at-creation",
            Self::Md5Mismatch { .. } => "md5-mismatch",
            Self::Sha256Mismatch { .. } => "sha256-mismatch",
        }
    }

    /// Whether the package itself is at fault. False means that reading or checking it failed, so trying again makes
    /// sense.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::OpenSsl(_))
    }
}
