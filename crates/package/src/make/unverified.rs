//! A package as it claims to be, for people who look at it and for signing it.

use std::io::{Read, Seek};

use crate::head::{parse_manifest, ManifestMember, Read as HeadRead};
use crate::verify::read_prefix;
use crate::{member, Head, Manifest, PackageError};

/// A package whose head has been read and nothing checked.
#[derive(Debug, Clone)]
pub struct Unverified {
    /// `manifest.json`, validated.
    pub manifest: Manifest,
    /// The bytes of `manifest.json`.
    pub manifest_bytes: Vec<u8>,
    /// The head, unless the package is not signed yet.
    pub head: Option<Head>,
    /// Offset of the tar header of `system.tar`.
    pub body_offset: u64,
}

impl Unverified {
    /// Reads the head of a package, signed or not.
    pub fn read<F: Read + Seek>(file: &mut F) -> Result<Self, PackageError> {
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
