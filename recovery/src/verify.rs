//! Verifies the packages on mnt.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use dau_handoff::{Job, Layout};
use dau_model::{Kind, Reason, Word};
use dau_package::{
    check_policy, Head, Installed, Keyring, PackageError, PayloadLocation, PayloadType, Verified,
};
use dau_system::durable;
use nix::errno::Errno;

use crate::plan::Verdict;
use crate::rootfs::blocks::BLOCK_BYTES;
use crate::rootfs::device::Device;
use crate::rootfs::pass;
use crate::rootfs::survey::Survey;
use crate::terminal::Terminal;

/// A verified package. The handle is the one that was verified, so a later exchange of the file has
/// no effect.
#[derive(Debug)]
pub struct Accepted {
    /// The package file.
    pub file: File,
    /// Its manifest, and the places of its payloads.
    pub verified: Verified,
    /// How its root filesystem differs from the medium; `None` where it is not to be written.
    pub survey: Option<Survey>,
}

impl Accepted {
    /// Returns its kernel.
    pub fn kernel(&self) -> Option<&PayloadLocation> {
        self.payload(|payload| payload == PayloadType::Kernel)
    }

    /// Returns its root filesystem.
    pub fn rootfs(&self) -> Option<&PayloadLocation> {
        self.payload(PayloadType::is_rootfs)
    }

    fn payload(&self, wanted: impl Fn(PayloadType) -> bool) -> Option<&PayloadLocation> {
        let mut payloads = self.verified.payloads.iter();
        payloads.find(|location| wanted(location.payload.payload_type))
    }
}

/// A package with its verdict.
#[derive(Debug)]
pub enum Judged {
    /// It may be installed.
    Accepted(Box<Accepted>),
    /// It may not.
    Refused(Reason),
}

impl Judged {
    /// Returns the part that the plan needs.
    pub fn verdict(&self) -> Verdict {
        match self {
            Judged::Accepted(_) => Verdict::Accepted,
            Judged::Refused(reason) => Verdict::Refused(reason.clone()),
        }
    }

    /// Returns a refusal with a word.
    pub fn refused(word: Word, message: impl Into<String>) -> Self {
        Judged::Refused(Reason::new(word, message))
    }
}

/// Verifies the candidate of a job.
///
/// # Errors
/// A fault that does not concern the package, such as a read error: a retry makes sense.
pub fn candidate(terminal: &Terminal, layout: &Layout, job: &Job) -> Result<Judged> {
    let keyring = Keyring::load(&terminal.keyring)?;
    let accepted = match whole(terminal, &keyring, &layout.candidate())? {
        Judged::Accepted(accepted) => accepted,
        refused => return Ok(refused),
    };
    let manifest = &accepted.verified.manifest;
    let bound = job.manifest_sha256.as_deref();
    if bound != Some(accepted.verified.manifest_sha256.as_str()) {
        return Ok(Judged::refused(
            Word::PackageExchanged,
            "candidate.dau is not the package that the agent verified for this job: order the upgrade again",
        ));
    }
    let installed = Installed {
        product: terminal.release.product.clone(),
        rollback_index: rollback_index(terminal, &keyring, layout),
        recovery_version: Some(terminal.release.version.clone()),
    };
    if let Err(refusal) = check_policy(manifest, &installed, None, None) {
        return Ok(Judged::Refused(refusal.reason()));
    }
    if !covers(manifest.kind, job.order.kind) {
        let message = format!(
            "a {} upgrade was ordered, but the package is {}: order its own kind",
            job.order.kind, manifest.kind
        );
        return Ok(Judged::refused(Word::WrongKind, message));
    }
    if job.order.kind == Kind::Kernel {
        return Ok(Judged::Accepted(accepted));
    }
    fits(terminal, accepted, Bound::New)
}

/// Verifies installed.dau to reinstall its root filesystem. The rollback index does not apply to
/// it.
pub fn installed(terminal: &Terminal, layout: &Layout) -> Result<Judged> {
    let keyring = Keyring::load(&terminal.keyring)?;
    let judged = confirmed(terminal, &keyring, &layout.installed())?;
    let Judged::Accepted(accepted) = judged else {
        return Ok(judged);
    };
    if accepted.rootfs().is_none() {
        return Ok(Judged::refused(
            Word::WrongKind,
            "installed.dau carries no root filesystem",
        ));
    }
    fits(terminal, accepted, Bound::RanBefore)
}

