//! The scenarios that are recorded.

use dau_boot_state::BootState;
use dau_model::Slot;
use dau_rig::places::{NEW, OLD};
use serde::{Deserialize, Serialize};

/// A scenario of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Kernel and root filesystem are upgraded.
    Full,
    /// The kernel alone is upgraded.
    Kernel,
    /// A full upgrade fails its health check and is rolled back.
    Return,
    /// RecoveryOS alone is upgraded.
    Recovery,
    /// The root filesystem is upgraded by a delta, in a full package whose kernel is the old one.
    Delta,
}

impl Scenario {
    /// Returns the name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Full => "full",
            Scenario::Kernel => "kernel",
            Scenario::Return => "return",
            Scenario::Recovery => "recovery",
            Scenario::Delta => "delta",
        }
    }

    /// Returns the upgrade type of the order.
    pub fn kind(self) -> &'static str {
        match self {
            Scenario::Full | Scenario::Return | Scenario::Delta => "full",
            Scenario::Kernel => "kernel",
            Scenario::Recovery => "recovery",
        }
    }

    /// Returns the job's outcome without a power cut.
    pub fn outcome(self) -> &'static str {
        match self {
            Scenario::Return => "rolled-back",
            Scenario::Full | Scenario::Kernel | Scenario::Recovery | Scenario::Delta => "success",
        }
    }

    /// Returns the OS version that runs in the end.
    pub fn version(self) -> &'static str {
        match self {
            Scenario::Full | Scenario::Delta => NEW,
            Scenario::Kernel | Scenario::Return | Scenario::Recovery => OLD,
        }
    }

    /// Returns the final boot state, except its sequence number.
    pub fn boot_state(self) -> BootState {
        let factory = BootState::factory();
        match self {
            Scenario::Full | Scenario::Kernel | Scenario::Delta => factory.steady(Slot::B),
            Scenario::Return => factory.steady(Slot::A),
            Scenario::Recovery => factory.in_charge(Slot::B),
        }
    }
}
