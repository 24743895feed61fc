//! Where a boot state leads: the bootloader's table, as a function.

use dau_system::cmdline::BootReason;

use crate::{BootState, Slot};

/// What the bootloader starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The normal OS with the kernel of this slot. If that is refused: RecoveryOS, [`BootReason::KernelRefused`].
    NormalOs {
        /// Kernel slot.
        kernel: Slot,
        /// Why.
        reason: BootReason,
        /// What is written to the older copy before the start; `None`: nothing is written.
        write: Option<BootState>,
    },
    /// RecoveryOS from this slot; if that is refused, from the other one.
    RecoveryOs {
        /// RecoveryOS slot tried first.
        recovery: Slot,
        /// Why.
        reason: BootReason,
    },
}

/// What boot.cmd does with the state that counts (`None`: no copy is valid).
pub fn decide(state: Option<&BootState>) -> Boot {
    let Some(state) = state else {
        return Boot::RecoveryOs {
            recovery: Slot::A,
            reason: BootReason::NoState,
        };
    };
    let recovery = |reason| Boot::RecoveryOs {
        recovery: state.recovery,
        reason,
    };
    if state.upgrade {
        return recovery(BootReason::Upgrade);
    }
    if !state.trial {
        return Boot::NormalOs {
            kernel: state.kernel,
            reason: BootReason::Steady,
            write: None,
        };
    }
    match state.tries.checked_sub(1) {
        None => recovery(BootReason::TrialEnded),
        Some(tries) => {
            let write = BootState {
                seq: state.seq.wrapping_add(1),
                tries,
                ..state.clone()
            };
            Boot::NormalOs {
                kernel: state.kernel,
                reason: BootReason::Trial,
                write: Some(write),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn the_boot_table() {
        let factory = BootState::factory();
        let steady = Boot::NormalOs {
            kernel: Slot::A,
            reason: BootReason::Steady,
            write: None,
        };
        let to = |reason| Boot::RecoveryOs {
            recovery: Slot::A,
            reason,
        };
        assert_eq!(decide(None), to(BootReason::NoState));
        assert_eq!(decide(Some(&factory)), steady);
        assert_eq!(
            decide(Some(&factory.armed(Kind::Full))),
            to(BootReason::Upgrade)
        );
        // The flag goes before the trial.
        let both = factory.committed(Slot::B, 3).armed(Kind::Rollback);
        assert_eq!(decide(Some(&both)), to(BootReason::Upgrade));
    }

    #[test]
    fn tries_fall_to_a_return() {
        let mut state = BootState::factory().committed(Slot::B, 2);
        for left in [1, 0] {
            let Boot::NormalOs {
                kernel: Slot::B,
                reason: BootReason::Trial,
                write: Some(next),
            } = decide(Some(&state))
            else {
                panic!("{:?}", decide(Some(&state)));
            };
            assert_eq!((next.tries, next.is_newer_than(&state)), (left, true));
            state = next;
        }
        let ended = Boot::RecoveryOs {
            recovery: Slot::A,
            reason: BootReason::TrialEnded,
        };
        assert_eq!(decide(Some(&state)), ended);
    }
}
