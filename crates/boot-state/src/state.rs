//! The boot state itself: values, and their form as environment variables.

use dau_model::{Kind, Slot};

use crate::env::{self, EnvError};
use crate::{Operation, COPY_SIZE};

/// Boots that a new OS gets to prove itself.
pub const DEFAULT_TRIES: u8 = 3;
const MAX_TRIES: u8 = 9;

const SEQ: &str = "dau_seq";
const UPGRADE: &str = "dau_upgrade";
const KIND: &str = "dau_kind";
const KERNEL: &str = "dau_kernel";
const RECOVERY: &str = "dau_recovery";
const TRIAL: &str = "dau_trial";
const TRIES: &str = "dau_tries";
const CHECK: &str = "dau_check";

/// The boot state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// `dau_seq`: grows by one with every write, modulo 2^32.
    pub seq: u32,
    /// `dau_upgrade`: the Boot upgrade flag.
    pub upgrade: bool,
    /// `dau_kind`: the task of RecoveryOS while the flag is set.
    pub operation: Operation,
    /// `dau_kernel`: the kernel slot that the normal OS boots.
    pub kernel: Slot,
    /// `dau_recovery`: the RecoveryOS slot tried first.
    pub recovery: Slot,
    /// `dau_trial`: the normal OS is new and unconfirmed.
    pub trial: bool,
    /// `dau_tries`: boots left while on trial.
    pub tries: u8,
    /// `dau_check`: the RecoveryOS in the slot that `recovery` does not name is to be booted once,
    /// in check mode. A copy without it, as an older program writes it, says 0.
    pub check: bool,
}

/// A reason why a boot state cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its text does not fit.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// RecoveryOS replaces no RecoveryOS.
    #[error("RecoveryOS is not to be told to replace RecoveryOS")]
    Recovery,
}

