//! Verifies a complete package: signature, then MD5, then SHA-256, reading the file once.

use std::io::{self, Read, Seek, SeekFrom};

use crate::blocks::{padded, BLOCK};
use crate::container::{expect_member, header};
use crate::ext4::SuperBlock;
use crate::head::Head;
use crate::{
    check_images, member, Keyring, Manifest, PackageError, Payload, Signer, MAX_SYSTEM_TAR,
};

mod body;
mod digests;
mod members;

pub use body::form_of;
pub(crate) use body::{locate, read_body, Body};

/// A package of which every byte has been checked.
#[derive(Debug, Clone)]
pub struct Verified {
    pub manifest: Manifest,
    /// Its signer.
    pub signer: Signer,
    /// SHA-256 of `manifest.json`, lower-case hex.
    pub manifest_sha256: String,
    pub form: Form,
    /// The places of the payloads, in the manifest's order.
    pub payloads: Vec<PayloadLocation>,
    /// The super block of the root filesystem, if the package has one and it was unpacked.
    pub file_system: Option<SuperBlock>,
}

/// The place of a payload in the package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLocation {
    pub payload: Payload,
    /// Offset of its first stored byte in the `.dau` file.
    pub offset: u64,
    /// Number of stored bytes.
    pub len: u64,
}

/// The two forms of a package. A manifest makes exactly one file as signed; terminals make the other
/// of a [delta](crate::delta).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `system.tar` is, byte for byte, what the manifest says.
    AsSigned,
    /// `rebuilt.tar` stands in its place: payloads that are stored as they are are the signed ones;
    /// the root filesystem is the signed image, but was compressed anew. Its images alone prove it.
    Rebuilt,
}

impl Form {
    /// Returns the name of the tar of the payloads.
    pub(crate) fn system(self) -> &'static str {
        match self {
            Self::AsSigned => member::SYSTEM,
            Self::Rebuilt => member::REBUILT,
        }
    }

    /// Returns the name of the member with its MD5.
    pub(crate) fn md5(self) -> &'static str {
        match self {
            Self::AsSigned => member::SYSTEM_MD5,
            Self::Rebuilt => member::REBUILT_MD5,
        }
    }
}

