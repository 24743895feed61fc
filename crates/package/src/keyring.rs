//! The keyring: trusted roots, and revoked certificates and keys.
//!
//! - here: the keyring and its errors
//! - `files`: reads it; `path`: builds the path from a signer to a root; `usage`: the permitted use
//!   of a signer's certificate; `revocation`: revoked certificates and keys; `names`: certificates'
//!   names for people

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use openssl::x509::X509;
use thiserror::Error;

use crate::signature::{is_valid, Algorithm};
use crate::{Manifest, PackageError};

mod files;
mod names;
mod path;
mod revocation;
mod usage;

pub use names::distinguished_name;
use names::{fingerprint, subject};
use revocation::Revoked;

/// The trusted roots, and the revoked certificates and keys.
///
/// A folder: every `*.pem` holds one or more self-signed root certificates; the optional file
/// `revoked` has one line per revocation, `certificate HEX` or `key HEX`, where HEX is the SHA-256
/// of the certificate (as `openssl x509 -fingerprint -sha256` prints it, colons allowed) or of the
/// public key in DER (which revokes every certificate for that key). `#` starts a comment. Anything
/// else in the folder is refused.
#[derive(Debug, Clone)]
pub struct Keyring {
    roots: Vec<X509>,
    revoked: BTreeSet<Revoked>,
}

/// The signer of a fully verified package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Subject of the certificate, e.g. `CN=dau package signer,O=Example`.
    pub subject: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint_sha256: String,
    /// The signature's algorithm.
    pub algorithm: Algorithm,
}

/// A reason why a keyring cannot be used. A keyring that cannot be read as a whole trusts nobody;
/// it never becomes a smaller one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// A file or the folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file does not belong in a keyring. Files are never ignored: an ignored root or revocation
    /// would go unnoticed.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// There are no roots.
    #[error("{} holds no root certificate (*.pem), so no package could be believed", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A line of the list of revocations is invalid.
    #[error("{}, line {line}: {text:?} is not `certificate` or `key` and 64 hex digits", path.display())]
    Revoked {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl Keyring {
    /// Checks that `signature` is a signature of `message` by the first certificate of `chain`, and
    /// that this certificate may sign software for this keyring at the time of `manifest`.
    pub(crate) fn check(
        &self,
        chain: &[X509],
        message: &[u8],
        signature: &[u8],
        manifest: &Manifest,
    ) -> Result<Signer, PackageError> {
        let [certificate, intermediates @ ..] = chain else {
            return Err(PackageError::Unsigned);
        };
        let signer = subject(certificate);
        // The signature comes first: after it, the manifest's contents are at least the signer's
        // own.
        let key = certificate
            .public_key()
            .map_err(|_| "unreadable".to_owned())
            .and_then(|key| Algorithm::of(&key).map(|algorithm| (key, algorithm)));
        let (key, algorithm) = key.map_err(|reason| PackageError::SignerKey {
            signer: signer.clone(),
            reason,
        })?;
        if !is_valid(algorithm, &key, message, signature) {
            return Err(PackageError::SignatureInvalid { signer });
        }
        let path = self.build_path(certificate, intermediates, manifest)?;
        self.check_revocation(&path)?;
        usage::check(&path)?;
        Ok(Signer {
            subject: signer,
            fingerprint_sha256: fingerprint(certificate)?,
            algorithm,
        })
    }
}
