//! Judges delta packages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use dau_model::Kind;

use crate::verify::Check;
use crate::{
    Head, Keyring, Manifest, PackageError, PayloadLocation, PayloadType, Verified, MAX_HEAD,
};

/// A verified delta package. Its file is the one that was verified, so a later exchange has no
/// effect.
#[derive(Debug)]
pub struct Delta {
    pub(super) file: File,
    verified: Verified,
    target: Head,
    /// The bytes of `target.head`.
    pub(super) target_bytes: Vec<u8>,
    base: String,
    rebuilt_size: u64,
    /// Place of `images.delta`.
    pub(super) payload: PayloadLocation,
}

impl Delta {
    /// Checks a delta package as [`crate::verify()`] does, and that its target is signed by a signer
    /// of the same keyring, has the digest that the delta's manifest says, and is of the same
    /// product, version, kind and rollback index. `progress` gets the bytes done and in total; its
    /// error ends the check.
    ///
    /// # Errors
    /// The reason for a refusal, or why the package could not be checked.
    pub fn verify(
        file: File,
        keyring: &Keyring,
        progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<Self, PackageError> {
        let check = Check {
            delta: true,
            ..Check::AS_SIGNED
        };
        let verified = check.run(&file, keyring, progress)?;
        let manifest = &verified.manifest;
        let of = manifest.delta.as_ref().ok_or(PackageError::NotADelta)?;
        let ([head, payload], Some(delta)) = (verified.payloads.as_slice(), &manifest.delta) else {
            return Err(PackageError::NotADelta);
        };
        let target_bytes = read_head(&file, head)?;
        let target = parse_target(&target_bytes)?;
        target.verify(keyring)?;
        agree(manifest, &target)?;
        Ok(Self {
            base: of.base.clone(),
            rebuilt_size: delta.rebuilt_size,
            payload: payload.clone(),
            target,
            target_bytes,
            verified,
            file,
        })
    }

    /// Returns the manifest of the delta itself.
    pub fn manifest(&self) -> &Manifest {
        &self.verified.manifest
    }

    /// Returns the SHA-256 of the delta's own manifest, lower-case hex.
    pub fn manifest_sha256(&self) -> &str {
        &self.verified.manifest_sha256
    }

    /// Returns the SHA-256 of the manifest of the package that it needs, lower-case hex.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the head of the package that it makes; its signature was checked.
    pub fn target(&self) -> &Head {
        &self.target
    }

    /// Returns the bytes that the rebuilt package takes, with a reserve.
    pub fn rebuilt_size(&self) -> u64 {
        self.rebuilt_size
    }
}

fn read_head(file: &File, place: &PayloadLocation) -> Result<Vec<u8>, PackageError> {
    if place.len > MAX_HEAD as u64 {
        return Err(PackageError::TooLarge {
            member: PayloadType::TargetHead.member(),
            size: place.len,
            limit: MAX_HEAD as u64,
        });
    }
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, place.offset)?;
    Ok(bytes)
}

/// Parses the target's first three members, after which nothing may come.
pub(crate) fn parse_target(bytes: &[u8]) -> Result<Head, PackageError> {
    match Head::parse(bytes)? {
        Some(head) if head.body_offset == bytes.len() as u64 => Ok(head),
        _ => Err(malformed("it is not the first three members of a package")),
    }
}

/// Checks that a delta says of its target what the target says.
pub(crate) fn agree(manifest: &Manifest, target: &Head) -> Result<(), PackageError> {
    let of = manifest.delta.as_ref().ok_or(PackageError::NotADelta)?;
    if target.manifest_sha256() != of.target {
        return Err(malformed("it has another digest than the delta says"));
    }
    if target.manifest.delta.is_some() || target.manifest.kind == Kind::Recovery {
        return Err(malformed("it is of a package that no delta makes"));
    }
    let said = |manifest: &Manifest| {
        (
            manifest.product.clone(),
            manifest.version.clone(),
            manifest.kind,
            manifest.rollback_index,
        )
    };
    match said(manifest) == said(&target.manifest) {
        true => Ok(()),
        false => Err(malformed(
            "its product, version, kind or rollback index are not the delta's",
        )),
    }
}

fn malformed(reason: &str) -> PackageError {
    PackageError::Malformed {
        member: PayloadType::TargetHead.member(),
        reason: reason.into(),
    }
}
