//! Builds a package from kernel, root filesystem and RecoveryOS.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;

use dau_model::{hex, Kind};

use super::compress::{compress, Compression};
use super::image::{open_fit, open_rootfs, Fit};
use super::output::{now, parent};
use super::seal::seal;
use super::sign::Signing;
use super::write::{write_end, write_padding};
use super::{MakeError, Progress, Step};
use crate::blocks::BLOCK;
use crate::container::header;
use crate::manifest::{check_name, created_text, ManifestError};
use crate::{Manifest, Payload, PayloadType, SystemTar, FORMAT};

/// The inputs of a package.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Product of the terminals that it is for.
    pub product: String,
    /// Version of the OS.
    pub version: String,
    /// Time of the package, in seconds since 1970: the time of every member, and of the check of
    /// certificates.
    pub created: i64,
    /// See [`Manifest::rollback_index`].
    pub rollback_index: u64,
    /// A FIT image.
    pub kernel: Option<PathBuf>,
    /// An ext4 image.
    pub rootfs: Option<PathBuf>,
    /// The software bill of materials; only its digest goes into the package.
    pub sbom: Option<PathBuf>,
    /// A FIT image with RecoveryOS: alone, or with both others.
    pub recovery: Option<PathBuf>,
    /// See [`Manifest::minimum_recovery`].
    pub minimum_recovery: Option<String>,
    /// Settings for compressing the root filesystem.
    pub compression: Compression,
}

/// Builds a package at `output`, which changes only once the new package is complete and checked.
/// Without `signing` the package is unsigned, for [`super::sign()`]. The folder of `output` needs
/// space for it twice.
pub fn build(
    recipe: &Recipe,
    signing: Option<&Signing>,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, MakeError> {
    let mtime = u64::try_from(recipe.created).unwrap_or_default();
    // Check everything possible before the long work.
    check_name("product", &recipe.product)?;
    check_name("version", &recipe.version)?;
    if let Some(version) = &recipe.minimum_recovery {
        check_name("minimum_recovery", version)?;
    }
    let kind = kind_of(recipe)?;
    let created = created_of(recipe.created)?;
    let sbom_sha256 = recipe.sbom.as_deref().map(digest_of).transpose()?;
    let folder = parent(output);
    let mut system = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
    let mut manifest = Manifest {
        format: FORMAT,
        product: recipe.product.clone(),
        version: recipe.version.clone(),
        kind,
        created,
        rollback_index: recipe.rollback_index,
        minimum_recovery: recipe.minimum_recovery.clone(),
        delta: None,
        payloads: Vec::new(),
        system: SystemTar {
            size: 0,
            md5: String::new(),
            sha256: String::new(),
        },
        sbom_sha256,
    };
    manifest.check_created_by(now())?;
    manifest.payloads = write_system(recipe, mtime, &mut system, folder, progress)?;
    seal(manifest, system, signing, output, progress)
}

/// Writes `system.tar`, leaving `system` at its end.
fn write_system(
    recipe: &Recipe,
    mtime: u64,
    system: &mut File,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<Vec<Payload>, MakeError> {
    let mut payloads = Vec::new();
    if let Some(path) = &recipe.kernel {
        payloads.push(write_fit(path, PayloadType::Kernel, mtime, system, folder)?);
    }
    if let Some(path) = &recipe.rootfs {
        payloads.push(write_rootfs(
            path,
            recipe.compression,
            mtime,
            system,
            folder,
            progress,
        )?);
    }
    if let Some(path) = &recipe.recovery {
        payloads.push(write_fit(
            path,
            PayloadType::Recovery,
            mtime,
            system,
            folder,
        )?);
    }
    write_end(system).map_err(MakeError::io(folder))?;
    Ok(payloads)
}

fn write_fit(
    path: &Path,
    payload_type: PayloadType,
    mtime: u64,
    system: &mut File,
    folder: &Path,
) -> Result<Payload, MakeError> {
    let Fit { mut content, size } = open_fit(path)?;
    let name = payload_type.member();
    let header = header(name, size, mtime).map_err(MakeError::io(folder))?;
    system
        .write_all(header.as_bytes())
        .map_err(MakeError::io(folder))?;
    let mut sha256 = Sha256::new();
    let mut copied = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = content.read(&mut buffer).map_err(MakeError::io(path))?;
        if count == 0 {
            break;
        }
        let read = buffer.get(..count).unwrap_or_default();
        sha256.update(read);
        system.write_all(read).map_err(MakeError::io(folder))?;
        copied = u64::saturating_add(copied, count as u64);
    }
    if copied != size {
        return Err(MakeError::input(path, "it changed while it was read"));
    }
    write_padding(system, size).map_err(MakeError::io(folder))?;
    let sha256 = hex::encode(sha256.finish());
    Ok(Payload {
        name: name.to_owned(),
        payload_type,
        size,
        sha256: sha256.clone(),
        image_size: size,
        image_sha256: sha256,
    })
}

fn write_rootfs(
    path: &Path,
    compression: Compression,
    mtime: u64,
    system: &mut File,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<Payload, MakeError> {
    let rootfs = open_rootfs(path)?;
    let total = rootfs.size;
    let start = system.stream_position().map_err(MakeError::io(folder))?;
    // The size in the header is known only afterwards.
    system
        .write_all(&[0; BLOCK as usize])
        .map_err(MakeError::io(folder))?;
    let compressed = compress(rootfs.content, system, compression, &mut |done| {
        progress(Step::Compress, done, total)
    })
    .map_err(MakeError::io(path))?;
    if compressed.image_size != total {
        return Err(MakeError::input(path, "it changed while it was read"));
    }
    write_padding(system, compressed.size).map_err(MakeError::io(folder))?;
    let end = system.stream_position().map_err(MakeError::io(folder))?;
    let name = PayloadType::RootfsImage.member();
    let header = header(name, compressed.size, mtime).map_err(MakeError::io(folder))?;
    system
        .seek(SeekFrom::Start(start))
        .and_then(|_| system.write_all(header.as_bytes()))
        .and_then(|()| system.seek(SeekFrom::Start(end)))
        .map_err(MakeError::io(folder))?;
    Ok(Payload {
        name: name.to_owned(),
        payload_type: PayloadType::RootfsImage,
        size: compressed.size,
        sha256: compressed.sha256,
        image_size: compressed.image_size,
        image_sha256: compressed.image_sha256,
    })
}

fn digest_of(path: &Path) -> Result<String, MakeError> {
    let bytes = std::fs::read(path).map_err(MakeError::io(path))?;
    Ok(hex::encode(openssl::sha::sha256(&bytes)))
}

fn kind_of(recipe: &Recipe) -> Result<Kind, MakeError> {
    let parts = (
        recipe.kernel.is_some(),
        recipe.rootfs.is_some(),
        recipe.recovery.is_some(),
    );
    match parts {
        (true, true, _) => Ok(Kind::Full),
        (true, false, false) => Ok(Kind::Kernel),
        (false, true, false) => Ok(Kind::Rootfs),
        (false, false, true) => Ok(Kind::Recovery),
        (false, false, false) => Err(MakeError::Empty),
        (true, false, true) | (false, true, true) => Err(MakeError::Parts),
    }
}

fn created_of(created: i64) -> Result<String, MakeError> {
    created_text(created).ok_or_else(|| {
        MakeError::Manifest(ManifestError {
            field: "created".into(),
            reason: format!("{created} is not a time from 1970 to 2242"),
        })
    })
}
