//! Judging a package by its first kilobytes, while the rest still arrives.

use dau_handoff::{Kind, Order};
use dau_package::{check_policy, Head, Installed, Keyring, Manifest, PackageError, PackageKind};

use crate::ending::Ending;

/// What a package is judged by.
#[derive(Debug, Clone)]
pub struct Judge {
    pub keyring: Keyring,
    pub installed: Installed,
    pub order: Order,
}

/// Tar's blocks, and the blocking factor to which ordinary programs pad an archive.
const BLOCK: u64 = 512;
const BLOCKING: u64 = 20 * BLOCK;

impl Judge {
    /// Judges the first bytes of a package of `total` bytes; `Ok(false)` asks for more bytes.
    pub fn first_bytes(&self, prefix: &[u8], total: u64) -> Result<bool, Ending> {
        let Some(head) = Head::parse(prefix).map_err(|error| ending(&error))? else {
            return Ok(false);
        };
        head.verify(&self.keyring).map_err(|error| ending(&error))?;
        self.manifest(&head.manifest)?;
        check_size(&head, total)?;
        Ok(true)
    }

    /// Judges what a genuine manifest says against this terminal and the order.
    pub fn manifest(&self, manifest: &Manifest) -> Result<(), Ending> {
        let kind = Some(package_kind(self.order.kind));
        check_policy(manifest, &self.installed, kind, Some(&self.order.version))
            .map_err(|refusal| Ending::refused(refusal.word(), refusal.to_string()))
    }
}

/// A refusal where the package is at fault, a failure where reading or checking it was.
pub fn ending(error: &PackageError) -> Ending {
    match error.is_refusal() {
        true => Ending::refused(error.word(), error.to_string()),
        false => Ending::failed(error.word(), error.to_string()),
    }
}

/// The package kind that an order asks for.
pub fn package_kind(kind: Kind) -> PackageKind {
    match kind {
        Kind::Kernel => PackageKind::Kernel,
        Kind::Rootfs => PackageKind::Rootfs,
        Kind::Full => PackageKind::Full,
        Kind::Recovery => PackageKind::Recovery,
    }
}

/// Whether a file of `total` bytes can be this package: head, system.tar, system.tar.md5, end of archive.
fn check_size(head: &Head, total: u64) -> Result<(), Ending> {
    let system = head.manifest.system.size.next_multiple_of(BLOCK);
    let least = head.body_offset + BLOCK + system + 2 * BLOCK + 2 * BLOCK;
    let most = least.next_multiple_of(BLOCKING);
    if (least..=most).contains(&total) {
        return Ok(());
    }
    Err(Ending::refused(
        "wrong-size",
        format!(
            "the file service offers {total} bytes, but the signed manifest makes it {least} to {most}: \
             upload the package to the station again"
        ),
    ))
}