/// Returns the packages that may hold the last confirmed kernel, the likelier one first.
pub fn confirmed_kernels(terminal: &Terminal, layout: &Layout) -> Vec<Accepted> {
    let keyring = match Keyring::load(&terminal.keyring) {
        Ok(keyring) => keyring,
        Err(error) => {
            log::error!("{error}");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for path in [layout.installed_kernel(), layout.installed()] {
        match confirmed(terminal, &keyring, &path) {
            Ok(Judged::Accepted(accepted)) if accepted.kernel().is_some() => found.push(*accepted),
            Ok(Judged::Accepted(_)) => {}
            Ok(Judged::Refused(reason)) => log::warn!("{}: {}", path.display(), reason.message),
            Err(error) => log::warn!("{}: {error:#}", path.display()),
        }
    }
    found
}

/// Verifies a package that was confirmed earlier: authentic, and for this product.
fn confirmed(terminal: &Terminal, keyring: &Keyring, path: &Path) -> Result<Judged> {
    let judged = whole(terminal, keyring, path)?;
    let Judged::Accepted(accepted) = &judged else {
        return Ok(judged);
    };
    let installed = Installed {
        product: terminal.release.product.clone(),
        rollback_index: 0,
        // Its demands do not apply either.
        recovery_version: accepted.verified.manifest.minimum_recovery.clone(),
    };
    match check_policy(&accepted.verified.manifest, &installed, None, None) {
        Ok(()) => Ok(judged),
        Err(refusal) => Ok(Judged::Refused(refusal.reason())),
    }
}

/// Checks signature, MD5 and SHA-256 of everything in a package.
fn whole(terminal: &Terminal, keyring: &Keyring, path: &Path) -> Result<Judged> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = match durable::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Judged::refused(
                Word::NoPackage,
                format!("{name} is missing"),
            ));
        }
        // A folder, a pipe, a loop of links: there is no package, and a retry would not help.
        Err(error) if error.raw_os_error() != Some(Errno::EIO as i32) => {
            return Ok(Judged::refused(Word::NoPackage, format!("{name}: {error}")));
        }
        Err(error) => return Err(error).context(format!("cannot open {name}")),
    };
    log::info!("verifying {name}");
    let progress = terminal.progress;
    // Of a package that the agent rebuilt, `fits` proves the root filesystem.
    match dau_package::verify_stored(&file, keyring, &mut |_, _| progress()) {
        Ok(verified) => {
            log::info!(
                "{name}: {} {}, signed by {}",
                verified.manifest.version,
                verified.manifest.kind,
                verified.signer.subject
            );
            Ok(Judged::Accepted(Box::new(Accepted {
                file,
                verified,
                survey: None,
            })))
        }
        Err(error) if error.is_refusal() => {
            Ok(Judged::refused(error.word(), format!("{name}: {error}")))
        }
        Err(error) => Err(error).context(format!("cannot verify {name}")),
    }
}

/// The demands on a root filesystem before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// A new one: everything that could fail later is refused now.
    New,
    /// One that ran before, whatever its file system is like.
    RanBefore,
}

/// Checks that the root filesystem fits in its partition and matches the manifest, by unpacking it
/// in memory before the first byte changes, and compares it with the partition.
fn fits(terminal: &Terminal, mut accepted: Box<Accepted>, bound: Bound) -> Result<Judged> {
    let Some(rootfs) = accepted.rootfs() else {
        return Ok(Judged::Accepted(accepted));
    };
    let (image, room) = (rootfs.payload.image_size, terminal.rootfs.size()?);
    if image % BLOCK_BYTES != 0 {
        let message =
            format!("the root filesystem's {image} bytes are not whole blocks of {BLOCK_BYTES}");
        return Ok(Judged::refused(Word::RootfsSize, message));
    }
    if image > room {
        let message = format!(
            "the root filesystem has {image} bytes, its partition {room}: make a smaller one"
        );
        return Ok(Judged::refused(Word::RootfsSize, message));
    }
    let path = terminal.rootfs.path()?;
    let device =
        Device::open_read_only(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let started = Instant::now();
    let surveyed = Survey::new(
        &accepted.file,
        rootfs,
        &device,
        pass::WORKERS,
        terminal.progress,
    );
    let seconds = started.elapsed().as_secs_f64();
    let mut survey = match surveyed {
        Ok(survey) => survey,
        Err(error) if error.is_refusal() => return Ok(Judged::Refused(error.reason())),
        Err(error) => return Err(error).context("cannot unpack the root filesystem"),
    };
    let differing = survey.differing_bytes();
    log::info!("image checked: {seconds:.2} s, {differing} of {image} bytes differ");
    match survey.unfit() {
        Some(error) if bound == Bound::RanBefore => {
            log::warn!("put back all the same, for it ran before: {error}");
        }
        Some(error) => return Ok(Judged::Refused(error.reason())),
        None => {}
    }
    accepted.survey = Some(survey);
    Ok(Judged::Accepted(accepted))
}

/// Returns the highest rollback index of the installed packages.
fn rollback_index(terminal: &Terminal, keyring: &Keyring, layout: &Layout) -> u64 {
    let mut index = terminal.release.rollback_index;
    for path in [layout.installed(), layout.installed_kernel()] {
        match manifest_index(keyring, &path, &terminal.release.product) {
            Ok(Some(found)) => index = index.max(found),
            Ok(None) => {}
            Err(error) => log::warn!("{} says nothing: {error}", path.display()),
        }
    }
    index
}

/// Returns the rollback index of a signed manifest; the payloads do not matter for that.
fn manifest_index(
    keyring: &Keyring,
    path: &Path,
    product: &str,
) -> Result<Option<u64>, PackageError> {
    let file = match durable::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let head = Head::read_from(file)?;
    head.verify(keyring)?;
    Ok((head.manifest.product == product).then_some(head.manifest.rollback_index))
}

/// Returns whether a package holds everything that a job writes.
fn covers(package: Kind, job: Kind) -> bool {
    match job {
        Kind::Kernel => package.has_kernel(),
        Kind::Rootfs => package.has_rootfs(),
        Kind::Full => package.has_kernel() && package.has_rootfs(),
        // The agent's task.
        Kind::Recovery => false,
    }
}