/// A reason why a copy is no boot state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an environment at all.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The medium does not give it back.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A variable is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A variable has a value that means nothing.
    #[error("{name} is '{value}', which means nothing")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl BootState {
    /// Returns the state of a terminal as it leaves the factory.
    pub fn factory() -> Self {
        BootState {
            seq: 1,
            upgrade: false,
            operation: Operation::None,
            kernel: Slot::A,
            recovery: Slot::A,
            trial: false,
            tries: 0,
            check: false,
        }
    }

    /// Returns the state with the upgrade flag set; **does not write to the disk**.
    pub fn armed(&self, operation: Operation) -> Self {
        BootState {
            upgrade: true,
            operation,
            check: false,
            ..self.clone()
        }
    }

    /// Returns the state after a successful installation: flag cleared, `kernel` chosen, on trial;
    /// **does not write to the disk**.
    pub fn committed(&self, kernel: Slot, tries: u8) -> Self {
        BootState {
            upgrade: false,
            operation: Operation::None,
            kernel,
            trial: true,
            tries: tries.min(MAX_TRIES),
            check: false,
            ..self.clone()
        }
    }

    /// Returns the state in which the normal OS is trusted: no flag, no trial; **does not write to
    /// the disk**.
    pub fn steady(&self, kernel: Slot) -> Self {
        BootState {
            upgrade: false,
            operation: Operation::None,
            kernel,
            trial: false,
            tries: 0,
            check: false,
            ..self.clone()
        }
    }

    /// Returns the state in which the RecoveryOS that is not in charge is booted once, in check
    /// mode; **does not write to the disk**.
    pub fn checking(&self) -> Self {
        BootState {
            check: true,
            ..self.clone()
        }
    }

    /// Returns the state in which the RecoveryOS of this slot is in charge; **does not write to the
    /// disk**.
    pub fn in_charge(&self, recovery: Slot) -> Self {
        BootState {
            recovery,
            check: false,
            ..self.clone()
        }
    }

    /// Returns the 4096 bytes of a copy.
    pub fn encode(&self) -> Result<[u8; COPY_SIZE], EncodeError> {
        if self.operation == Operation::Install(Kind::Recovery) {
            return Err(EncodeError::Recovery);
        }
        let flag = |value: bool| u8::from(value).to_string();
        let copy = env::encode([
            (SEQ, format!("{:x}", self.seq)),
            (UPGRADE, flag(self.upgrade)),
            (KIND, self.operation.to_string()),
            (KERNEL, self.kernel.to_string()),
            (RECOVERY, self.recovery.to_string()),
            (TRIAL, flag(self.trial)),
            (TRIES, self.tries.to_string()),
            (CHECK, flag(self.check)),
        ]);
        Ok(copy?)
    }

    /// Reads a copy; variables of others are passed over. A number has one spelling: boot.cmd
    /// compares texts and takes no other, and both must agree on which copies are valid.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let entries = env::decode(bytes)?;
        let text = |name: &'static str| {
            let entry = entries.iter().rev().find(|(key, _)| *key == name);
            entry
                .map(|(_, value)| *value)
                .ok_or(DecodeError::Missing(name))
        };
        fn value<T>(name: &'static str, text: &str, parsed: Option<T>) -> Result<T, DecodeError> {
            parsed.ok_or_else(|| DecodeError::Value {
                name,
                value: text.to_owned(),
            })
        }
        let flag = |name| {
            let text = text(name)?;
            let parsed = match text {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            };
            value(name, text, parsed)
        };
        // U-Boot knows no variable that is set to nothing.
        let check = match text(CHECK) {
            Err(_) | Ok("") => false,
            Ok(_) => flag(CHECK)?,
        };
        let slot = |name| text(name).and_then(|text| value(name, text, text.parse().ok()));
        let (seq, kind, tries) = (text(SEQ)?, text(KIND)?, text(TRIES)?);
        Ok(BootState {
            seq: value(
                SEQ,
                seq,
                u32::from_str_radix(seq, 16)
                    .ok()
                    .filter(|number| format!("{number:x}") == seq),
            )?,
            upgrade: flag(UPGRADE)?,
            operation: value(KIND, kind, Operation::parse(kind))?,
            kernel: slot(KERNEL)?,
            recovery: slot(RECOVERY)?,
            trial: flag(TRIAL)?,
            tries: value(
                TRIES,
                tries,
                tries
                    .parse()
                    .ok()
                    .filter(|number: &u8| *number <= MAX_TRIES && number.to_string() == tries),
            )?,
            check,
        })
    }

    /// Returns whether this state was written after `other`, also where the sequence wraps.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let ahead = self.seq.wrapping_sub(other.seq);
        ahead != 0 && ahead < 1 << 31
    }
}

