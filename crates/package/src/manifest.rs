//! The manifest: what a package is and what it must contain.

use std::fmt;
use std::str::FromStr;

use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

/// The manifest format this crate reads and writes.
pub const FORMAT: u32 = 1;
/// Largest `system.tar`: what eleven octal digits of a ustar header can say, and more than any terminal holds.
pub const MAX_SYSTEM_TAR: u64 = 0o77_777_777_777;
/// Largest image that a payload may unpack to: 64 GiB.
pub const MAX_IMAGE: u64 = 64 << 30;
/// Longest product name or version, in bytes. They become file names and message fields.
const MAX_NAME: usize = 64;

/// `manifest.json`. Unknown members of the top level are ignored, so that a later packager can add remarks without
/// a new format; inside `payloads` and `system` they are refused, since they could change what the bytes mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the package, [`FORMAT`].
    pub format: u32,
    /// The kind of terminal it is made for, as `/etc/os-release` of its OS names it, e.g. `qemu-aarch64`.
    pub product: String,
    /// Version of the OS that it installs (of RecoveryOS where it brings nothing else), e.g. `1.1.0`.
    pub version: String,
    /// What it replaces.
    pub kind: PackageKind,
    /// When it was made, RFC 3339 in UTC, e.g. `2026-01-31T12:00:00Z`. Certificates are judged at this time.
    pub created: String,
    /// A terminal refuses a package with a lower index than that of the installed one.
    pub rollback_index: u64,
    /// A terminal whose RecoveryOS is older refuses the package, see [`crate::version`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_recovery: Option<String>,
    /// What `system.tar` holds, in its order.
    pub payloads: Vec<Payload>,
    /// The size and digests of `system.tar`.
    pub system: SystemTar,
    /// SHA-256 of the software bill of materials (SPDX) of what is installed, lower-case hex, where the builder made one. The file
    /// itself is published beside the package; no terminal needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom_sha256: Option<String>,
}

/// What a package replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// The kernel alone.
    Kernel,
    /// The root filesystem alone.
    Rootfs,
    /// Kernel and root filesystem; a RecoveryOS may travel with them.
    Full,
    /// RecoveryOS alone.
    Recovery,
}

impl PackageKind {
    /// The word used in manifests, orders and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Rootfs => "rootfs",
            Self::Full => "full",
            Self::Recovery => "recovery",
        }
    }

    /// Whether a package of this kind brings a kernel.
    pub fn has_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::Full)
    }

    /// Whether a package of this kind brings a root filesystem.
    pub fn has_rootfs(self) -> bool {
        matches!(self, Self::Rootfs | Self::Full)
    }
}

impl fmt::Display for PackageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for PackageKind {
    type Err = ManifestError;

    fn from_str(word: &str) -> Result<Self, ManifestError> {
        match word {
            "kernel" => Ok(Self::Kernel),
            "rootfs" => Ok(Self::Rootfs),
            "full" => Ok(Self::Full),
            "recovery" => Ok(Self::Recovery),
            _ => refuse(
                "kind",
                format!("{word:?} is not kernel, rootfs, full or recovery"),
            ),
        }
    }
}

/// One member of `system.tar`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Member name, [`PayloadType::member`].
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub payload_type: PayloadType,
    /// Bytes as stored in the package.
    pub size: u64,
    /// SHA-256 of the bytes as stored, lower-case hex.
    pub sha256: String,
    /// Bytes after decompression.
    pub image_size: u64,
    /// SHA-256 after decompression, lower-case hex.
    pub image_sha256: String,
}

/// What a payload is, and so how it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadType {
    /// A FIT image with kernel and device trees, stored as it is.
    Kernel,
    /// A raw ext4 image in zstd frames, see [`crate::frames`].
    RootfsImage,
    /// A tar of the root filesystem in zstd frames, see [`crate::frames`].
    RootfsArchive,
    /// A FIT image with RecoveryOS, stored as it is.
    Recovery,
}

