//! The members of a package file.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use dau_package::member;
use tar::Archive;

/// Name and byte range of each member.
pub(super) struct Members(Vec<(String, Range<usize>)>);

impl Members {
    pub(super) fn of(bytes: &[u8]) -> Result<Self> {
        let mut archive = Archive::new(bytes);
        let mut members = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let start = usize::try_from(entry.raw_file_position())?;
            let end = start + usize::try_from(entry.size())?;
            members.push((entry.path()?.display().to_string(), start..end));
        }
        Ok(Members(members))
    }

    pub(super) fn range(&self, name: &str) -> Result<Range<usize>> {
        let found = self.0.iter().find(|(member, _)| member == name);
        Ok(found
            .with_context(|| format!("no member {name}"))?
            .1
            .clone())
    }
}

/// Returns a payload as stored in a package.
pub fn payload(package: &Path, name: &str) -> Result<Vec<u8>> {
    let bytes = fs::read(package)
        .with_context(|| format!("cannot read {}: run make image", package.display()))?;
    let system = Members::of(&bytes)?.range(member::SYSTEM)?;
    let system = &bytes[system];
    Ok(system[Members::of(system)?.range(name)?].to_vec())
}

/// Returns a package's root filesystem image, decompressed.
pub fn rootfs_image(package: &Path) -> Result<Vec<u8>> {
    Ok(zstd::decode_all(
        payload(package, "rootfs.img.zst")?.as_slice(),
    )?)
}
