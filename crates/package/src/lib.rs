//! The upgrade package: one `.dau` file that holds a kernel, a root filesystem or both, or a RecoveryOS.
//!
//! A package is an uncompressed POSIX tar with exactly these members in this order; `docs/formats/package.md`
//! describes every byte and how to check one by hand.
//!
//! | member | what |
//! | --- | --- |
//! | `manifest.json` | [`Manifest`]: what the package is, and sizes and digests of everything after the signer |
//! | `manifest.sig` | detached signature over the bytes of `manifest.json` |
//! | `signer.pem` | the signer's certificate, then its intermediates; the root is in the [`Keyring`] |
//! | `system.tar` | a tar of the payloads: `kernel.itb`, then `rootfs.img.zst` or `rootfs.tar.zst`, then `recovery.itb` |
//! | `system.tar.md5` | the line that `md5sum -c` reads |
//!
//! Who reads a package while it still arrives uses [`Head::parse`], [`Head::verify`] and [`check_policy`] on its
//! first kilobytes. Who has the whole file uses [`verify()`], which reads it once. The reader takes every byte for
//! hostile until the signature and the digests say otherwise.
//!
//! Making packages is behind the feature `make`, which terminals do not enable.

mod container;
mod error;
pub mod frames;
mod head;
mod keyring;
#[cfg(feature = "make")]
pub mod make;
mod manifest;
mod policy;
mod signature;
mod verify;
pub mod version;

pub use error::PackageError;
pub use head::{Head, MAX_HEAD};
pub use keyring::{distinguished_name, Keyring, KeyringError, Signer};
pub use manifest::{
    Manifest, ManifestError, PackageKind, Payload, PayloadType, SystemTar, FORMAT, MAX_IMAGE,
    MAX_SYSTEM_TAR,
};
pub use policy::{check_policy, Installed, Refusal};
pub use signature::Algorithm;
pub use verify::{verify, PayloadLocation, Verified};

/// Member names, in the one order.
pub mod member {
    /// First member.
    pub const MANIFEST: &str = "manifest.json";
    /// Detached signature over the first member.
    pub const SIGNATURE: &str = "manifest.sig";
    /// The signer's certificate and intermediates.
    pub const SIGNER: &str = "signer.pem";
    /// The tar of the payloads.
    pub const SYSTEM: &str = "system.tar";
    /// The line that `md5sum -c` reads.
    pub const SYSTEM_MD5: &str = "system.tar.md5";
}
