//! Making a package of a delta and of a package that is kept here, while the service runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use dau_handoff::Layout;
use dau_model::Word;
use dau_package::delta::{Delta, Rebuild as Pieces, RebuildError};
use dau_package::PackageError;
use dau_system::durable;

use super::download::Partial;
use super::handle::Handle;
use super::verify::Verify;
use crate::failure::Failure;
use crate::promote;

/// Bytes of image after which what was written is forced to the medium: no more than these are made
/// again after a power cut.
const SYNC_EVERY: u64 = 8 << 20;
/// Whatever else runs goes first, with processor and disk: an I/O scheduler that knows priorities
/// takes them from this one.
const NICE: i32 = 19;

/// What a package that was right when it was written can come to by a fault of the medium. Other
/// refusals, such as that of a signer that was revoked meanwhile, stay what they are.
const DAMAGE: [Word; 10] = [
    Word::Md5Mismatch,
    Word::Sha256Mismatch,
    Word::ImageMismatch,
    Word::SignatureInvalid,
    Word::ManifestInvalid,
    Word::Truncated,
    Word::Malformed,
    Word::UnexpectedMember,
    Word::TrailingBytes,
    Word::TooLarge,
];

/// Everything that the work needs.
#[derive(Debug)]
pub struct Rebuild {
    /// Judges the result; its part is the delta.
    pub verify: Verify,
    pub layout: Layout,
    /// The package that is being made.
    pub rebuilt: PathBuf,
    /// Bytes that stay free on mnt.
    pub reserve: u64,
}

impl Rebuild {
    /// Makes the package and, once it was judged as a whole, the candidate of it; returns the
    /// SHA-256 of its manifest. Power may go between any two steps: they are done again.
    pub fn run(&self, handle: &Handle) -> Result<String, Failure> {
        self.verify.acceptance.check_recovery()?;
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            log::warn!("the rebuild goes on with the usual priority: {error}");
        }
        let delta = self.delta(handle)?;
        let candidate = &self.verify.candidate;
        let done = candidate.exists() && self.judge(&delta, candidate, handle).is_ok();
        handle.check()?;
        if !done {
            made_good(
                || self.make(&delta, handle),
                || self.judge(&delta, &self.rebuilt, handle),
                || durable::remove(&self.rebuilt).map_err(storage),
            )?;
            durable::rename(&self.rebuilt, candidate).map_err(storage)?;
        }
        let part = &self.verify.part;
        durable::remove(part)
            .and_then(|()| Partial::forget(part))
            .map_err(storage)?;
        Ok(delta.target().manifest_sha256())
    }

    fn delta(&self, handle: &Handle) -> Result<Delta, Failure> {
        let file = File::open(&self.verify.part).map_err(storage)?;
        let keyring = &self.verify.acceptance.keyring;
        let delta = Delta::verify(file, keyring, &mut |_, _| handle.go_on());
        handle.check()?;
        Ok(delta?)
    }

    /// Makes what is missing of the package.
    fn make(&self, delta: &Delta, handle: &Handle) -> Result<(), Failure> {
        let base =
            promote::find(&self.layout, delta.base()).ok_or_else(|| no_base(delta.base()))?;
        let base = File::open(base).map_err(storage)?;
        let output = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.rebuilt)
            .map_err(storage)?;
        self.check_space(delta, &output)?;
        log::info!("making the package of a delta of {}", delta.base());
        let made = make_pieces(delta, &base, &output, handle);
        // Asked to stop: that is the reason, whatever it led to.
        handle.check()?;
        made.map_err(|error| match error {
            RebuildError::Io(error) => storage(error),
            other => Failure::refused(
                other.word(),
                format!("{other}: order the whole package, which needs no other"),
            ),
        })
    }

    fn check_space(&self, delta: &Delta, output: &File) -> Result<(), Failure> {
        let there = output.metadata().map_err(storage)?.len();
        let missing = delta.rebuilt_size().saturating_sub(there);
        let free = crate::space::free(&self.rebuilt).map_err(storage)?;
        if missing.saturating_add(self.reserve) <= free {
            return Ok(());
        }
        Err(Failure::refused(
            Word::NoSpace,
            format!(
                "the package that the delta makes takes {missing} more bytes and {} are to stay \
                 free, but mnt has {free}: make room there",
                self.reserve
            ),
        ))
    }

    /// Judges the whole package as any other, and that it is the delta's target.
    fn judge(&self, delta: &Delta, path: &Path, handle: &Handle) -> Result<(), Failure> {
        let found = self.verify.check_kept(path, handle)?;
        match found == delta.target().manifest_sha256() {
            true => Ok(()),
            false => Err(Failure::refused(
                Word::DeltaMismatch,
                format!("the delta makes package {found}, not its target: make the delta again"),
            )),
        }
    }
}

