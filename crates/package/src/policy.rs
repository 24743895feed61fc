//! A terminal's rules beyond authenticity: its own product, the ordered kind and version, no older
//! package than allowed.

use thiserror::Error;

use dau_model::{Kind, Reason, Word};

use crate::manifest::Manifest;
use crate::version;

/// The state of a terminal that the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Product of the terminal, e.g. `qemu-aarch64`.
    pub product: String,
    /// Rollback index of the installed package.
    pub rollback_index: u64,
    /// Version of the RecoveryOS that would install the package; `None`: unknown.
    pub recovery_version: Option<String>,
}

/// A reason why a genuine package is not for this terminal or this order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is for another product.
    #[error(
        "the package is for product {package}, this terminal is {terminal}: order the package of its product"
    )]
    WrongProduct {
        /// Product in the manifest.
        package: String,
        /// Product of the terminal.
        terminal: String,
    },
    /// It is older than the installed package allows.
    #[error(
        "the package's rollback index {package} is lower than the installed {installed}: \
         make a package with an index of at least {installed}"
    )]
    OlderRollbackIndex {
        /// Index in the manifest.
        package: u64,
        /// The installed package's index.
        installed: u64,
    },
    /// RecoveryOS is older than the package demands.
    #[error(
        "the package demands RecoveryOS {minimum}, this terminal has {}: upgrade RecoveryOS first",
        found.as_deref().unwrap_or("one of unknown version")
    )]
    RecoveryTooOld {
        /// Oldest version allowed by the manifest.
        minimum: String,
        /// The terminal's version.
        found: Option<String>,
    },
    /// It is not of the ordered kind.
    #[error("a {ordered} upgrade was ordered, but the package is {package}: order its own kind")]
    WrongKind {
        /// Kind in the manifest.
        package: Kind,
        /// Kind in the order.
        ordered: Kind,
    },
    /// It is not of the ordered version.
    #[error("version {ordered} was ordered, but the package is {package}")]
    WrongVersion {
        /// Version in the manifest.
        package: String,
        /// Version in the order.
        ordered: String,
    },
}

impl Refusal {
    /// Returns a stable word for results and counters.
    pub fn word(&self) -> Word {
        match self {
            Self::WrongProduct { .. } => Word::WrongProduct,
            Self::OlderRollbackIndex { .. } => Word::OlderRollbackIndex,
            Self::RecoveryTooOld { .. } => Word::RecoveryTooOld,
            Self::WrongKind { .. } => Word::WrongKind,
            Self::WrongVersion { .. } => Word::WrongVersion,
        }
    }

    /// Returns word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.word(), self.to_string())
    }
}

/// Checks a manifest against the terminal's state and, if given, the ordered kind and version.
pub fn check_policy(
    manifest: &Manifest,
    installed: &Installed,
    ordered_kind: Option<Kind>,
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
