//! A package's unverified contents, for display and for signing.

use std::io::{Read, Seek, SeekFrom};

use crate::head::{parse_manifest, read_prefix, ManifestMember, Read as HeadRead};
use crate::{member, Head, Manifest, PackageError};

/// A package whose head was read without any check.
#[derive(Debug, Clone)]
pub struct Unverified {
    /// `manifest.json`, validated.
    pub manifest: Manifest,
    /// The bytes of `manifest.json`.
    pub manifest_bytes: Vec<u8>,
    /// The head, unless the package is unsigned.
    pub head: Option<Head>,
    /// Offset of the tar header of `system.tar`.
    pub body_offset: u64,
}

impl Unverified {
    /// Reads the head of a package, signed or not.
    pub fn read<F: Read + Seek>(file: &mut F) -> Result<Self, PackageError> {
        file.seek(SeekFrom::Start(0))?;
        let prefix = read_prefix(file)?;
        let Some(ManifestMember {
            manifest,
            bytes,
            next,
        }) = parse_manifest(&prefix)?
        else {
            return Err(PackageError::Truncated {
                member: member::MANIFEST,
            });
        };
        let head = match Head::read(&prefix) {
            Ok(HeadRead::Done(head)) => Some(*head),
            Ok(HeadRead::Need { member }) => return Err(PackageError::Truncated { member }),
            Err(PackageError::Unsigned) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            manifest,
            manifest_bytes: bytes.to_vec(),
            body_offset: head.as_ref().map_or(next as u64, |head| head.body_offset),
            head,
        })
    }
}
