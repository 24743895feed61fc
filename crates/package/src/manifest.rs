//! The manifest: the description of a package and its contents.

use dau_model::{hex, Kind};
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::strict::{self, Object, Unambiguous};

mod created;
mod payload;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use created::asn1_time;
#[cfg(feature = "make")]
pub(crate) use created::created_text;
pub use created::MAX_AHEAD;
pub use payload::{DeltaOf, Payload, PayloadType, SystemTar};
#[cfg(feature = "make")]
pub(crate) use validate::check_name;

/// The manifest format this crate reads and writes.
pub const FORMAT: u32 = 1;
/// Largest `system.tar`, bytes: the limit of eleven octal digits in a ustar header, and more than
/// any terminal holds.
pub const MAX_SYSTEM_TAR: u64 = 0o77_777_777_777;
/// Largest image that a payload may unpack to: 64 GiB.
pub const MAX_IMAGE: u64 = 64 << 30;
/// `manifest.json`. Unknown members of the top level are ignored, so that later packagers can add
/// remarks without a new format; inside `payloads` and `system` they are refused, as they could
/// change the meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the package, [`FORMAT`].
    pub format: u32,
    /// Product of the terminals that it is for, as in `/etc/os-release` of its OS, e.g.
    /// `qemu-aarch64`.
    pub product: String,
    /// Version of its OS, or of RecoveryOS if it is alone, e.g. `1.1.0`.
    pub version: String,
    /// The parts that it replaces; in a delta, those that its target replaces.
    pub kind: Kind,
    /// Time of the package, RFC 3339 in UTC, e.g. `2026-01-31T12:00:00Z`. Certificates are checked
    /// at this time.
    pub created: String,
    /// Rollback index; a terminal refuses a package with a lower one than that of the installed
    /// package.
    pub rollback_index: u64,
    /// Oldest RecoveryOS that may install the package, see [`crate::version`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub minimum_recovery: Option<String>,
    /// Where the package is a delta: what it is made for. Everything above is then its target's.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present_object"
    )]
    pub delta: Option<DeltaOf>,
    /// The payloads in `system.tar`, in its order.
    #[serde(deserialize_with = "strict::objects")]
    pub payloads: Vec<Payload>,
    /// The size and digests of `system.tar`.
    #[serde(deserialize_with = "strict::object")]
    pub system: SystemTar,
    /// SHA-256 of the software bill of materials (SPDX), lower-case hex, if the builder made one.
    /// The file itself is published beside the package; no terminal needs it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub sbom_sha256: Option<String>,
}

/// An invalid member of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct ManifestError {
    /// The offending member, e.g. `payloads[0].size`.
    pub field: String,
    /// The fault.
    pub reason: String,
}

fn refuse<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError {
        field: field.into(),
        reason: reason.into(),
    })
}

impl Manifest {
    /// Reads and validates the bytes of `manifest.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        // The format is checked first: all else may differ in a later format.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = std::str::from_utf8(bytes).or_else(|_| refuse("manifest", "not UTF-8"))?;
        let json = |error: serde_json::Error| ManifestError {
            field: "manifest".into(),
            reason: error.to_string(),
        };
        let Unambiguous = serde_json::from_str(text).map_err(json)?;
        let Object(Format { format }) = serde_json::from_str(text).map_err(json)?;
        if format != FORMAT {
            return refuse(
                "format",
                format!("{format} is not supported, only {FORMAT}"),
            );
        }
        let Object(manifest) = serde_json::from_str::<Object<Self>>(text).map_err(json)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Returns the bytes of `manifest.json`: members in a fixed order, indented, one newline at the
    /// end.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and integers always serialise.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Returns the SHA-256 of a `manifest.json` in lower-case hex, by which a job identifies its
    /// package.
    pub fn sha256(manifest_bytes: &[u8]) -> String {
        hex::encode(sha256(manifest_bytes))
    }

    /// Returns the size of all images together, unpacked, bytes.
    pub fn image_size(&self) -> u64 {
        self.payloads
            .iter()
            .fold(0, |sum, payload| sum.saturating_add(payload.image_size))
    }

    /// Returns the payload that replaces the kernel.
    pub fn kernel(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type == PayloadType::Kernel)
    }

    /// Returns the payload that replaces the root filesystem.
    pub fn rootfs(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type.is_rootfs())
    }

    /// Returns the payload that replaces RecoveryOS.
    pub fn recovery(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type == PayloadType::Recovery)
    }
}
