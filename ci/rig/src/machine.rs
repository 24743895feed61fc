//! The machines that QEMU emulates, as boot/machines describes them.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, Result};

use crate::places::repository;

/// The machine when none is named.
const DEFAULT: &str = "qemu-aarch64";

/// A machine of boot/machines that QEMU emulates.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    qemu: Vec<String>,
    pub(crate) u_boot: PathBuf,
}

impl Machine {
    /// Returns the machine that the variable `MACHINE` of the environment names, else qemu-aarch64.
    pub fn chosen() -> Result<Self> {
        Self::named(&std::env::var("MACHINE").unwrap_or_else(|_| DEFAULT.to_owned()))
    }

    /// Returns a machine by its folder; fails, with the names of all, if QEMU emulates none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let found = setting(name, "DAU_QEMU").zip(setting(name, "DAU_QEMU_U_BOOT"));
        let (qemu, u_boot) = found.ok_or_else(|| {
            let known = known().join(", ");
            anyhow!("MACHINE={name} is no machine of QEMU; there are: {known}")
        })?;
        Ok(Machine {
            name: name.to_owned(),
            qemu: qemu.split_ascii_whitespace().map(str::to_owned).collect(),
            u_boot: unpacked(&u_boot).unwrap_or_else(|| u_boot.into()),
        })
    }

    /// Returns the name, such as `qemu-aarch64`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the emulator.
    pub fn emulator(&self) -> &str {
        &self.qemu[0]
    }

    /// Returns the emulator's arguments for processor and memory.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.qemu[1..]
    }
}

/// Returns the names of all machines of QEMU.
pub(crate) fn known() -> Vec<String> {
    let folder = std::fs::read_dir(repository().join("boot/machines"));
    let mut names: Vec<String> = folder
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| setting(name, "DAU_QEMU").is_some())
        .collect();
    names.sort();
    names
}

/// Returns what a machine's file sets; `None` for nothing.
fn setting(machine: &str, name: &str) -> Option<String> {
    let file = repository().join("boot/machines").join(machine);
    let text = std::fs::read_to_string(file.join("machine")).ok()?;
    let value = |line: &str| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix('=')?
                .trim()
                .to_owned(),
        )
    };
    text.lines()
        .find_map(value)
        .filter(|value| !value.is_empty())
}

/// Returns a file of Debian's packages below the tools that ci/setup unpacked, if it is there.
fn unpacked(file: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("DAU_TOOLS")?;
    let file = Path::new(&tools)
        .join("root")
        .join(file.trim_start_matches('/'));
    file.exists().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_qemu_are_those_with_an_emulator() {
        assert_eq!(known(), ["qemu-aarch64", "qemu-armhf"]);
        let machine = Machine::named("qemu-armhf").unwrap();
        assert_eq!(machine.emulator(), "qemu-system-arm");
        assert!(machine
            .u_boot
            .ends_with("usr/lib/u-boot/qemu_arm/u-boot.bin"));
        for name in ["beaglebone", "toaster", ""] {
            let refused = Machine::named(name).unwrap_err().to_string();
            assert!(
                refused.ends_with("there are: qemu-aarch64, qemu-armhf"),
                "{refused}"
            );
        }
    }
}
