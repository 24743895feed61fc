//! The RecoveryOS slot that is not in charge: written from a package, or with what is in charge.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::Context as _;
use dau_boot_state::slot::{self, holds, Image};
use dau_boot_state::{fit, recovery_name};
use dau_handoff::Layout;
use dau_model::{hex, Slot, Word};
use dau_package::{Keyring, PayloadType};
use dau_system::durable;
use dau_system::volume::Volume;

use super::handle::Handle;
use crate::failure::Failure;
use crate::promote;

/// Everything that the writing needs.
#[derive(Debug)]
pub struct WriteRecovery {
    pub package: PathBuf,
    /// The package that was verified for the job.
    pub manifest_sha256: String,
    pub keyring: PathBuf,
    pub boot: Volume,
    /// The slot that is not to be touched.
    pub in_charge: Slot,
    pub layout: Layout,
}

impl WriteRecovery {
    /// Verifies the package once more (it may be long ago), writes the other slot and reads it
    /// back. Returns the bytes that it holds now; `None` where the package's RecoveryOS is in
    /// charge already.
    pub fn run(&self, handle: &Handle) -> Result<Option<u64>, Failure> {
        let failed = |word: Word, error: anyhow::Error| Failure::failed(word, format!("{error:#}"));
        let keyring =
            Keyring::load(&self.keyring).map_err(|error| failed(Word::Keyring, error.into()))?;
        let file = File::open(&self.package)
            .with_context(|| format!("cannot open {}", self.package.display()))
            .map_err(|error| failed(Word::PackageLost, error))?;
        let mut progress = |done, total| handle.progress(done, total);
        let verified = dau_package::verify_stored(&file, &keyring, &mut progress)?;
        if verified.manifest_sha256 != self.manifest_sha256 {
            let text = "the package on mnt is not the one that was verified for this job";
            return Err(Failure::refused(Word::PackageExchanged, text));
        }
        let mut payloads = verified.payloads.iter();
        let Some(payload) =
            payloads.find(|location| location.payload.payload_type == PayloadType::Recovery)
        else {
            return Err(Failure::refused(
                Word::WrongKind,
                "the package brings no RecoveryOS",
            ));
        };
        let described = fit::describe(&file, payload.offset)
            .map_err(|error| failed(Word::Boot, anyhow::anyhow!("the new RecoveryOS {error}")))?;
        let takes_rebuilt = described.is_some_and(|said| said.takes_rebuilt);
        if !takes_rebuilt && promote::keeps_rebuilt(&self.layout) {
            return Err(Failure::refused(
                Word::RecoveryTooOld,
                "the new RecoveryOS takes no packages that were made of deltas, but the terminal keeps one for \
                 the way back: order a later RecoveryOS, or upgrade by a whole package first",
            ));
        }
        let image = Image {
            file: &file,
            offset: payload.offset,
            len: payload.len,
            sha256: &payload.payload.image_sha256,
        };
        let write = || -> anyhow::Result<Option<u64>> {
            let opened = self.boot.open_read_only()?;
            let path = opened.path().join(recovery_name(self.in_charge));
            let same = holds(&path, image.len, image.sha256)?;
            opened.close()?;
            if same {
                log::info!("this RecoveryOS is in charge already");
                return Ok(None);
            }
            let name = recovery_name(self.in_charge.other());
            slot::write(&self.boot, name, &image, &mut || {})?;
            Ok(Some(image.len))
        };
        write().map_err(|error| failed(Word::Boot, error))
    }
}

/// Everything that the restoring needs.
#[derive(Debug)]
pub struct Restore {
    pub boot: Volume,
    pub in_charge: Slot,
    /// A file on mnt for the time between: boot is unmounted before what was written is read back.
    pub spare: PathBuf,
}

impl Restore {
    /// Best effort: the RecoveryOS in charge works in any case.
    pub fn run(&self) {
        if let Err(error) = self.copy() {
            log::error!("the RecoveryOS slot that is not in charge cannot be restored: {error:#}");
        }
        if let Err(error) = durable::remove(&self.spare) {
            log::warn!("cannot remove {}: {error}", self.spare.display());
        }
    }

    fn copy(&self) -> anyhow::Result<()> {
        let opened = self.boot.open_read_only()?;
        let path = opened.path().join(recovery_name(self.in_charge));
        // What the file holds behind the image is nobody's.
        let len = fit::check(&path)?;
        fs::copy(&path, &self.spare)?;
        opened.close()?;
        let file = File::open(&self.spare)?;
        let sha256 = hex::encode(fit::digest(&file, 0, len)?);
        let image = Image {
            file: &file,
            offset: 0,
            len,
            sha256: &sha256,
        };
        // A slot that was not touched needs no writing.
        let opened = self.boot.open_read_only()?;
        let other = recovery_name(self.in_charge.other());
        let same = holds(&opened.path().join(other), len, &sha256)?;
        opened.close()?;
        if !same {
            slot::write(&self.boot, other, &image, &mut || {})?;
        }
        Ok(())
    }
}
