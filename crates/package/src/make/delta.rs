//! Makes deltas. docs/formats/delta.md describes them.
//!
//! - here: the steps from two packages to a checked delta
//! - `images`: both packages' images as ranges of bytes
//! - `matches`: which bytes of the base each part of the target is made of; `pairs`: what is compared
//!   byte by byte, with `ext4`, which knows where files lie, `similar` and `suffixes`
//! - `encode`: operations and streams for these matches

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use dau_model::{hex, Kind};
use nix::sys::statvfs::statvfs;
use openssl::sha::sha256;

use super::output::{now, parent};
use super::seal::seal;
use super::sign::Signing;
use super::unverified::Unverified;
use super::write::{write_end, write_padding};
use super::{MakeError, Progress, Step};
use crate::container::header;
use crate::delta::{parse_target, Rebuild};
use crate::manifest::check_name;
use crate::verify::{check_headers, read_body, verify_body};
use crate::{version, DeltaOf, Form, Head, Manifest, Payload, PayloadLocation, PayloadType};

mod encode;
mod ext4;
mod images;
mod matches;
mod pairs;
mod similar;
mod suffixes;

use images::Images;

/// The inputs of a delta.
#[derive(Debug, Clone)]
pub struct DeltaRecipe {
    /// The package that terminals have, in either form.
    pub base: PathBuf,
    /// The signed package that they are to get.
    pub target: PathBuf,
    /// Oldest RecoveryOS that may install the rebuilt package, if not the target's own
    /// [`Manifest::minimum_recovery`].
    pub minimum_recovery: Option<String>,
    /// Number of threads.
    pub threads: usize,
    /// Bytes that stay free in the folder of the output.
    pub reserve: u64,
}

/// A package that a delta is made of.
struct Source {
    path: PathBuf,
    file: File,
    head: Unverified,
    payloads: Vec<PayloadLocation>,
}

/// Makes a delta at `output`, which changes only once the delta was applied and its result compared
/// with the target. Without `signing` it is unsigned, for [`super::sign()`]. The folder of `output`
/// needs space for both packages' images and for the rebuilt package.
///
/// # Errors
/// [`MakeError::Delta`] where no delta can be made of these packages, or none that is smaller than
/// the target.
pub fn delta(
    recipe: &DeltaRecipe,
    signing: Option<&Signing>,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, MakeError> {
    let base = Source::open(&recipe.base, true, progress)?;
    let target = Source::open(&recipe.target, false, progress)?;
    let minimum_recovery = check(recipe, &base, &target)?;
    let folder = parent(output);
    check_room(needed(&base, &target), recipe.reserve, folder)?;
    let base_images = Images::unpack(&base.file, &base.payloads, folder, progress)?;
    let target_images = Images::unpack(&target.file, &target.payloads, folder, progress)?;
    let matches = matches::find(&base_images, &target_images, recipe.threads, progress)?;
    let payload = encode::encode(&base_images, &target_images, &matches, progress)?;
    drop((base_images, target_images));
    let target_head = target.head_bytes()?;
    let manifest_of = |bytes: &[u8]| Manifest::sha256(bytes);
    let mut of = DeltaOf {
        base: manifest_of(&base.head.manifest_bytes),
        target: manifest_of(&target.head.manifest_bytes),
        rebuilt_size: 0,
    };
    let parts = [
        (PayloadType::TargetHead, target_head.as_slice()),
        (PayloadType::Delta, payload.as_slice()),
    ];
    of.rebuilt_size = apply(&base, &target_head, &of, &payload, folder, progress)?;

    let told = &target.head.manifest;
    let manifest = Manifest {
        minimum_recovery,
        delta: Some(of),
        payloads: parts
            .iter()
            .map(|(kind, bytes)| describe(*kind, bytes))
            .collect(),
        sbom_sha256: None,
        ..told.clone()
    };
    let mtime = u64::try_from(manifest.created_unix()?).unwrap_or_default();
    let mut system = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
    for (kind, bytes) in parts {
        write_payload(&mut system, kind, bytes, mtime).map_err(MakeError::io(folder))?;
    }
    write_end(&mut system).map_err(MakeError::io(folder))?;
    let size = system.stream_position().map_err(MakeError::io(folder))?;
    if size >= told.system.size {
        return Err(MakeError::Delta(format!(
            "the delta would have {size} bytes, the package itself has {}: use that",
            told.system.size
        )));
    }
    seal(manifest, system, signing, output, progress)
}

impl Source {
    /// Opens a package and checks everything in it but its signature.
    fn open(path: &Path, rebuilt: bool, progress: Progress<'_>) -> Result<Self, MakeError> {
        let mut file = File::open(path).map_err(MakeError::io(path))?;
        let head = Unverified::read(&mut file)?;
        if head.manifest.delta.is_some() {
            return Err(MakeError::Delta(format!(
                "{} is a delta itself",
                path.display()
            )));
        }
        let body = read_body(&mut file, head.body_offset, &head.manifest, rebuilt)?;
        let payloads = verify_body(&mut file, &head.manifest, &body, &mut |done, total| {
            progress(Step::Verify, done, total);
            Ok(())
        })?;
        check_headers(&mut file, &head.manifest, body.form, head.head.is_some())?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            payloads,
        })
    }

    /// Returns the bytes of the first three members.
    fn head_bytes(&self) -> Result<Vec<u8>, MakeError> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.take(self.head.body_offset).read_to_end(&mut bytes))
            .map_err(MakeError::io(&self.path))?;
        Ok(bytes)
    }
}