/// Returns the index (0 for `dau-a.env`, 1 for `dau-b.env`) of the copy that counts; `None` when
/// neither is valid.
pub fn newest(a: Option<&BootState>, b: Option<&BootState>) -> Option<usize> {
    match (a, b) {
        (None, None) => None,
        (Some(_), None) => Some(0),
        (None, Some(_)) => Some(1),
        (Some(a), Some(b)) => Some(usize::from(b.is_newer_than(a))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_seq(seq: u32) -> BootState {
        BootState {
            seq,
            ..BootState::factory()
        }
    }

    #[test]
    fn the_newer_copy_counts_also_over_the_wrap() {
        let cases = [
            (Some(1), Some(0), Some(0)),
            (Some(1), Some(2), Some(1)),
            (Some(u32::MAX), Some(0), Some(1)),
            (Some(0), Some(u32::MAX), Some(0)),
            (Some(7), Some(7), Some(0)),
            (None, Some(9), Some(1)),
            (Some(9), None, Some(0)),
            (None, None, None),
        ];
        for (a, b, expected) in cases {
            let (left, right) = (a.map(with_seq), b.map(with_seq));
            assert_eq!(
                newest(left.as_ref(), right.as_ref()),
                expected,
                "{a:?} {b:?}"
            );
        }
    }

    #[test]
    fn a_missing_or_senseless_variable_is_named() {
        let complete = [
            (SEQ, "1"),
            (UPGRADE, "0"),
            (KIND, "none"),
            (KERNEL, "a"),
            (RECOVERY, "b"),
            (TRIAL, "0"),
            (TRIES, "0"),
        ];
        for (name, _) in complete {
            let without = complete.iter().filter(|(key, _)| *key != name);
            let bytes =
                env::encode(without.map(|(key, value)| (*key, (*value).to_owned()))).unwrap();
            assert_eq!(BootState::decode(&bytes), Err(DecodeError::Missing(name)));
            let senseless = complete
                .map(|(key, value)| (key, if key == name { "?" } else { value }.to_owned()));
            let bytes = env::encode(senseless).unwrap();
            let value = "?".to_owned();
            assert_eq!(
                BootState::decode(&bytes),
                Err(DecodeError::Value { name, value })
            );
        }
        // A copy of before there was a check to be asked for.
        let encode = |entries: &[(&str, &str)]| {
            let entries = entries.iter();
            env::encode(entries.map(|(key, value)| (*key, (*value).to_owned()))).unwrap()
        };
        assert!(!BootState::decode(&encode(&complete)).unwrap().check);
        let senseless = [&complete[..], &[(CHECK, "2")]].concat();
        let error = BootState::decode(&encode(&senseless)).unwrap_err();
        assert!(error.to_string().contains(CHECK), "{error}");
    }

    #[test]
    fn recovery_os_is_never_told_to_replace_itself() {
        let asked = BootState::factory().armed(Operation::Install(Kind::Recovery));
        assert_eq!(asked.encode(), Err(EncodeError::Recovery));
        assert_eq!(Operation::parse("recovery"), None);
    }

    #[test]
    fn a_number_in_a_spelling_that_u_boot_refuses_is_refused() {
        let copy = |name: &'static str, value: &str| {
            let known = [
                (SEQ, "1f"),
                (UPGRADE, "0"),
                (KIND, "none"),
                (KERNEL, "a"),
                (RECOVERY, "a"),
                (TRIAL, "1"),
                (TRIES, "3"),
                (CHECK, "0"),
            ];
            let set =
                known.map(|(key, known)| (key, if key == name { value } else { known }.to_owned()));
            BootState::decode(&env::encode(set).unwrap())
        };
        for (name, value) in [
            (SEQ, "+1f"),
            (SEQ, "1F"),
            (SEQ, "01f"),
            (SEQ, "100000000"),
            (SEQ, ""),
            (TRIES, "+3"),
            (TRIES, "03"),
            (TRIES, "10"),
        ] {
            let expected = Err(DecodeError::Value {
                name,
                value: value.to_owned(),
            });
            assert_eq!(copy(name, value), expected);
        }
        assert_eq!(copy(SEQ, "0").unwrap().seq, 0);
        assert!(!copy(CHECK, "").unwrap().check);
    }

    const OPERATIONS: [Operation; 5] = [
        Operation::None,
        Operation::Install(Kind::Kernel),
        Operation::Install(Kind::Rootfs),
        Operation::Install(Kind::Full),
        Operation::Rollback,
    ];

    prop_compose! {
        fn any_state()(
            seq: u32, upgrade: bool, operation in 0..OPERATIONS.len(), kernel: bool, recovery: bool,
            trial: bool, tries in 0..=9u8, check: bool
        ) -> BootState {
            let slot = |b| if b { Slot::B } else { Slot::A };
            BootState {
                seq, upgrade, operation: OPERATIONS[operation], kernel: slot(kernel),
                recovery: slot(recovery), trial, tries, check,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(state in any_state()) {
            prop_assert_eq!(BootState::decode(&state.encode().unwrap()).unwrap(), state);
        }
    }
}
