//! The hardware of a terminal.

use std::path::PathBuf;

use crate::machine::Machine;

/// The hardware of a terminal.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Processor, memory and bootloader.
    pub machine: Machine,
    /// Flash with the bootloader's environment; `None`: the built-in environment.
    pub u_boot_flash: Option<PathBuf>,
    /// Whether the serial line is noisy.
    pub noise: bool,
    /// The clock at every power-on, such as `1970-01-01T00:00:00`; `None`: the right time.
    pub clock: Option<String>,
    /// The treatment of the disk by QEMU.
    pub storage: Storage,
    /// Ports of [`crate::pki::STATION_HOST`] that lead to a program; empty: all lead to the same
    /// ports of this machine.
    pub services: Vec<Service>,
}

impl Hardware {
    /// Returns ordinary hardware with the right time.
    pub fn new(machine: Machine) -> Self {
        Hardware {
            machine,
            u_boot_flash: None,
            noise: false,
            clock: None,
            storage: Storage::default(),
            services: Vec::new(),
        }
    }
}

/// The treatment of the disk by QEMU.
#[derive(Debug, Clone, Default)]
pub enum Storage {
    /// Nothing special.
    #[default]
    Plain,
    /// Flushes are not passed on to this machine's disk: data is lost only if this machine loses
    /// power.
    Unflushed,
    /// As [`Storage::Unflushed`], and every write and flush is recorded in this file by QEMU's
    /// driver blklogwrites.
    Recorded(PathBuf),
    /// Some sectors are bad; the file holds the rules for QEMU's driver blkdebug, too many for a
    /// command line.
    Failing(PathBuf),
}

/// A port that leads to a program: one process on this machine for every connection, speaking on
/// standard input and output.
#[derive(Debug, Clone)]
pub struct Service {
    /// The port as the terminal sees it.
    pub port: u16,
    /// Program and arguments, separated by spaces.
    pub command: String,
}
