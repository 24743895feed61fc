//! Reasons to refuse a package.

use std::io;

use openssl::error::ErrorStack;
use thiserror::Error;

use dau_model::{Reason, Word};

use crate::ext4::Ext4Error;
use crate::manifest::ManifestError;

/// A reason to refuse a package: a stable [`word`](PackageError::word) for programs, a sentence for
/// people.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file cannot be read, which says nothing about the package.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
    /// OpenSSL failed for its own reasons, e.g. lack of memory.
    #[error("OpenSSL failed: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// The file ends too early.
    #[error("the package ends inside {member}: fetch it again")]
    Truncated {
        /// The incomplete member.
        member: &'static str,
    },
    /// It violates the format.
    #[error("{member} is malformed: {reason}")]
    Malformed {
        /// The offending member.
        member: &'static str,
        /// The violation.
        reason: String,
    },
    /// There is another member than expected: wrong order, duplicate, unknown or missing.
    #[error("found member {found:?} where {expected} must stand")]
    UnexpectedMember {
        /// The expected member.
        expected: &'static str,
        /// The found member.
        found: String,
    },
    /// A member is larger than the format allows.
    #[error("{member} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The offending member.
        member: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes after the end of the archive.
    #[error("the package has bytes after its end, at offset {offset}")]
    Trailing {
        /// Offset of the first of them.
        offset: u64,
    },
    /// The manifest is invalid.
    #[error("manifest.json is refused: {0}")]
    Manifest(#[from] ManifestError),
    /// No signature: a package before `dau-packager sign`.
    #[error("the package is not signed: sign it with dau-packager sign")]
    Unsigned,
    /// The signature does not match the manifest and the signer's key.
    #[error(
        "manifest.sig is not a signature of manifest.json by {signer}: the package was altered \
        or badly signed"
    )]
    SignatureInvalid {
        /// Subject of the signer's certificate.
        signer: String,
    },
    /// The signer's key is of an unsupported kind.
    #[error("the key of {signer} is not accepted: {reason}")]
    SignerKey {
        /// Subject of the signer's certificate.
        signer: String,
        /// The fault of the key.
        reason: String,
    },
    /// There is no chain from the signer to a root of the keyring.
    #[error("signer {signer} does not lead to a root of this keyring: {reason}")]
    SignerUnknown {
        /// Subject of the signer's certificate.
        signer: String,
        /// OpenSSL's error.
        reason: String,
    },
    /// A certificate of the chain is revoked by the keyring.
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
        /// The missing usage.
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
    #[error(
        "certificate {certificate} of signer {signer} was not valid yet when the package was \
        made ({created})"
    )]
    SignerNotYetValid {
        /// Subject of the signer's certificate.
        signer: String,
        /// Subject of the certificate.
        certificate: String,
        /// The manifest's time.
        created: String,
    },
    /// A delta, where only a whole package will do.
    #[error("it is a delta from package {base}, not a whole package")]
    UnexpectedDelta {
        /// SHA-256 of the manifest of its base.
        base: String,
    },
    /// A whole package, where a delta must stand.
    #[error("it is a whole package, not a delta")]
    NotADelta,
    /// MD5 differs.
    #[error("MD5 of system.tar: {what} says {expected}, but it is {found}")]
    Md5Mismatch {
        /// The place of the expected digest: `manifest.json` or `system.tar.md5`.
        what: &'static str,
        /// The expected digest.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// A payload's unpacked image differs from the manifest.
    #[error(
        "{member} does not unpack to what manifest.json says: {reason}: build the package again"
    )]
    Image {
        /// The offending member.
        member: &'static str,
        /// The difference.
        reason: String,
    },
    /// RecoveryOS cannot install the root filesystem, or the kernel cannot mount it.
    #[error("the file system in {member} cannot be installed: {error}")]
    FileSystem {
        /// The offending member.
        member: &'static str,
        /// The reason.
        error: Ext4Error,
    },
    /// SHA-256 differs.
    #[error("SHA-256 of {member}: manifest.json says {expected}, but it is {found}")]
    Sha256Mismatch {
        /// The offending member.
        member: &'static str,
        /// The digest in the manifest.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
}

impl PackageError {
    /// Returns a stable word for results, counters and logs.
    pub fn word(&self) -> Word {
        match self {
            Self::Io(_) => Word::Io,
            Self::OpenSsl(_) => Word::OpenSsl,
            Self::Truncated { .. } => Word::Truncated,
            Self::Malformed { .. } => Word::Malformed,
            Self::UnexpectedMember { .. } => Word::UnexpectedMember,
            Self::TooLarge { .. } => Word::TooLarge,
            Self::Trailing { .. } => Word::TrailingBytes,
            Self::Manifest(_) => Word::ManifestInvalid,
            Self::Unsigned => Word::Unsigned,
            Self::SignatureInvalid { .. } => Word::SignatureInvalid,
            Self::SignerKey { .. } => Word::SignerKey,
            Self::SignerUnknown { .. } => Word::SignerUnknown,
            Self::SignerRevoked { .. } => Word::SignerRevoked,
            Self::SignerNotForCodeSigning { .. } => Word::SignerNotForCodeSigning,
            Self::SignerExpired { .. } => Word::SignerExpired,
            Self::SignerNotYetValid { .. } => Word::SignerNotYetValid,
            Self::UnexpectedDelta { .. } => Word::UnexpectedDelta,
            Self::NotADelta => Word::NotADelta,
            Self::Md5Mismatch { .. } => Word::Md5Mismatch,
            Self::Sha256Mismatch { .. } => Word::Sha256Mismatch,
            Self::Image { .. } => Word::ImageMismatch,
            Self::FileSystem { .. } => Word::FileSystem,
        }
    }

    /// Returns word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.word(), self.to_string())
    }

    /// Tells whether the package itself is at fault. If not, reading or checking it failed, and a
    /// retry makes sense.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::OpenSsl(_))
    }
}