/// Makes a package and judges it. Every piece was right when it was written: a package that is damaged
/// was damaged on the medium, and is made anew once, on other blocks.
fn made_good(
    make: impl Fn() -> Result<(), Failure>,
    judge: impl Fn() -> Result<(), Failure>,
    discard: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    make()?;
    match judge() {
        Err(failure) if DAMAGE.contains(&failure.reason.word) => {
            log::warn!(
                "the package that was made is made once more: {}",
                failure.reason
            );
            discard()?;
            make()?;
            judge()
        }
        judged => judged,
    }
}

fn make_pieces(
    delta: &Delta,
    base: &File,
    output: &File,
    handle: &Handle,
) -> Result<(), RebuildError> {
    let mut pieces = Pieces::new(delta, base, output)?;
    let mut synced = 0;
    while pieces.step(&mut || handle.go_on())? {
        handle.progress(pieces.done(), pieces.total());
        if pieces.done().saturating_sub(synced) >= SYNC_EVERY {
            output.sync_data()?;
            synced = pieces.done();
        }
    }
    pieces.finish()?;
    Ok(output.sync_all()?)
}

/// Returns the refusal of a delta whose base is not kept here.
pub fn no_base(base: &str) -> Failure {
    Failure::refused(
        Word::DeltaBase,
        format!(
            "it is a delta of package {base}, which this terminal does not keep: order a delta of \
             one that it keeps, or the whole package"
        ),
    )
}

/// Checks a delta as it was fetched.
pub fn verify_delta(file: File, verify: &Verify, handle: &Handle) -> Result<(), PackageError> {
    let mut progress = |done, total| {
        handle.progress(done, total);
        handle.go_on()
    };
    Delta::verify(file, &verify.acceptance.keyring, &mut progress).map(drop)
}

fn storage(error: io::Error) -> Failure {
    Failure::storage("the package cannot be made", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_package_that_is_damaged_is_made_anew_once() {
        for (verdicts, expected, good) in [
            ("good", "make judge", true),
            ("rotten good", "make judge discard make judge", true),
            ("rotten rotten", "make judge discard make judge", false),
            ("revoked", "make judge", false),
            ("older", "make judge", false),
            ("large", "make judge", false),
            ("unread", "make judge", false),
        ] {
            let (done, verdicts) = (RefCell::new(Vec::new()), RefCell::new(verdicts.split(' ')));
            let does = |what| done.borrow_mut().push(what);
            let judge = || match verdicts.borrow_mut().next() {
                Some("good") => Ok(()),
                Some("rotten") => Err(Failure::refused(Word::ImageMismatch, "")),
                Some("revoked") => Err(Failure::refused(Word::SignerRevoked, "")),
                Some("older") => Err(Failure::refused(Word::OlderRollbackIndex, "")),
                Some("large") => Err(Failure::refused(Word::RootfsSize, "")),
                _ => Err(storage(io::Error::from(io::ErrorKind::Other))),
            };
            let made = made_good(
                || {
                    does("make");
                    Ok(())
                },
                || {
                    does("judge");
                    judge()
                },
                || {
                    does("discard");
                    Ok(())
                },
            );
            assert_eq!(done.borrow().join(" "), expected);
            assert_eq!(made.is_ok(), good, "{expected}");
        }
    }
}
