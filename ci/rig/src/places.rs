//! The places of images, programs and work folders.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::disk::Disk;
use crate::machine::{self, Machine};
use crate::terminal::Hardware;

/// OS version from the factory.
pub const OLD: &str = "1.0.0";
/// OS version of the upgrade.
pub const NEW: &str = "1.1.0";

/// Returns the source tree this program was built from.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes the folder `work` and locks it until the result is dropped: two processes there would delete
/// each other's files.
pub fn lock_folder(work: &Path) -> Result<Flock<File>> {
    std::fs::create_dir_all(work)?;
    let file = File::create(work.join(".lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        let work = work.display();
        anyhow!("another process works in {work}: wait for its end, or use another checkout")
    })
}

/// Images and packages of one builder, and their development keys.
#[derive(Debug, Clone)]
pub struct Places {
    images: PathBuf,
    pki: PathBuf,
    machine: Machine,
    product: String,
    programs: PathBuf,
    work: PathBuf,
    foreign: Option<PathBuf>,
}

impl Places {
    /// Opens a builder's output folder and its development keys; `None`: those of the reference
    /// builder. They are for the machine that the environment names ([`Machine::chosen`]).
    pub fn new(images: Option<PathBuf>, pki: Option<PathBuf>) -> Result<Self> {
        let repository = repository().canonicalize()?;
        let build = repository.join("build");
        // The station has another working directory.
        let images = std::path::absolute(images.unwrap_or_else(|| build.join("images")))?;
        let pki = std::path::absolute(pki.unwrap_or_else(|| build.join("pki")))?;
        let mut machine = Machine::chosen()?;
        let product = product_of(&images, machine.name())?;
        let own_u_boot = images.join("u-boot.bin");
        if own_u_boot.exists() {
            machine.u_boot = own_u_boot;
        }
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("a program is in a folder")?;
        Ok(Places {
            images,
            pki,
            work: build.join("e2e").join(&product),
            machine,
            product,
            programs: programs.to_owned(),
            foreign: None,
        })
    }

    /// Adds another product's full package, made by another builder and signed with the same keys.
    pub fn with_foreign(self, package: Option<PathBuf>) -> Self {
        Places {
            foreign: package,
            ..self
        }
    }

    /// Returns the other product's package, if there is one.
    pub fn foreign(&self) -> Option<&Path> {
        self.foreign.as_deref()
    }

    /// Returns the machine that the images are for.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the product of the images, such as `qemu-aarch64` or `qemu-aarch64-buildroot`.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Returns the factory image of an OS version.
    pub fn image(&self, version: &str) -> Disk {
        Disk::new(
            self.images
                .join(format!("dau-{}-{version}.img", self.product)),
        )
    }

    /// Returns a package's file; `kind`: `kernel`, `rootfs`, `full` or `recovery`.
    pub fn package(&self, version: &str, kind: &str) -> PathBuf {
        self.images
            .join(format!("dau-{}-{version}-{kind}.dau", self.product))
    }

    /// Returns ordinary hardware for the images, with the right time, the builder's U-Boot if there is
    /// one, else Debian's, and the flash with its environment if the builder made one.
    pub fn hardware(&self) -> Hardware {
        Hardware {
            u_boot_flash: Some(self.images.join("u-boot-flash.img")).filter(|path| path.exists()),
            ..Hardware::new(self.machine.clone())
        }
    }

    /// Returns the folder of the images' development keys.
    pub fn pki(&self) -> &Path {
        &self.pki
    }

    /// Returns a program of this project, built beside this one.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Returns the folder for the tests' work folders.
    pub fn work(&self) -> &Path {
        &self.work
    }
}

/// Returns the product that `folder` holds images of: the machine's own, or else the only one that is
/// no other machine's.
fn product_of(folder: &Path, machine: &str) -> Result<String> {
    let suffix = format!("-{OLD}.img");
    let names = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read: run make image", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let products: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix("dau-")?.strip_suffix(&suffix)?.to_owned()))
        .collect();
    chosen(products, machine).with_context(|| {
        let folder = folder.display();
        format!(
            "{folder} has no images and packages of {OLD} and {NEW} for {machine}, or those of \
             several products: run make image MACHINE={machine}"
        )
    })
}

/// Returns the product to test; `None` if there is none for the machine, or no telling which.
fn chosen(mut products: Vec<String>, machine: &str) -> Option<String> {
    if products.iter().any(|product| product == machine) {
        return Some(machine.to_owned());
    }
    products.retain(|product| !machine::known().contains(product));
    (products.len() == 1).then(|| products.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_those_of_the_machine() {
        let chosen = |products: &[&str], machine| {
            chosen(
                products.iter().map(|&product| product.into()).collect(),
                machine,
            )
        };
        let both = ["qemu-aarch64", "qemu-armhf"];
        assert_eq!(chosen(&both, "qemu-armhf").as_deref(), Some("qemu-armhf"));
        assert_eq!(chosen(&both[..1], "qemu-armhf"), None);
        let own = ["qemu-aarch64", "qemu-armhf-buildroot"];
        assert_eq!(
            chosen(&own, "qemu-armhf").as_deref(),
            Some("qemu-armhf-buildroot")
        );
        assert_eq!(chosen(&["relay", "meter"], "qemu-armhf"), None);
        assert_eq!(chosen(&[], "qemu-armhf"), None);
    }
}
