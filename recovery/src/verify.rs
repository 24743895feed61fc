//! What may be installed: RecoveryOS's own check of the packages on mnt.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use dau_handoff::{Job, Kind, Layout};
use dau_package::{
    check_policy, Head, Installed, Keyring, PackageError, PackageKind, PayloadLocation,
    PayloadType, Verified, MAX_HEAD,
};

use crate::plan::Verdict;
use crate::terminal::Terminal;

/// What a raw image is a multiple of: the root filesystem has blocks of 4096 bytes.
pub const BLOCK: u64 = 4096;

/// A verified package. The handle is the one that was verified: a file exchanged since does not count.
#[derive(Debug)]
pub struct Accepted {
    /// The package file.
    pub file: File,
    /// What it is, and where its payloads stand.
    pub verified: Verified,
}

impl Accepted {
    /// The kernel in it.
    pub fn kernel(&self) -> Option<&PayloadLocation> {
        self.payload(|payload| payload == PayloadType::Kernel)
    }

    /// The root filesystem in it.
    pub fn rootfs(&self) -> Option<&PayloadLocation> {
        self.payload(PayloadType::is_rootfs)
    }

    fn payload(&self, wanted: impl Fn(PayloadType) -> bool) -> Option<&PayloadLocation> {
        let mut payloads = self.verified.payloads.iter();
        payloads.find(|location| wanted(location.payload.payload_type))
    }
}

/// A package that was judged.
#[derive(Debug)]
pub enum Judged {
    /// It may be installed.
    Accepted(Box<Accepted>),
    /// It may not.
    Refused {
        /// For machines.
        word: String,
        /// For people.
        message: String,
    },
}

impl Judged {
    /// The part that the plan needs.
    pub fn verdict(&self) -> Verdict {
        match self {
            Judged::Accepted(_) => Verdict::Accepted,
            Judged::Refused { word, message } => Verdict::Refused {
                word: word.clone(),
                message: message.clone(),
            },
        }
    }

    fn refused(word: &str, message: impl Into<String>) -> Self {
        Judged::Refused {
            word: word.to_owned(),
            message: message.into(),
        }
    }
}

/// Judges the candidate of a job.
///
/// # Errors
/// What says nothing about the package, such as a read error: trying again makes sense.
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
            "package-exchanged",
            "candidate.dau is not the package that the agent verified for this job: order the upgrade again",
        ));
    }
    let installed = Installed {
        product: terminal.release.product.clone(),
        rollback_index: rollback_index(terminal, &keyring, layout),
        recovery_version: Some(terminal.release.version.clone()),
    };
    if let Err(refusal) = check_policy(manifest, &installed, None, None) {
        return Ok(Judged::refused(refusal.word(), refusal.to_string()));
    }
    if !covers(manifest.kind, job.order.kind) {
        let message = format!(
            "a {} upgrade was ordered, but the package is {}: order its own kind",
            job.order.kind, manifest.kind
        );
        return Ok(Judged::refused("wrong-kind", message));
    }
    if job.order.kind == Kind::Kernel {
        return Ok(Judged::Accepted(accepted));
    }
    fits(terminal, accepted)
}

/// Judges installed.dau, for putting back its root filesystem. What was installed is not held to a rollback index.
pub fn installed(terminal: &Terminal, layout: &Layout) -> Result<Judged> {
    let keyring = Keyring::load(&terminal.keyring)?;
    let judged = confirmed(terminal, &keyring, &layout.installed())?;
    let Judged::Accepted(accepted) = judged else {
        return Ok(judged);
    };
    if accepted.rootfs().is_none() {
        return Ok(Judged::refused(
            "wrong-kind",
            "installed.dau carries no root filesystem",
        ));
    }
    fits(terminal, accepted)
}

/// The packages that may hold the kernel that was confirmed last, the likelier one first.
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
            Ok(Judged::Refused { message, .. }) => log::warn!("{}: {message}", path.display()),
            Err(error) => log::warn!("{}: {error:#}", path.display()),
        }
    }
    found
}

/// A package that was confirmed earlier: authentic, and for this product.
fn confirmed(terminal: &Terminal, keyring: &Keyring, path: &Path) -> Result<Judged> {
    let judged = whole(terminal, keyring, path)?;
    let Judged::Accepted(accepted) = &judged else {
        return Ok(judged);
    };
    let installed = Installed {
        product: terminal.release.product.clone(),
        rollback_index: 0,
        // Nor does what it once demanded.
        recovery_version: accepted.verified.manifest.minimum_recovery.clone(),
    };
    match check_policy(&accepted.verified.manifest, &installed, None, None) {
        Ok(()) => Ok(judged),
        Err(refusal) => Ok(Judged::refused(refusal.word(), refusal.to_string())),
    }
}

/// Signature, MD5 and SHA-256 of all that is in a package.
fn whole(terminal: &Terminal, keyring: &Keyring, path: &Path) -> Result<Judged> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Judged::refused("no-package", format!("{name} is missing")));
        }
        Err(error) => return Err(error).context(format!("cannot open {name}")),
    };
    log::info!("verifying {name}");
    let progress = terminal.progress;
    match dau_package::verify(&file, keyring, &mut |_, _| progress()) {
        Ok(verified) => {
            log::info!(
                "{name}: {} {}, signed by {}",
                verified.manifest.version,
                verified.manifest.kind,
                verified.signer.subject
            );
            Ok(Judged::Accepted(Box::new(Accepted { file, verified })))
        }
        Err(error) if error.is_refusal() => {
            Ok(Judged::refused(error.word(), format!("{name}: {error}")))
        }
        Err(error) => Err(error).context(format!("cannot verify {name}")),
    }
}

/// Whether the root filesystem can be written to its partition.
fn fits(terminal: &Terminal, accepted: Box<Accepted>) -> Result<Judged> {
    let Some(rootfs) = accepted.rootfs() else {
        return Ok(Judged::Accepted(accepted));
    };
    let (image, room) = (rootfs.payload.image_size, terminal.rootfs.size()?);
    if rootfs.payload.payload_type == PayloadType::RootfsImage && image % BLOCK != 0 {
        let message =
            format!("the root filesystem's {image} bytes are not whole blocks of {BLOCK}");
        return Ok(Judged::refused("rootfs-size", message));
    }
    if image > room {
        let message = format!(
            "the root filesystem has {image} bytes, its partition {room}: make a smaller one"
        );
        return Ok(Judged::refused("rootfs-size", message));
    }
    Ok(Judged::Accepted(accepted))
}

/// The highest rollback index of what is installed.
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

/// The rollback index that a signed manifest states; the payloads do not matter for that.
fn manifest_index(
    keyring: &Keyring,
    path: &Path,
    product: &str,
) -> Result<Option<u64>, PackageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut prefix = Vec::new();
    file.take(MAX_HEAD as u64).read_to_end(&mut prefix)?;
    let Some(head) = Head::parse(&prefix)? else {
        return Err(PackageError::Truncated { member: "the head" });
    };
    head.verify(keyring)?;
    Ok((head.manifest.product == product).then_some(head.manifest.rollback_index))
}

/// Whether a package holds all that a job writes.
fn covers(package: PackageKind, job: Kind) -> bool {
    match job {
        Kind::Kernel => package.has_kernel(),
        Kind::Rootfs => package.has_rootfs(),
        Kind::Full => package.has_kernel() && package.has_rootfs(),
        // The agent's own affair.
        Kind::Recovery => false,
    }
}
