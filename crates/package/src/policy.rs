//! What a terminal accepts beyond authenticity: its own product, what was ordered, and nothing older than it must be.

use thiserror::Error;

use crate::manifest::{Manifest, PackageKind};
use crate::version;

/// What the terminal runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Product of the terminal, e.g. `qemu-aarch64`.
    pub product: String,
    /// Rollback index of the package that is installed.
    pub rollback_index: u64,
    /// Version of the RecoveryOS that would install the package; `None`: not known.
    pub recovery_version: Option<String>,
}

/// Why a genuine package is not for this terminal or this order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Made for another product.
    #[error(
        "the package is for product {package}, this terminal is {terminal}: order the package of its product"
    )]
    WrongProduct {
        /// Product in the manifest.
        package: String,
        /// Product of the terminal.
        terminal: String,
    },
    /// Older than what is installed allows.
    #[error(
        "the package's rollback index {package} is lower than the installed {installed}: \
         make a package with an index of at least {installed}"
    )]
    OlderRollbackIndex {
        /// Index in the manifest.
        package: u64,
        /// Index of what is installed.
        installed: u64,
    },
    /// RecoveryOS is older than the package demands.
    #[error(
        "the package demands RecoveryOS {minimum}, this terminal has {}: upgrade RecoveryOS first",
        found.as_deref().unwrap_or("one of unknown version")
    )]
    RecoveryTooOld {
        /// Least version in the manifest.
        minimum: String,
        /// Version of the terminal's.
        found: Option<String>,
    },
    /// Not the kind that was ordered.
    #[error("a {ordered} upgrade was ordered, but the package is {package}: order its own kind")]
    WrongKind {
        /// Kind in the manifest.
        package: PackageKind,
        /// Kind in the order.
        ordered: PackageKind,
    },
    /// Not the version that was ordered.
    #[error("version {ordered} was ordered, but the package is {package}")]
    WrongVersion {
        /// Version in the manifest.
        package: String,
        /// Version in the order.
        ordered: String,
    },
}

impl Refusal {
    /// A stable word for results and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::WrongProduct { .. } => "wrong-product",
            Self::OlderRollbackIndex { .. } => "older-rollback-index",
            Self::RecoveryTooOld { .. } => "recovery-too-old",
            Self::WrongKind { .. } => "wrong-kind",
            Self::WrongVersion { .. } => "wrong-version",
        }
    }
}

/// Judges a manifest against what the terminal is and runs, and, where an order named them, kind and version.
pub fn check_policy(
    manifest: &Manifest,
    installed: &Installed,
    ordered_kind: Option<PackageKind>,
    ordered_version: Option<&str>,
) -> Result<(), Refusal> {
    if manifest.product != installed.product {
        return Err(Refusal::WrongProduct {
            package: manifest.product.clone(),
            terminal: installed.product.clone(),
        });
    }
    if manifest.rollback_index < installed.rollback_index {
        return Err(Refusal::OlderRollbackIndex {
            package: manifest.rollback_index,
            installed: installed.rollback_index,
        });
    }
    if let Some(minimum) = &manifest.minimum_recovery {
        let found = installed.recovery_version.as_deref();
        if found.is_none_or(|found| version::compare(found, minimum).is_lt()) {
            return Err(Refusal::RecoveryTooOld {
                minimum: minimum.clone(),
                found: installed.recovery_version.clone(),
            });
        }
    }
    if let Some(ordered) = ordered_kind.filter(|ordered| *ordered != manifest.kind) {
        return Err(Refusal::WrongKind {
            package: manifest.kind,
            ordered,
        });
    }
    if let Some(ordered) = ordered_version.filter(|ordered| *ordered != manifest.version) {
        return Err(Refusal::WrongVersion {
            package: manifest.version.clone(),
            ordered: ordered.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
