//! The task of RecoveryOS.

use std::fmt;

use dau_model::Kind;

/// The task of RecoveryOS while the upgrade flag is set: `dau_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Nothing.
    None,
    /// Write this from the candidate; never [`Kind::Recovery`], which no copy can hold.
    Install(Kind),
    /// Put back what was installed before.
    Rollback,
}

impl Operation {
    /// The operation of a word; `None` where it means nothing, or RecoveryOS would have to replace
    /// itself.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Operation::None),
            "rollback" => Some(Operation::Rollback),
            word => match word.parse().ok()? {
                Kind::Recovery => None,
                kind => Some(Operation::Install(kind)),
            },
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::None => formatter.write_str("none"),
            Operation::Install(kind) => kind.fmt(formatter),
            Operation::Rollback => formatter.write_str("rollback"),
        }
    }
}