/// Checks a whole package as it was signed: form, signature, MD5, SHA-256 of everything stored, in
/// this order. `progress` gets the bytes done and the size of `system.tar`. Needs about 1 MiB of
/// memory whatever the size of the package, and uses several processors.
///
/// The file must not change meanwhile or afterwards: keep this handle open, and read the payloads
/// through it.
pub fn verify<F: Read + Seek>(
    file: F,
    keyring: &Keyring,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, PackageError> {
    Check::AS_SIGNED.run(file, keyring, &mut unfailing(progress))
}

/// Does the same as [`verify()`] for a package in either [`Form`]: for RecoveryOS, which reads only
/// what the terminal keeps.
///
/// **Of a rebuilt package this does not prove the root filesystem**, only kernel and RecoveryOS: the
/// image must match its signed digest (as [`check_images`] sees to) before the first byte of it is
/// used.
pub fn verify_stored<F: Read + Seek>(
    file: F,
    keyring: &Keyring,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, PackageError> {
    Check {
        rebuilt: true,
        ..Check::AS_SIGNED
    }
    .run(file, keyring, &mut unfailing(progress))
}

/// Does the same as [`verify()`], and unpacks the images as [`check_images`] does: for station,
/// packager and agent before they accept a package. `progress` gets the bytes done and in total,
/// stored ones and then those of images; its error ends the check as [`PackageError::Io`].
///
/// Needs at most 6 MiB of memory, whatever the size of the package.
///
/// # Errors
/// The reason for a refusal, or why the package could not be checked; see
/// [`PackageError::is_refusal`].
pub fn verify_whole<F: Read + Seek>(
    file: F,
    keyring: &Keyring,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Verified, PackageError> {
    Check {
        images: true,
        ..Check::AS_SIGNED
    }
    .run(file, keyring, progress)
}

/// Does the same as [`verify_whole`] for a package in either [`Form`]: for what a terminal keeps,
/// never for what comes from outside.
///
/// # Errors
/// As [`verify_whole`].
pub fn verify_kept<F: Read + Seek>(
    file: F,
    keyring: &Keyring,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Verified, PackageError> {
    Check {
        images: true,
        rebuilt: true,
        ..Check::AS_SIGNED
    }
    .run(file, keyring, progress)
}

/// Returns a callback for progress that never stops the check.
fn unfailing(
    progress: &mut dyn FnMut(u64, u64),
) -> impl FnMut(u64, u64) -> io::Result<()> + use<'_> {
    |done, total| {
        progress(done, total);
        Ok(())
    }
}

/// What is checked, and what is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// Images are unpacked.
    pub images: bool,
    /// A rebuilt package is taken, too.
    pub rebuilt: bool,
    /// A delta is taken, and nothing else.
    pub delta: bool,
}

impl Check {
    pub const AS_SIGNED: Self = Self {
        images: false,
        rebuilt: false,
        delta: false,
    };

    pub fn run<F: Read + Seek>(
        self,
        mut file: F,
        keyring: &Keyring,
        progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<Verified, PackageError> {
        file.seek(SeekFrom::Start(0))?;
        let head = Head::read_from(&mut file)?;
        let signer = head.verify(keyring)?;
        match (&head.manifest.delta, self.delta) {
            (Some(delta), false) => {
                return Err(PackageError::UnexpectedDelta {
                    base: delta.base.clone(),
                })
            }
            (None, true) => return Err(PackageError::NotADelta),
            _ => {}
        }
        let body = read_body(&mut file, head.body_offset, &head.manifest, self.rebuilt)?;
        let images = match self.images {
            true => head.manifest.rootfs().map_or(0, |rootfs| rootfs.image_size),
            false => 0,
        };
        let total = body.size.saturating_add(images);
        let payloads = verify_body(&mut file, &head.manifest, &body, &mut |done, _| {
            progress(done, total)
        })?;
        let file_system = match self.images {
            true => check_images(&mut file, &payloads, &mut |done, _| {
                progress(body.size.saturating_add(done), total)
            })?,
            false => None,
        };
        check_headers(&mut file, &head.manifest, body.form, true)?;
        Ok(Verified {
            manifest_sha256: head.manifest_sha256(),
            manifest: head.manifest,
            signer,
            form: body.form,
            payloads,
            file_system,
        })
    }
}

/// Checks that every tar header of an otherwise valid package is canonical, byte by byte: the
/// signature does not cover headers, and a manifest must correspond to exactly one file. This is
/// the last check, as any other fault says more.
pub(crate) fn check_headers<F: Read + Seek>(
    file: &mut F,
    manifest: &Manifest,
    form: Form,
    signed: bool,
) -> Result<(), PackageError> {
    let members = [
        (member::MANIFEST, true),
        (member::SIGNATURE, false),
        (member::SIGNER, false),
        (form.system(), true),
        (form.md5(), true),
    ];
    let mtime = u64::try_from(manifest.created_unix()?).unwrap_or_default();
    let mut offset = 0_u64;
    for (member, always) in members {
        if !always && !signed {
            continue;
        }
        file.seek(SeekFrom::Start(offset))?;
        let block = body::read_block(file, member)?;
        let size = expect_member(&block, member, MAX_SYSTEM_TAR)?;
        let right = header(member, size, mtime)?;
        let differs = |(found, right): (&u8, &u8)| found != right;
        if let Some(byte) = block.iter().zip(right.as_bytes()).position(differs) {
            return Err(PackageError::Malformed {
                member,
                reason: format!(
                    "byte {byte} of its tar header is not the one that the format gives it: \
                     make the package with dau-packager, or with tar as docs/formats/package.md says"
                ),
            });
        }
        offset = offset.saturating_add(BLOCK).saturating_add(padded(size));
    }
    Ok(())
}

/// Checks everything after the head against the manifest.
pub(crate) fn verify_body<F: Read + Seek>(
    file: &mut F,
    manifest: &Manifest,
    body: &Body,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Vec<PayloadLocation>, PackageError> {
    let system = &manifest.system;
    if body.form == Form::AsSigned && body.md5_line != system.md5 {
        return Err(PackageError::Md5Mismatch {
            what: member::SYSTEM_MD5,
            expected: body.md5_line.clone(),
            found: system.md5.clone(),
        });
    }
    file.seek(SeekFrom::Start(body.system_offset))?;
    let found = digests::compute(file, manifest, body.form, body.size, progress)?;
    let locate = |member: members::FoundMember| member.check(body.system_offset);
    if body.form == Form::Rebuilt {
        // Tells rot of a terminal's own storage; nobody signed it.
        if found.md5 != body.md5_line {
            return Err(PackageError::Md5Mismatch {
                what: member::REBUILT_MD5,
                expected: body.md5_line.clone(),
                found: found.md5,
            });
        }
        return found.members?.into_iter().map(locate).collect();
    }
    if found.md5 != system.md5 {
        return Err(PackageError::Md5Mismatch {
            what: member::MANIFEST,
            expected: system.md5.clone(),
            found: found.md5,
        });
    }
    if found.sha256 != system.sha256 {
        return Err(PackageError::Sha256Mismatch {
            member: member::SYSTEM,
            expected: system.sha256.clone(),
            found: found.sha256,
        });
    }
    found.members?.into_iter().map(locate).collect()
}

/// Returns size and digests of the `system.tar` at the position of `file`, after checking its
/// members against the manifest.
#[cfg(feature = "make")]
pub(crate) fn system_digests(
    file: &mut impl Read,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<crate::SystemTar, PackageError> {
    let size = manifest.system.size;
    let progress = &mut unfailing(progress);
    let found = digests::compute(file, manifest, Form::AsSigned, size, progress)?;
    for member in found.members? {
        member.check(0)?;
    }
    Ok(crate::SystemTar {
        size: manifest.system.size,
        md5: found.md5,
        sha256: found.sha256,
    })
}
