//! The last steps of making any package: digests, signature, file.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use super::output::{parent, replace};
use super::sign::Signing;
use super::write::{write_body, write_head};
use super::{MakeError, Progress, Step};
use crate::verify::system_digests;
use crate::Manifest;

/// Completes `manifest` with size and digests of `system`, which is at the end of its `system.tar`,
/// signs it, and writes the package to `output`. Returns the complete manifest.
pub(super) fn seal(
    mut manifest: Manifest,
    mut system: File,
    signing: Option<&Signing>,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, MakeError> {
    let folder = parent(output);
    manifest.system.size = system.stream_position().map_err(MakeError::io(folder))?;
    system.rewind().map_err(MakeError::io(folder))?;
    let digest_progress = &mut |done, total| progress(Step::Digest, done, total);
    manifest.system = system_digests(&mut system, &manifest, digest_progress)?;
    manifest.validate()?;
    let mtime = u64::try_from(manifest.created_unix()?).unwrap_or_default();
    let bytes = manifest.to_json();
    let signed = match signing {
        None => None,
        Some(signing) => {
            progress(Step::Sign, 0, 0);
            Some(signing.sign(&bytes)?)
        }
    };
    let pem = signing.map(Signing::chain_pem).unwrap_or_default();
    replace(
        output,
        |file| {
            let signed = signed.as_deref().map(|signature| (signature, pem));
            write_head(file, &bytes, signed, mtime)?;
            system.rewind()?;
            write_body(file, &manifest, mtime, |file| io::copy(&mut system, file))
        },
        progress,
    )?;
    Ok(manifest)
}
