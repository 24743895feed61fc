//! Checking the whole package, and putting it where RecoveryOS looks for it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use dau_handoff::parameters::{measure, ParameterSet};
use dau_model::{hex, Word};
use dau_package::ext4::SuperBlock;
use dau_package::{verify_kept, verify_whole, Head};
use dau_system::durable;
use md5::{Digest, Md5};

use super::download::Partial;
use super::handle::Handle;
use super::rebuild::verify_delta;
use crate::acceptance::Acceptance;
use crate::failure::Failure;

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// The forms in which a package is taken.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// As it was signed: it comes from outside.
    AsSigned,
    /// Also as this terminal made it of a delta.
    Either,
}

/// Everything that the check needs.
#[derive(Debug)]
pub struct Verify {
    pub acceptance: Acceptance,
    /// The fetched package.
    pub part: PathBuf,
    /// Path of the verified package.
    pub candidate: PathBuf,
    /// Bytes of the partition that the root filesystem goes to, where they are known.
    pub rootfs_size: Option<u64>,
    /// Root and lists of the parameters that go into it.
    pub parameters: (PathBuf, PathBuf),
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// The candidate is in place; SHA-256 of its manifest.
    Candidate(String),
    /// A delta, of which the candidate is still to be made.
    Delta,
    /// The package is damaged, perhaps by our own storage: fetch it once more.
    FetchAgain(String),
}

impl Verify {
    /// Checks the package byte by byte and makes it the candidate. Power may go between rename and
    /// job file: then the candidate is checked again.
    pub fn run(&self, handle: &Handle) -> Result<Verified, Failure> {
        if !self.part.exists() {
            // It was the candidate before power went.
            let manifest_sha256 = self.check_kept(&self.candidate, handle)?;
            Partial::forget(&self.part).map_err(storage)?;
            return Ok(Verified::Candidate(manifest_sha256));
        }
        match self.check_fetched(handle) {
            Ok(Verified::Candidate(manifest_sha256)) => {
                durable::rename(&self.part, &self.candidate).map_err(storage)?;
                Partial::forget(&self.part).map_err(storage)?;
                Ok(Verified::Candidate(manifest_sha256))
            }
            Ok(other) => Ok(other),
            Err(failure) => self.damaged(failure),
        }
    }

    /// Checks what was fetched.
    fn check_fetched(&self, handle: &Handle) -> Result<Verified, Failure> {
        let mut file = File::open(&self.part).map_err(storage)?;
        if let Some(expected) = &self.acceptance.order.md5 {
            let found = md5_of(&file).map_err(storage)?;
            if found != *expected {
                let text =
                    format!("MD5 of the package: the order says {expected}, but it is {found}");
                return Err(Failure::refused(Word::OrderMd5Mismatch, text));
            }
        }
        file.rewind().map_err(storage)?;
        if Head::read_from(&file)?.manifest.delta.is_some() {
            let verified = verify_delta(file, self, handle);
            handle.check()?;
            verified?;
            let partial = Partial::open(&self.part, dau_system::clock::now());
            let noted = partial.and_then(|mut partial| partial.is_delta());
            noted.map_err(storage)?;
            return Ok(Verified::Delta);
        }
        // What RecoveryOS would find out during the outage is found out now, while the service
        // runs.
        self.check(&file, Taken::AsSigned, handle)
            .map(Verified::Candidate)
    }

    /// Checks a package that this terminal keeps, in either form; returns the SHA-256 of its
    /// manifest.
    pub fn check_kept(&self, path: &Path, handle: &Handle) -> Result<String, Failure> {
        let file = File::open(path).map_err(storage)?;
        self.check(&file, Taken::Either, handle)
    }

    fn check(&self, file: &File, taken: Taken, handle: &Handle) -> Result<String, Failure> {
        let mut progress = |done, total| {
            handle.progress(done, total);
            handle.go_on()
        };
        let keyring = &self.acceptance.keyring;
        let verified = match taken {
            Taken::AsSigned => verify_whole(file, keyring, &mut progress),
            Taken::Either => verify_kept(file, keyring, &mut progress),
        };
        // Asked to stop: that is the reason, whatever it led to.
        handle.check()?;
        let verified = verified?;
        self.acceptance.check_manifest(&verified.manifest)?;
        if let Some(new) = &verified.file_system {
            let image = verified
                .manifest
                .rootfs()
                .map_or(0, |rootfs| rootfs.image_size);
            self.check_room(new, image)?;
        }
        log::info!(
            "the package is genuine: {} {} {}, signed by {}",
            verified.manifest.product,
            verified.manifest.version,
            verified.manifest.kind,
            verified.signer.subject
        );
        Ok(verified.manifest_sha256)
    }

    /// Whether the new root filesystem of `image` bytes fits its partition, to which RecoveryOS
    /// grows it, and the parameters fit in.
    fn check_room(&self, new: &SuperBlock, image: u64) -> Result<(), Failure> {
        let Some(size) = self.rootfs_size else {
            return Ok(());
        };
        if image > size {
            let text = format!(
                "the root filesystem has {image} bytes, its partition {size}: make a smaller one"
            );
            return Err(Failure::refused(Word::RootfsSize, text));
        }
        let (root, lists) = &self.parameters;
        let measured = ParameterSet::load(root, lists).and_then(|set| measure(root, &set));
        // What cannot be measured, the backup says more about.
        let Ok(measured) = measured else {
            return Ok(());
        };
        let room = room_for_parameters(new, size);
        if measured.rootfs <= room {
            return Ok(());
        }
        let largest = measured.largest.map_or(String::new(), |(path, bytes)| {
            format!(", {bytes} of them {}", path.display())
        });
        let text = format!(
            "the parameters take {} bytes{largest}, but the new root filesystem leaves them {room}: \
             make a smaller one, or let the lists in /etc/dau/parameters.d name less",
            measured.rootfs
        );
        Err(Failure::refused(Word::RootfsSize, text))
    }

    /// A package that was put together from several pieces may be damaged by our own storage: once
    /// it is fetched anew.
    fn damaged(&self, failure: Failure) -> Result<Verified, Failure> {
        let refused = failure.outcome == dau_model::Outcome::Refused;
        let fetch_again = || Partial::open(&self.part, dau_system::clock::now())?.fetch_again();
        match refused && fetch_again().map_err(storage)? {
            true => Ok(Verified::FetchAgain(failure.reason.message)),
            false => Err(failure),
        }
    }
}

/// Bytes that are free in a file system once it is grown to a partition of `partition` bytes. Of
/// what it grows by, inodes and tables take 1/32 at most (mkfs.ext4's 256 bytes for each 16 KiB are
/// half of that).
fn room_for_parameters(new: &SuperBlock, partition: u64) -> u64 {
    let grown = partition.saturating_sub(new.size);
    let usable = grown.saturating_sub(grown / 32);
    new.free.saturating_add(usable)
}

fn md5_of(mut file: &File) -> io::Result<String> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => digest.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex::encode(digest.finalize()))
}

fn storage(error: io::Error) -> Failure {
    Failure::storage("the package cannot be read", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_parameters_is_what_is_free_and_what_the_file_system_grows_by() {
        let new = SuperBlock {
            size: 64 << 20,
            free: 5 << 20,
            block_size: 4096,
            compat: 0,
            incompat: 0,
            ro_compat: 0,
            state: 1,
        };
        assert_eq!(room_for_parameters(&new, 64 << 20), 5 << 20);
        assert_eq!(room_for_parameters(&new, 96 << 20), 36 << 20);
        // The partition is smaller: another check refuses that.
        assert_eq!(room_for_parameters(&new, 1), 5 << 20);
    }
}
