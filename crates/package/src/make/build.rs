//! From kernel and root filesystem to a package.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;
use tempfile::NamedTempFile;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use super::compress::{compress, Compression};
use super::image::{open_fit, open_rootfs, Fit};
use super::sign::Signing;
use super::unpack::check_images;
use super::unverified::Unverified;
use super::write::{header, write_body, write_end, write_head, write_padding};
use super::{MakeError, Progress, Step};
use crate::manifest::{check_name, hex, ManifestError, BLOCK};
use crate::verify::{system_digests, verify_body};
use crate::{Manifest, PackageKind, Payload, PayloadType, SystemTar, FORMAT};

/// What to build.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Product of the terminals it is for.
    pub product: String,
    /// Version of the OS.
    pub version: String,
    /// When it is made, in seconds since 1970: the time of every member, and at which certificates are judged.
    pub created: i64,
    /// See [`Manifest::rollback_index`].
    pub rollback_index: u64,
    /// A FIT image.
    pub kernel: Option<PathBuf>,
    /// An ext4 image or a tar, plain or compressed by zstd.
    pub rootfs: Option<PathBuf>,
    /// The software bill of materials; only its digest goes into the package.
    pub sbom: Option<PathBuf>,
    /// A FIT image with RecoveryOS: alone, or with both others.
    pub recovery: Option<PathBuf>,
    /// See [`Manifest::minimum_recovery`].
    pub minimum_recovery: Option<String>,
    /// How to compress the root filesystem.
    pub compression: Compression,
}

