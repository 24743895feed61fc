//! The RecoveryOS slot that is not in charge: written from a package, or with what is in charge.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::Context as _;
use dau_boot_state::slot::{self, hex, holds, Image, READ_ONLY};
use dau_boot_state::{fit, Slot};
use dau_package::{Keyring, PayloadType};
use dau_system::durable;
use dau_system::volume::Volume;

use super::{Context, Done};
use crate::download::judge::ending;
use crate::ending::Ending;

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
}

impl WriteRecovery {
    /// Verifies the package once more (it may be long ago), writes the other slot and reads it back.
    pub fn run(&self, context: &Context) -> Result<Done, Ending> {
        let failed = |word: &str, error: anyhow::Error| Ending::failed(word, format!("{error:#}"));
        let keyring =
            Keyring::load(&self.keyring).map_err(|error| failed("keyring", error.into()))?;
        let file = File::open(&self.package)
            .with_context(|| format!("cannot open {}", self.package.display()))
            .map_err(|error| failed("package-lost", error))?;
        let mut progress = |done, total| context.progress(done, total);
        let verified =
            dau_package::verify(&file, &keyring, &mut progress).map_err(|error| ending(&error))?;
        if verified.manifest_sha256 != self.manifest_sha256 {
            let text = "the package on mnt is not the one that was verified for this job";
            return Err(Ending::refused("package-exchanged", text));
        }
        let mut payloads = verified.payloads.iter();
        let Some(payload) =
            payloads.find(|location| location.payload.payload_type == PayloadType::Recovery)
        else {
            return Err(Ending::refused(
                "wrong-kind",
                "the package brings no RecoveryOS",
            ));
        };
        let image = Image {
            file: &file,
            offset: payload.offset,
            len: payload.len,
            sha256: &payload.payload.image_sha256,
        };
        let write = || -> anyhow::Result<Done> {
            let opened = self.boot.open_with(READ_ONLY)?;
            let path = opened.path().join(self.in_charge.recovery_name());
            let same = holds(&path, image.len, image.sha256)?;
            opened.close()?;
            if same {
                log::info!("this RecoveryOS is in charge already");
                return Ok(Done::RecoveryInPlace);
            }
            let name = self.in_charge.other().recovery_name();
            slot::write(&self.boot, name, &image, &mut || {})?;
            Ok(Done::RecoveryWritten(image.len))
        };
        write().map_err(|error| failed("boot", error))
    }
}

/// Everything that the restoring needs, and what follows it.
#[derive(Debug)]
pub struct Restore {
    pub boot: Volume,
    pub in_charge: Slot,
    /// A file on mnt for the time between: boot is unmounted before what was written is read back.
    pub spare: PathBuf,
    /// How the job ends.
    pub word: String,
    pub message: String,
}

impl Restore {
    /// Best effort: the RecoveryOS in charge works in any case.
    pub fn run(&self) -> Done {
        if let Err(error) = self.copy() {
            log::error!("the RecoveryOS slot that is not in charge cannot be restored: {error:#}");
        }
        if let Err(error) = durable::remove(&self.spare) {
            log::warn!("cannot remove {}: {error}", self.spare.display());
        }
        Done::RecoveryRestored(self.word.clone(), self.message.clone())
    }

    fn copy(&self) -> anyhow::Result<()> {
        let opened = self.boot.open_with(READ_ONLY)?;
        let path = opened.path().join(self.in_charge.recovery_name());
        // What the file holds behind the image is nobody's.
        let len = fit::check(&path)?;
        fs::copy(&path, &self.spare)?;
        opened.close()?;
        let file = File::open(&self.spare)?;
        let sha256 = hex(&fit::digest(&file, 0, len)?);
        let image = Image {
            file: &file,
            offset: 0,
            len,
            sha256: &sha256,
        };
        // A slot that was not touched needs no writing.
        let opened = self.boot.open_with(READ_ONLY)?;
        let other = self.in_charge.other().recovery_name();
        let same = holds(&opened.path().join(other), len, &sha256)?;
        opened.close()?;
        if !same {
            slot::write(&self.boot, other, &image, &mut || {})?;
        }
        Ok(())
    }
}
