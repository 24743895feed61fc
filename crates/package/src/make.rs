//! Makes packages, and development keys to sign them: for `dau-packager` and tests, never on
//! terminals.
//!
//! Equal inputs make equal bytes: members carry the manifest's time and no owner, every frame is
//! compressed by itself so that the number of threads does not matter, and the manifest has a
//! canonical form. RSA and Ed25519 signatures are deterministic too; ECDSA uses a random number.

use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use thiserror::Error;

use crate::manifest::ManifestError;
use crate::PackageError;

mod build;
mod certificate;
mod compress;
mod delta;
mod ext4;
mod image;
mod output;
mod pki;
mod places;
mod seal;
mod sign;
mod unverified;
mod write;

pub use build::{build, Recipe};
pub use certificate::{generate_key, issue, Issuer, Role, Template};
pub use compress::{compress, Compressed, Compression, DEFAULT_LEVEL, MAX_LEVEL};
pub use delta::{delta, DeltaRecipe};
pub use pki::{Pki, PkiOptions};
pub use places::{keep_places, Places};
pub use sign::{sign, Signing};
pub use unverified::Unverified;
pub use write::assemble;

/// A callback for a progress bar: the step, bytes done, bytes in total (0 if unknown).
pub type Progress<'a> = &'a mut dyn FnMut(Step, u64, u64);

/// A step in making or checking a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Compressing the root filesystem.
    Compress,
    /// Computing the digests of `system.tar`.
    Digest,
    /// Having the manifest signed.
    Sign,
    /// Checking the written package as a terminal would.
    Verify,
    /// Unpacking the images and comparing their digests.
    Unpack,
    /// Comparing the images of a delta's base and target.
    Compare,
    /// Applying a delta as a terminal does.
    Apply,
}

/// A reason why a package or a key could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An input is invalid.
    #[error("{}: {reason}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// There are no inputs.
    #[error("a package needs a kernel, a rootfs or both, or a RecoveryOS")]
    Empty,
    /// There is a RecoveryOS with only one of kernel and root filesystem.
    #[error("a RecoveryOS travels alone, or with a kernel and a rootfs")]
    Parts,
    /// No delta can be made of these packages.
    #[error("no delta can be made: {0}")]
    Delta(String),
    /// A root filesystem cannot be laid out like an earlier one.
    #[error("{0}")]
    Places(String),
    /// The manifest would be invalid.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// The package that was read or just written is invalid.
    #[error("{0}")]
    Package(#[from] PackageError),
    /// The signature could not be made.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// OpenSSL failed.
    #[error("OpenSSL failed: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl MakeError {
    /// Returns a converter for `map_err` on file operations.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn input(path: &Path, reason: impl Into<String>) -> Self {
        Self::Input {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
