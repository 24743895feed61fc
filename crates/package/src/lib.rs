//! The upgrade package: one `.dau` file that holds a kernel, a root filesystem or both, or a
//! RecoveryOS.
//!
//! A package is an uncompressed POSIX tar with exactly these members in this order;
//! docs/formats/package.md describes every byte and how to check one by hand.
//!
//! | member | what |
//! | --- | --- |
//! | `manifest.json` | [`Manifest`]: what the package is, and sizes and digests of everything after the signer |
//! | `manifest.sig` | detached signature over the bytes of `manifest.json` |
//! | `signer.pem` | the signer's certificate, then its intermediates; the root is in the [`Keyring`] |
//! | `system.tar` | a tar of the payloads: `kernel.itb`, then `rootfs.img.zst`, then `recovery.itb` |
//! | `system.tar.md5` | the line that `md5sum -c` reads |
//!
//! - While a package still arrives: [`Head`] for its first kilobytes, [`check_policy`] for this
//!   terminal
//! - For a whole file: [`verify()`] reads it once; [`verify_whole`] unpacks the images, too, and
//!   writes nothing
//! - For making packages: `make`, behind the feature of that name, which terminals do not enable
//!
//! # What it guarantees
//!
//! - The signed manifest determines every byte of an accepted package; nothing else passes.
//! - No byte is trusted before signature, MD5 and SHA-256 were checked; no package causes a panic
//!   or a hang, and [`verify()`] takes about 1 MiB of memory whatever the size.
//! - Certificates are checked at the time in the manifest, never at the terminal's clock's time.
//! - Equal inputs make equal packages, except for the random number of an ECDSA signature.
//!
//! # Example
//!
//! A package is made, verified as a terminal does it, and refused with one byte changed:
//!
//! ```
//! # #[cfg(feature = "make")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dau_package::make::{build, Compression, Pki, PkiOptions, Recipe, Signing};
//! use dau_package::{verify, Keyring};
//! use openssl::pkey::PKey;
//! use std::io::Cursor;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! // A kernel's FIT image: here only its head, and its length.
//! let kernel = folder.join("kernel.itb");
//! std::fs::write(&kernel, [0xD0, 0x0D, 0xFE, 0xED, 0, 0, 0, 8])?;
//!
//! let pki = Pki::create(&folder.join("pki"), &PkiOptions::default())?;
//! let key = PKey::private_key_from_pem(&std::fs::read(pki.signer_key())?)?;
//! let signing = Signing::with_key(&std::fs::read(pki.signer_chain())?, key)?;
//! # let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
//! let recipe = Recipe {
//!     product: "dtu".to_owned(),
//!     version: "1.1.0".to_owned(),
//!     created: now as i64,
//!     rollback_index: 1,
//!     kernel: Some(kernel),
//!     rootfs: None,
//!     sbom: None,
//!     recovery: None,
//!     minimum_recovery: None,
//!     compression: Compression { level: 9, threads: 1 },
//! };
//! let package = folder.join("dtu-1.1.0-kernel.dau");
//! build(&recipe, Some(&signing), &package, &mut |_step, _done, _all| ())?;
//!
//! let keyring = Keyring::load(&pki.keyring())?;
//! let mut bytes = std::fs::read(&package)?;
//! let verified = verify(Cursor::new(&bytes), &keyring, &mut |_done, _all| ())?;
//! assert_eq!(verified.manifest.version, "1.1.0");
//!
//! bytes[600] ^= 1;
//! let refused = verify(Cursor::new(&bytes), &keyring, &mut |_, _| ()).unwrap_err();
//! assert!(refused.is_refusal(), "{refused}");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "make"))]
//! # fn main() {}
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

mod blocks;
mod container;
pub mod delta;
mod der;
mod error;
pub mod ext4;
pub mod frames;
mod head;
mod images;
mod keyring;
#[cfg(feature = "make")]
pub mod make;
mod manifest;
mod policy;
mod signature;
mod strict;
mod verify;
pub mod version;

pub use error::PackageError;
pub use head::{Head, MAX_HEAD, MIN_HEAD};
pub use images::{check_images, refused, ImageCheck};
pub use keyring::{distinguished_name, Keyring, KeyringError, Signer};
pub use manifest::{
    DeltaOf, Manifest, ManifestError, Payload, PayloadType, SystemTar, FORMAT, MAX_AHEAD,
    MAX_IMAGE, MAX_SYSTEM_TAR,
};
pub use policy::{check_policy, Installed, Refusal};
pub use signature::Algorithm;
pub use verify::{
    form_of, verify, verify_kept, verify_stored, verify_whole, Form, PayloadLocation, Verified,
};

/// Member names, in their order.
pub mod member {
    /// First member.
    pub const MANIFEST: &str = "manifest.json";
    /// Detached signature over the first member.
    pub const SIGNATURE: &str = "manifest.sig";
    /// The signer's certificate and intermediates.
    pub const SIGNER: &str = "signer.pem";
    /// The tar of the payloads.
    pub const SYSTEM: &str = "system.tar";
    /// The line for `md5sum -c`.
    pub const SYSTEM_MD5: &str = "system.tar.md5";
    /// The tar of the payloads in a package that a terminal rebuilt, see [`crate::Form`].
    pub const REBUILT: &str = "rebuilt.tar";
    /// The line for `md5sum -c` there.
    pub const REBUILT_MD5: &str = "rebuilt.tar.md5";
}
