//! Correctly signed packages, like a genuine one but for one property.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use dau_package::make::{self, Compression, Recipe};
use dau_package::{member, Head, Manifest};

use super::members::{payload, rootfs_image, Members};
use super::signatory::Signatory;
use crate::disk::Ext4;

/// Builds a correctly signed RecoveryOS package; everything else is as in `genuine`.
pub fn recovery_package(
    genuine: &Path,
    signatory: &Signatory,
    recovery: &Path,
    output: &Path,
) -> Result<()> {
    let recipe = Recipe {
        recovery: Some(recovery.to_owned()),
        ..like(genuine)?
    };
    build(&recipe, signatory, output)
}

/// Returns the recipe of `genuine`, without its payloads.
fn like(genuine: &Path) -> Result<Recipe> {
    let bytes = fs::read(genuine)?;
    let manifest = Manifest::from_json(&bytes[Members::of(&bytes)?.range(member::MANIFEST)?])?;
    Ok(Recipe {
        product: manifest.product.clone(),
        version: manifest.version.clone(),
        created: manifest.created_unix()?,
        rollback_index: manifest.rollback_index,
        kernel: None,
        rootfs: None,
        sbom: None,
        recovery: None,
        minimum_recovery: None,
        compression: Compression {
            level: 1,
            ..Compression::default()
        },
    })
}

fn build(recipe: &Recipe, signatory: &Signatory, output: &Path) -> Result<()> {
    make::build(
        recipe,
        Some(&signatory.signing()?),
        output,
        &mut |_, _, _| (),
    )?;
    Ok(())
}

/// Builds a correctly signed package like `genuine`, full or of a root filesystem, with one more
/// executable file in the root filesystem.
pub fn with_file(
    genuine: &Path,
    signatory: &Signatory,
    output: &Path,
    path: &str,
    content: &[u8],
) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let recipe = parts(genuine, folder.path())?;
    let image = Ext4::image(recipe.rootfs.as_deref().context("no root filesystem")?)?;
    image.make_parents(path)?;
    image.write(path, content, "0100755")?;
    drop(image);
    build(&recipe, signatory, output)
}

/// Builds a correctly signed full package like `genuine` that also contains the RecoveryOS in
/// `recovery`.
pub fn with_recovery(
    genuine: &Path,
    signatory: &Signatory,
    recovery: &Path,
    output: &Path,
) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let recipe = Recipe {
        recovery: Some(recovery.to_owned()),
        ..parts(genuine, folder.path())?
    };
    build(&recipe, signatory, output)
}

/// Builds a correctly signed full package like `genuine` with the kernel of the package `other`.
pub fn with_kernel_of(
    genuine: &Path,
    other: &Path,
    signatory: &Signatory,
    output: &Path,
) -> Result<()> {
    let folder = tempfile::tempdir_in(output.parent().unwrap_or(Path::new(".")))?;
    let recipe = parts(genuine, folder.path())?;
    let kernel = recipe.kernel.as_deref().context("no kernel")?;
    fs::write(kernel, payload(other, "kernel.itb")?)?;
    build(&recipe, signatory, output)
}

/// Returns the recipe of a package like `genuine`, with its root filesystem and, if it has one, its
/// kernel; its payloads are files in `folder`.
fn parts(genuine: &Path, folder: &Path) -> Result<Recipe> {
    let (kernel, rootfs) = (folder.join("kernel.itb"), folder.join("rootfs.img"));
    let has_kernel = Head::read_from(fs::File::open(genuine)?)?
        .manifest
        .kind
        .has_kernel();
    if has_kernel {
        fs::write(&kernel, payload(genuine, "kernel.itb")?)?;
    }
    fs::write(&rootfs, rootfs_image(genuine)?)?;
    Ok(Recipe {
        kernel: has_kernel.then_some(kernel),
        rootfs: Some(rootfs),
        ..like(genuine)?
    })
}
