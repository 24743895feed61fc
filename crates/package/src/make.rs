//! Making packages and the development keys to sign them: what `dau-packager` and tests do, and terminals never do.
//!
//! Equal inputs make equal bytes: members carry the manifest's time and no owner, frames are compressed each by
//! itself so that the number of threads does not show, and the manifest is written in one way only. RSA and
//! Ed25519 signatures are deterministic too; ECDSA draws a random number for each.

use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use thiserror::Error;

use crate::frames::FrameError;
use crate::manifest::ManifestError;
use crate::PackageError;

mod build;
mod certificate;
mod compress;
mod image;
mod pki;
mod sign;
mod unpack;
mod unverified;
mod write;

pub use build::{build, Recipe};
pub use certificate::{generate_key, issue, Issuer, Role, Template};
pub use compress::{compress, Compressed, Compression, DEFAULT_LEVEL, MAX_LEVEL};
pub use pki::{Pki, PkiOptions};
pub use sign::{sign, Signing};
pub use unpack::check_images;
pub use unverified::Unverified;

/// What is going on, for a progress bar: the step, bytes done, bytes in all (0 where not known).
pub type Progress<'a> = &'a mut dyn FnMut(Step, u64, u64);

/// A step of making or checking a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Compressing the root filesystem.
    Compress,
    /// Computing the digests of `system.tar`.
    Digest,
    /// Checking what was written, as a terminal would.
    Verify,
    /// Unpacking the images and comparing their digests.
    Unpack,
}

/// Why a package or a key could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An input is not what it must be.
    #[error("{}: {reason}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was given.
    #[error("a package needs a kernel, a rootfs or both, or a RecoveryOS")]
    Empty,
    /// A RecoveryOS with only one of the others.
    #[error("a RecoveryOS travels alone, or with a kernel and a rootfs")]
    Parts,
    /// What the manifest would say makes no sense.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// The package that was read or just written is refused.
    #[error("{0}")]
    Package(#[from] PackageError),
    /// The signature could not be made.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// A payload does not unpack to what the manifest says.
    #[error("{member}: {reason}")]
    Image {
        /// Offending payload.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// OpenSSL failed.
    #[error("OpenSSL failed: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// A payload does not consist of frames.
    #[error("{0}")]
    Frames(#[from] FrameError),
}

impl MakeError {
    /// For `map_err` on file operations.
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
