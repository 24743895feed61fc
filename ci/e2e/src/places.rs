//! Where images, programs and work folders are.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use crate::disk::Disk;

/// OS version that terminals leave the factory with.
pub const OLD: &str = "1.0.0";
/// OS version that they are upgraded to.
pub const NEW: &str = "1.1.0";

/// Of the package u-boot-qemu.
const DEBIAN_U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// The repository that this program was built from.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Images and packages of one builder, and the keys they were made with.
#[derive(Debug, Clone)]
pub struct Places {
    images: PathBuf,
    pki: PathBuf,
    machine: String,
    programs: PathBuf,
    work: PathBuf,
    foreign: Option<PathBuf>,
}

impl Places {
    /// `images`: the builder's output folder; `pki`: the development keys that signed it; `None`: the reference builder's.
    pub fn new(images: Option<PathBuf>, pki: Option<PathBuf>) -> Result<Self> {
        let repository = repository().canonicalize()?;
        let build = repository.join("build");
        // The station runs in a folder of its own, so relative paths would lead elsewhere.
        let images = std::path::absolute(images.unwrap_or_else(|| build.join("images")))?;
        let pki = std::path::absolute(pki.unwrap_or_else(|| build.join("pki")))?;
        let machine = machine_of(&images)?;
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("a program is in a folder")?;
        Ok(Places {
            images,
            pki,
            machine,
            programs: programs.to_owned(),
            work: build.join("e2e"),
            foreign: None,
        })
    }

    /// With a full package of another builder for its own product, signed by the keys of these images.
    pub fn with_foreign(self, package: Option<PathBuf>) -> Self {
        Places {
            foreign: package,
            ..self
        }
    }

    /// The package of another builder, where there is one.
    pub fn foreign(&self) -> Option<&Path> {
        self.foreign.as_deref()
    }

    /// The product and machine of the images, such as `qemu-aarch64`.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// The factory image of an OS version.
    pub fn image(&self, version: &str) -> Disk {
        Disk::new(
            self.images
                .join(format!("dau-{}-{version}.img", self.machine)),
        )
    }

    /// A package; `kind`: `kernel`, `rootfs` or `full`.
    pub fn package(&self, version: &str, kind: &str) -> PathBuf {
        self.images
            .join(format!("dau-{}-{version}-{kind}.dau", self.machine))
    }

    /// RecoveryOS as a FIT image.
    pub fn recovery(&self) -> PathBuf {
        self.images.join("recovery.itb")
    }

    /// U-Boot: the builder's own, where its folder has one, else Debian's.
    pub fn u_boot(&self) -> PathBuf {
        let own = self.images.join("u-boot.bin");
        match own.exists() {
            true => own,
            false => DEBIAN_U_BOOT.into(),
        }
    }

    /// The development keys of the images.
    pub fn pki(&self) -> &Path {
        &self.pki
    }

    /// One of the project's programs for this machine, built beside this one.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Folder of the end-to-end tests' work folders.
    pub fn work(&self) -> &Path {
        &self.work
    }
}

/// The machine for which both versions' images are in `folder`.
fn machine_of(folder: &Path) -> Result<String> {
    let suffix = format!("-{OLD}.img");
    let names = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read: run make image", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut machines: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix("dau-")?.strip_suffix(&suffix)?.to_owned()))
        .collect();
    ensure!(
        machines.len() == 1,
        "{} must hold the images and packages of {OLD} and {NEW} of one machine, but has {} images of {OLD}: run make image",
        folder.display(),
        machines.len()
    );
    Ok(machines.remove(0))
}