impl PayloadType {
    /// The member name that a payload of this type has in `system.tar`.
    pub fn member(self) -> &'static str {
        match self {
            Self::Kernel => "kernel.itb",
            Self::RootfsImage => "rootfs.img.zst",
            Self::RootfsArchive => "rootfs.tar.zst",
            Self::Recovery => "recovery.itb",
        }
    }

    /// Whether it is a root filesystem, and so stored in zstd frames; what is not is stored as it is.
    pub fn is_rootfs(self) -> bool {
        matches!(self, Self::RootfsImage | Self::RootfsArchive)
    }

    /// The word used in manifests.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::RootfsImage => "rootfs-image",
            Self::RootfsArchive => "rootfs-archive",
            Self::Recovery => "recovery",
        }
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Size and digests of `system.tar`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemTar {
    /// Bytes of `system.tar`.
    pub size: u64,
    /// MD5, lower-case hex: a transport check, no proof of anything.
    pub md5: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// A manifest that makes no sense: the member of it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct ManifestError {
    /// The offending member, e.g. `payloads[0].size`.
    pub field: String,
    /// What is wrong with it.
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
        // The format is judged first: a later format may look different in every other member.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = std::str::from_utf8(bytes).or_else(|_| refuse("manifest", "not UTF-8"))?;
        let json = |error: serde_json::Error| ManifestError {
            field: "manifest".into(),
            reason: error.to_string(),
        };
        let Format { format } = serde_json::from_str(text).map_err(json)?;
        if format != FORMAT {
            return refuse(
                "format",
                format!("{format} is not supported, only {FORMAT}"),
            );
        }
        let manifest: Self = serde_json::from_str(text).map_err(json)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The bytes of `manifest.json`: members in a fixed order, indented, one newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and integers alone always serialise.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// SHA-256 of the bytes of a `manifest.json`, lower-case hex: the name under which a job knows its package.
    pub fn sha256(manifest_bytes: &[u8]) -> String {
        hex(&sha256(manifest_bytes))
    }

    /// `created` in seconds since 1970.
    pub fn created_unix(&self) -> Result<i64, ManifestError> {
        let time = OffsetDateTime::parse(&self.created, &Rfc3339).or_else(|_| {
            refuse(
                "created",
                format!("{:?} is not an RFC 3339 time", self.created),
            )
        })?;
        if !self.created.ends_with('Z') || time.year() < 1970 {
            return refuse(
                "created",
                format!("{:?} is not in UTC after 1970", self.created),
            );
        }
        Ok(time.unix_timestamp())
    }

    /// Bytes that all images take once unpacked.
    pub fn image_size(&self) -> u64 {
        self.payloads
            .iter()
            .fold(0, |sum, payload| sum.saturating_add(payload.image_size))
    }

    /// The payload that replaces the kernel.
    pub fn kernel(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type == PayloadType::Kernel)
    }

    /// The payload that replaces the root filesystem.
    pub fn rootfs(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type.is_rootfs())
    }

    /// The payload that replaces RecoveryOS.
    pub fn recovery(&self) -> Option<&Payload> {
        self.payloads
            .iter()
            .find(|payload| payload.payload_type == PayloadType::Recovery)
    }

    /// Refuses a manifest that makes no sense, whoever signed it.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse(
                "format",
                format!("{} is not supported, only {FORMAT}", self.format),
            );
        }
        check_name("product", &self.product)?;
        check_name("version", &self.version)?;
        if let Some(version) = &self.minimum_recovery {
            check_name("minimum_recovery", version)?;
        }
        self.created_unix()?;
        self.check_kind()?;
        for (index, payload) in self.payloads.iter().enumerate() {
            payload.validate(&format!("payloads[{index}]"))?;
        }
        check_hex("system.md5", &self.system.md5, 32)?;
        check_hex("system.sha256", &self.system.sha256, 64)?;
        if let Some(sbom) = &self.sbom_sha256 {
            check_hex("sbom_sha256", sbom, 64)?;
        }
        self.check_system_size()
    }

    fn check_kind(&self) -> Result<(), ManifestError> {
        use PayloadType::{Kernel, Recovery, RootfsArchive, RootfsImage};
        let types: Vec<_> = self.payloads.iter().map(|p| p.payload_type).collect();
        let kind = match types.as_slice() {
            [Kernel] => PackageKind::Kernel,
            [RootfsImage | RootfsArchive] => PackageKind::Rootfs,
            [Kernel, RootfsImage | RootfsArchive] => PackageKind::Full,
            [Kernel, RootfsImage | RootfsArchive, Recovery] => PackageKind::Full,
            [Recovery] => PackageKind::Recovery,
            _ => {
                return refuse(
                    "payloads",
                    "neither a kernel, nor a rootfs, nor a recovery, nor a kernel, a rootfs and perhaps a recovery",
                )
            }
        };
        if kind != self.kind {
            return refuse(
                "kind",
                format!("says {}, but the payloads make it {kind}", self.kind),
            );
        }
        Ok(())
    }

    fn check_system_size(&self) -> Result<(), ManifestError> {
        let size = self.system.size;
        if size > MAX_SYSTEM_TAR {
            return refuse(
                "system.size",
                format!("{size} is above the limit of {MAX_SYSTEM_TAR} bytes"),
            );
        }
        let mut least = 2 * BLOCK;
        for payload in &self.payloads {
            least += BLOCK + padded(payload.size);
        }
        if size < least || size > least.next_multiple_of(BLOCKING) || size % BLOCK != 0 {
            return refuse(
                "system.size",
                format!("{size} does not fit the payloads, which take {least} bytes"),
            );
        }
        Ok(())
    }
}

