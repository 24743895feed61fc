//! Checks from the first kilobytes of a package, while the rest still arrives, whether it suits
//! this terminal and the order.

use dau_handoff::Order;
use dau_model::Word;
use dau_package::{check_policy, Head, Installed, Keyring, Manifest};

use crate::failure::Failure;
use crate::tasks::no_base;

/// The terminal and the order that a package must suit.
#[derive(Debug, Clone)]
pub struct Acceptance {
    pub keyring: Keyring,
    pub installed: Installed,
    /// SHA-256 of the manifests of the packages that deltas may be of.
    pub packages: Vec<String>,
    /// RecoveryOS takes packages that were rebuilt of deltas.
    pub takes_rebuilt: bool,
    pub order: Order,
}

impl Acceptance {
    /// Checks the first bytes of a package of `total` bytes; `None` asks for more bytes. Returns the
    /// bytes that are needed on mnt beside it: those of the package that a delta makes.
    pub fn check_head(&self, prefix: &[u8], total: u64) -> Result<Option<u64>, Failure> {
        let Some(head) = Head::parse(prefix)? else {
            return Ok(None);
        };
        head.verify(&self.keyring)?;
        self.check_manifest(&head.manifest)?;
        check_size(&head, total)?;
        let Some(delta) = &head.manifest.delta else {
            return Ok(Some(0));
        };
        self.check_recovery()?;
        match self.packages.contains(&delta.base) {
            true => Ok(Some(delta.rebuilt_size)),
            false => Err(no_base(&delta.base)),
        }
    }

    /// Refuses deltas where RecoveryOS could not install what is made of them, nor put it back.
    pub fn check_recovery(&self) -> Result<(), Failure> {
        match self.takes_rebuilt {
            true => Ok(()),
            false => Err(Failure::refused(
                Word::RecoveryTooOld,
                "it is a delta, but the RecoveryOS in charge takes no packages that were made of deltas, \
                 or cannot be asked: order the whole package, or upgrade RecoveryOS first",
            )),
        }
    }

    /// Checks what a genuine manifest says against this terminal and the order.
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<(), Failure> {
        let (kind, version) = (self.order.kind, &self.order.version);
        check_policy(manifest, &self.installed, Some(kind), Some(version))
            .map_err(|refusal| Failure::refused(refusal.word(), refusal.to_string()))
    }
}

fn check_size(head: &Head, total: u64) -> Result<(), Failure> {
    let sizes = head.package_sizes();
    if sizes.contains(&total) {
        return Ok(());
    }
    Err(Failure::refused(
        Word::WrongSize,
        format!(
            "the file service offers {total} bytes, but the signed manifest makes it {} to {}: \
             upload the package to the station again",
            sizes.start(),
            sizes.end()
        ),
    ))
}
