//! Checking the whole package, and putting it where RecoveryOS looks for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dau_package::PackageError;
use dau_system::durable;
use md5::{Digest, Md5};

use super::{Context, Done};
use crate::download::judge::{ending, Judge};
use crate::download::partial;
use crate::ending::Ending;

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// Everything that the check needs.
#[derive(Debug)]
pub struct Verify {
    pub judge: Judge,
    /// The fetched package.
    pub part: PathBuf,
    /// Where the verified package stands.
    pub candidate: PathBuf,
}

impl Verify {
    /// Checks the package byte by byte and makes it the candidate. Power may go between rename and job file: then the
    /// candidate is checked again.
    pub fn run(&self, context: &Context) -> Result<Done, Ending> {
        let path = match self.part.exists() {
            true => &self.part,
            false => &self.candidate,
        };
        match self.check(path, context) {
            Ok(manifest_sha256) => {
                if path == &self.part {
                    durable::rename(&self.part, &self.candidate).map_err(storage)?;
                }
                partial::forget(&self.part).map_err(storage)?;
                Ok(Done::Verified(manifest_sha256))
            }
            Err(ending) => self.damaged(ending),
        }
    }

    fn check(&self, path: &Path, context: &Context) -> Result<String, Ending> {
        let file = File::open(path).map_err(storage)?;
        if let Some(expected) = &self.judge.order.md5 {
            let found = md5_of(&file).map_err(storage)?;
            if found != *expected {
                let text =
                    format!("MD5 of the package: the order says {expected}, but it is {found}");
                return Err(Ending::refused("order-md5-mismatch", text));
            }
        }
        let mut progress = |done, total| context.progress(done, total);
        let verified = dau_package::verify(&file, &self.judge.keyring, &mut progress)
            .map_err(|error: PackageError| ending(&error))?;
        context.control.check()?;
        self.judge.manifest(&verified.manifest)?;
        log::info!(
            "the package is genuine: {} {} {}, signed by {}",
            verified.manifest.product,
            verified.manifest.version,
            verified.manifest.kind,
            verified.signer.subject
        );
        Ok(verified.manifest_sha256)
    }

    /// A package that was put together from several pieces may be damaged by our own storage: once it is fetched anew.
    fn damaged(&self, ending: Ending) -> Result<Done, Ending> {
        let refused = ending.outcome == dau_handoff::Outcome::Refused;
        let note = partial::load_note(&self.part).map_err(storage)?;
        match note {
            Some(mut note) if refused && note.doubtful && !note.fetched_again => {
                note.fetched_again = true;
                note.doubtful = false;
                let mut partial =
                    partial::Partial::open(&self.part, note.started_at).map_err(storage)?;
                partial.note = note;
                partial.restart().map_err(storage)?;
                Ok(Done::FetchAgain(ending.message))
            }
            _ => Err(ending),
        }
    }
}

fn md5_of(mut file: &File) -> io::Result<String> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => digest.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest = digest.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn storage(error: io::Error) -> Ending {
    Ending::storage("the package cannot be read", error)
}