impl Payload {
    fn validate(&self, at: &str) -> Result<(), ManifestError> {
        if self.name != self.payload_type.member() {
            return refuse(
                format!("{at}.name"),
                format!(
                    "{:?} where a {} is called {}",
                    self.name,
                    self.payload_type,
                    self.payload_type.member()
                ),
            );
        }
        check_hex(&format!("{at}.sha256"), &self.sha256, 64)?;
        check_hex(&format!("{at}.image_sha256"), &self.image_sha256, 64)?;
        if self.size == 0 || self.size > MAX_SYSTEM_TAR {
            return refuse(
                format!("{at}.size"),
                format!("{} is not in 1..={MAX_SYSTEM_TAR}", self.size),
            );
        }
        if self.image_size == 0 || self.image_size > MAX_IMAGE {
            return refuse(
                format!("{at}.image_size"),
                format!("{} is not in 1..={MAX_IMAGE}", self.image_size),
            );
        }
        let stored = (self.size, &self.sha256);
        if !self.payload_type.is_rootfs() && stored != (self.image_size, &self.image_sha256) {
            return refuse(
                at,
                format!(
                    "a {} is stored as it is, but its image differs in size or digest",
                    self.payload_type
                ),
            );
        }
        Ok(())
    }
}

/// Bytes of a tar block.
pub(crate) const BLOCK: u64 = 512;
/// Bytes to which ordinary tar programs pad an archive.
pub(crate) const BLOCKING: u64 = 20 * BLOCK;

/// `size` with a member's padding.
pub(crate) fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// Lower-case hex, as `sha256sum` prints it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_hex(field: &str, value: &str, digits: usize) -> Result<(), ManifestError> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if value.len() != digits || !value.bytes().all(lower_hex) {
        return refuse(field, format!("not {digits} lower-case hex digits"));
    }
    Ok(())
}

/// Product and version become file names, topics and environment variables: no more than those bear everywhere.
pub(crate) fn check_name(field: &str, value: &str) -> Result<(), ManifestError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    if value.is_empty() || value.len() > MAX_NAME || !value.bytes().all(plain) {
        return refuse(
            field,
            format!("{value:?} is not 1 to {MAX_NAME} of letters, digits and . _ + ~ -"),
        );
    }
    if !value.as_bytes()[0].is_ascii_alphanumeric() {
        return refuse(
            field,
            format!("{value:?} does not start with a letter or digit"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