/// Returns the root filesystem of a package whose digests are right.
pub(super) fn rootfs_of(
    package: &Path,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<Vec<u8>, MakeError> {
    let source = Source::open(package, true, progress)?;
    let is_rootfs = |place: &&PayloadLocation| place.payload.payload_type.is_rootfs();
    let Some(place) = source.payloads.iter().find(is_rootfs) else {
        return Err(MakeError::input(package, "it holds no root filesystem"));
    };
    let images = Images::unpack(&source.file, std::slice::from_ref(place), folder, progress)?;
    let size = usize::try_from(images.size)
        .map_err(|_| MakeError::input(package, "its root filesystem is too large"))?;
    images.bytes(0, size)
}

/// Refuses packages that no delta is made of; returns the delta's `minimum_recovery`.
fn check(
    recipe: &DeltaRecipe,
    base: &Source,
    target: &Source,
) -> Result<Option<String>, MakeError> {
    let refuse = |reason: String| Err(MakeError::Delta(reason));
    let (old, new) = (&base.head.manifest, &target.head.manifest);
    new.check_created_by(now())?;
    if new.kind == Kind::Recovery || old.kind == Kind::Recovery {
        return refuse(
            "terminals keep no package of a RecoveryOS alone, so there is no base".into(),
        );
    }
    if old.product != new.product {
        let (old, new) = (&old.product, &new.product);
        return refuse(format!(
            "the base is for product {old}, the target for {new}"
        ));
    }
    if target.head.head.is_none() {
        let target = target.path.display();
        return refuse(format!(
            "{target} is not signed: sign it first, for the delta holds its signature"
        ));
    }
    if base.head.manifest_bytes == target.head.manifest_bytes {
        return refuse("base and target are the same package".into());
    }
    let Some(asked) = &recipe.minimum_recovery else {
        return Ok(new.minimum_recovery.clone());
    };
    check_name("minimum_recovery", asked)?;
    Ok(match &new.minimum_recovery {
        Some(own) if version::compare(own, asked).is_gt() => Some(own.clone()),
        _ => Some(asked.clone()),
    })
}

/// Returns the bytes that are needed at once: all images, the package that is rebuilt to check the
/// delta (its compression is weaker, by a half at most), and the delta, which is smaller than the
/// target, twice.
fn needed(base: &Source, target: &Source) -> u64 {
    let (old, new) = (&base.head.manifest, &target.head.manifest);
    let rebuilt = new.system.size.saturating_add(new.system.size / 2);
    old.image_size()
        .saturating_add(new.image_size())
        .saturating_add(rebuilt)
        .saturating_add(new.system.size.saturating_mul(2))
}

/// Refuses to begin what a folder has no room for.
fn check_room(needed: u64, reserve: u64, folder: &Path) -> Result<(), MakeError> {
    let status = statvfs(folder).map_err(|errno| MakeError::io(folder)(errno.into()))?;
    // The fields' widths differ between targets.
    #[allow(clippy::unnecessary_cast)]
    let free = (status.blocks_available() as u64).saturating_mul(status.fragment_size() as u64);
    match free.checked_sub(reserve) {
        Some(room) if room >= needed => Ok(()),
        _ => Err(MakeError::Delta(format!(
            "it takes {needed} bytes for the images of both packages and for what is made of them, \
             and {reserve} are to stay free, but {} has {free}: make room there",
            folder.display()
        ))),
    }
}

/// Applies a delta as a terminal does and compares all images with the target's digests; returns
/// the bytes to keep free for the result.
fn apply(
    base: &Source,
    target_head: &[u8],
    of: &DeltaOf,
    payload: &[u8],
    folder: &Path,
    progress: Progress<'_>,
) -> Result<u64, MakeError> {
    let failed = |error: crate::delta::RebuildError| {
        MakeError::Delta(format!("a fault of the encoder: {error}"))
    };
    let mut delta = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
    delta.write_all(payload).map_err(MakeError::io(folder))?;
    let head: Head = parse_target(target_head)?;
    let mut rebuilt = tempfile::tempfile_in(folder).map_err(MakeError::io(folder))?;
    let mut rebuild = Rebuild::of_parts(
        (&delta, 0, payload.len() as u64),
        &of.base,
        (&head.manifest, target_head),
        &base.file,
        &rebuilt,
    )
    .map_err(failed)?;
    while rebuild.step(&mut || Ok(())).map_err(failed)? {
        progress(Step::Apply, rebuild.done(), rebuild.total());
    }
    rebuild.finish().map_err(failed)?;
    let body = read_body(&mut rebuilt, head.body_offset, &head.manifest, true)?;
    let payloads = verify_body(&mut rebuilt, &head.manifest, &body, &mut |_, _| Ok(()))?;
    check_headers(&mut rebuilt, &head.manifest, Form::Rebuilt, true)?;
    crate::check_images(&mut rebuilt, &payloads, &mut |done, total| {
        progress(Step::Unpack, done, total);
        Ok(())
    })?;
    let size = rebuilt.metadata().map_err(MakeError::io(folder))?.len();
    // zstd on the terminal may be another version.
    Ok(size.saturating_add(size / 32).next_multiple_of(1 << 20))
}

fn describe(payload_type: PayloadType, bytes: &[u8]) -> Payload {
    let sha256 = hex::encode(sha256(bytes));
    Payload {
        name: payload_type.member().to_owned(),
        payload_type,
        size: bytes.len() as u64,
        sha256: sha256.clone(),
        image_size: bytes.len() as u64,
        image_sha256: sha256,
    }
}

fn write_payload(
    system: &mut File,
    kind: PayloadType,
    bytes: &[u8],
    mtime: u64,
) -> std::io::Result<()> {
    let size = bytes.len() as u64;
    system.write_all(header(kind.member(), size, mtime)?.as_bytes())?;
    system.write_all(bytes)?;
    write_padding(system, size)
}
