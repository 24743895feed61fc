//! The payloads of `system.tar`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{refuse, ManifestError};
use crate::strict;

/// One member of `system.tar`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Member name, [`PayloadType::member`].
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub payload_type: PayloadType,
    /// Size as stored in the package, bytes.
    pub size: u64,
    /// SHA-256 as stored, lower-case hex.
    pub sha256: String,
    /// Size after decompression, bytes.
    pub image_size: u64,
    /// SHA-256 after decompression, lower-case hex.
    pub image_sha256: String,
}

/// The type of a payload, which determines its installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadType {
    /// A FIT image with kernel and device trees, stored as it is.
    Kernel,
    /// A raw ext4 image in zstd frames, see [`crate::frames`].
    RootfsImage,
    /// A FIT image with RecoveryOS, stored as it is.
    Recovery,
    /// The first three members of a delta's target, see [`crate::delta`].
    TargetHead,
    /// What makes the target's images of the base's, see [`crate::delta`].
    Delta,
}

impl PayloadType {
    /// Returns the name of a member of this type in `system.tar`.
    pub fn member(self) -> &'static str {
        match self {
            Self::Kernel => "kernel.itb",
            Self::RootfsImage => "rootfs.img.zst",
            Self::Recovery => "recovery.itb",
            Self::TargetHead => "target.head",
            Self::Delta => "images.delta",
        }
    }

    /// Tells whether it is a root filesystem, stored in zstd frames; all others are stored as they
    /// are.
    pub fn is_rootfs(self) -> bool {
        self == Self::RootfsImage
    }

    /// Returns the word used in manifests.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::RootfsImage => "rootfs-image",
            Self::Recovery => "recovery",
            Self::TargetHead => "target-head",
            Self::Delta => "delta",
        }
    }
}

impl FromStr for PayloadType {
    type Err = ManifestError;

    fn from_str(word: &str) -> Result<Self, ManifestError> {
        let all = [
            Self::Kernel,
            Self::RootfsImage,
            Self::Recovery,
            Self::TargetHead,
            Self::Delta,
        ];
        let found = all.into_iter().find(|found| found.word() == word);
        found.map_or_else(
            || {
                refuse(
                    "type",
                    format!("{word:?} is not kernel, rootfs-image, recovery, target-head or delta"),
                )
            },
            Ok,
        )
    }
}

impl<'de> Deserialize<'de> for PayloadType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict::word(deserializer)
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a delta is made for: members of the manifest's `delta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaOf {
    /// SHA-256 of the manifest of the package that a terminal has, lower-case hex.
    pub base: String,
    /// SHA-256 of the manifest of the package that is rebuilt, lower-case hex.
    pub target: String,
    /// Bytes that the rebuilt package takes, with a reserve: its images are compressed on the
    /// terminal, where zstd may be another one.
    pub rebuilt_size: u64,
}

/// Size and digests of `system.tar`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemTar {
    /// Size of `system.tar`, bytes.
    pub size: u64,
    /// MD5, lower-case hex: a transport check without any security.
    pub md5: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}