/// Builds a package and puts it at `output`, which changes only once all of it has been written and checked. Without
/// `signing` it is an unsigned one, for [`super::sign()`]. Next to `output` there must be space for it twice.
pub fn build(
    recipe: &Recipe,
    signing: Option<&Signing>,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, MakeError> {
    let mtime = u64::try_from(recipe.created).unwrap_or_default();
    // What can be refused is refused before the long work.
    check_name("product", &recipe.product)?;
    check_name("version", &recipe.version)?;
    if let Some(version) = &recipe.minimum_recovery {
        check_name("minimum_recovery", version)?;
    }
    let kind = kind_of(recipe)?;
    let created = created_text(recipe.created)?;
    let sbom_sha256 = recipe.sbom.as_deref().map(digest_of).transpose()?;
    let folder = parent(output);
    let mut system = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
    let payloads = write_system(recipe, mtime, &mut system, folder, progress)?;
    let mut manifest = Manifest {
        format: FORMAT,
        product: recipe.product.clone(),
        version: recipe.version.clone(),
        kind,
        created,
        rollback_index: recipe.rollback_index,
        minimum_recovery: recipe.minimum_recovery.clone(),
        payloads,
        system: SystemTar {
            size: system.stream_position().map_err(MakeError::io(folder))?,
            md5: String::new(),
            sha256: String::new(),
        },
        sbom_sha256,
    };
    system.rewind().map_err(MakeError::io(folder))?;
    let digest_progress = &mut |done, total| progress(Step::Digest, done, total);
    manifest.system = system_digests(&mut system, &manifest, digest_progress)?;
    manifest.validate()?;

    let manifest_bytes = manifest.to_json();
    let signed = signing
        .map(|signing| signing.sign(&manifest_bytes))
        .transpose()?;
    let pem = signing.map(Signing::chain_pem).unwrap_or_default();
    replace(
        output,
        |file| {
            let signed = signed.as_deref().map(|signature| (signature, pem));
            write_head(file, &manifest_bytes, signed, mtime)?;
            system.rewind()?;
            write_body(file, &manifest, mtime, |file| io::copy(&mut system, file))
        },
        progress,
    )?;
    Ok(manifest)
}

/// Writes a package to a temporary file, checks it as a terminal would but for the keyring, and then renames it.
pub(super) fn replace(
    output: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    progress: Progress<'_>,
) -> Result<(), MakeError> {
    let folder = parent(output);
    let temporary = NamedTempFile::new_in(folder).map_err(MakeError::io(folder))?;
    let file = temporary.as_file();
    let mut buffered = BufWriter::with_capacity(256 << 10, file);
    write(&mut buffered).map_err(MakeError::io(output))?;
    buffered.flush().map_err(MakeError::io(output))?;
    drop(buffered);
    let mut reader = file;
    let verify_progress = &mut |done, total| progress(Step::Verify, done, total);
    let opened = Unverified::read(&mut reader)?;
    let payloads = verify_body(
        &mut reader,
        &opened.manifest,
        opened.body_offset,
        verify_progress,
    )?;
    check_images(&mut reader, &payloads, &mut |done, total| {
        progress(Step::Unpack, done, total)
    })?;
    file.sync_all().map_err(MakeError::io(output))?;
    share(file).map_err(MakeError::io(output))?;
    temporary
        .persist(output)
        .map_err(|error| MakeError::io(output)(error.error))?;
    Ok(())
}

/// Temporary files are for their owner alone; a package is for everybody to read.
fn share(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Writes `system.tar`; leaves `system` at its end.
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
        sha256.update(&buffer[..count]);
        system
            .write_all(&buffer[..count])
            .map_err(MakeError::io(folder))?;
        copied += count as u64;
    }
    if copied != size {
        return Err(MakeError::input(path, "it changed while it was read"));
    }
    write_padding(system, size).map_err(MakeError::io(folder))?;
    let sha256 = hex(&sha256.finish());
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
    let total = rootfs.size.unwrap_or(0);
    let start = system.stream_position().map_err(MakeError::io(folder))?;
    // The size in the header is known only afterwards.
    system
        .write_all(&[0; BLOCK as usize])
        .map_err(MakeError::io(folder))?;
    let compressed = compress(rootfs.content, system, compression, &mut |done| {
        progress(Step::Compress, done, total)
    })
    .map_err(MakeError::io(path))?;
    if compressed.image_size < rootfs.least {
        let reason = format!(
            "the image was cut short: {} bytes of a filesystem of {}",
            compressed.image_size, rootfs.least
        );
        return Err(MakeError::input(path, reason));
    }
    write_padding(system, compressed.size).map_err(MakeError::io(folder))?;
    let end = system.stream_position().map_err(MakeError::io(folder))?;
    let name = rootfs.payload_type.member();
    let header = header(name, compressed.size, mtime).map_err(MakeError::io(folder))?;
    system
        .seek(SeekFrom::Start(start))
        .and_then(|_| system.write_all(header.as_bytes()))
        .and_then(|()| system.seek(SeekFrom::Start(end)))
        .map_err(MakeError::io(folder))?;
    Ok(Payload {
        name: name.to_owned(),
        payload_type: rootfs.payload_type,
        size: compressed.size,
        sha256: compressed.sha256,
        image_size: compressed.image_size,
        image_sha256: compressed.image_sha256,
    })
}

fn digest_of(path: &Path) -> Result<String, MakeError> {
    let bytes = std::fs::read(path).map_err(MakeError::io(path))?;
    Ok(hex(&openssl::sha::sha256(&bytes)))
}

fn kind_of(recipe: &Recipe) -> Result<PackageKind, MakeError> {
    let parts = (
        recipe.kernel.is_some(),
        recipe.rootfs.is_some(),
        recipe.recovery.is_some(),
    );
    match parts {
        (true, true, _) => Ok(PackageKind::Full),
        (true, false, false) => Ok(PackageKind::Kernel),
        (false, true, false) => Ok(PackageKind::Rootfs),
        (false, false, true) => Ok(PackageKind::Recovery),
        (false, false, false) => Err(MakeError::Empty),
        (true, false, true) | (false, true, true) => Err(MakeError::Parts),
    }
}

fn created_text(created: i64) -> Result<String, MakeError> {
    OffsetDateTime::from_unix_timestamp(created)
        .ok()
        .filter(|time| time.year() >= 1970)
        .and_then(|time| time.format(&Rfc3339).ok())
        .ok_or_else(|| {
            MakeError::Manifest(ManifestError {
                field: "created".into(),
                reason: format!("{created} is not a time from 1970 to 9999"),
            })
        })
}

/// The folder of a file, also of one without any in its name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
