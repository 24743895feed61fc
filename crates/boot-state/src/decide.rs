//! The bootloader's table as a function: where each boot state leads.

use dau_system::cmdline::BootReason;

use dau_model::Slot;

use crate::BootState;

/// The system that the bootloader starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The normal OS with the kernel of this slot. If that is refused: RecoveryOS,
    /// [`BootReason::KernelRefused`].
    NormalOs {
        /// Kernel slot.
        kernel: Slot,
        /// The reason.
        reason: BootReason,
        /// The state written to the older copy before the start; `None`: nothing is written.
        write: Option<BootState>,
    },
    /// RecoveryOS from this slot, once, in check mode: [`BootReason::Check`]. If it is refused, or
    /// the write fails: the normal OS, [`BootReason::CheckRefused`].
    Check {
        /// The RecoveryOS slot that is not in charge.
        recovery: Slot,
        /// Kernel slot of the normal OS.
        kernel: Slot,
        /// The state written to the older copy before the start.
        write: BootState,
    },
    /// RecoveryOS from this slot; if that is refused, from the other one.
    RecoveryOs {
        /// RecoveryOS slot tried first.
        recovery: Slot,
        /// The reason.
        reason: BootReason,
    },
}

/// Returns what boot.cmd does with the state that counts (`None`: no copy is valid).
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
    if !state.trial && state.check {
        return Boot::Check {
            recovery: state.recovery.other(),
            kernel: state.kernel,
            write: BootState {
                seq: state.seq.wrapping_add(1),
                check: false,
                ..state.clone()
            },
        };
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
    use crate::Operation;
    use dau_model::Kind;

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
            decide(Some(&factory.armed(Operation::Install(Kind::Full)))),
            to(BootReason::Upgrade)
        );
        // The flag goes before the trial.
        let both = factory.committed(Slot::B, 3).armed(Operation::Rollback);
        assert_eq!(decide(Some(&both)), to(BootReason::Upgrade));
    }

    #[test]
    fn a_new_recovery_os_is_booted_once_and_last_of_all() {
        let factory = BootState::factory();
        let Boot::Check {
            recovery: Slot::B,
            kernel: Slot::A,
            write,
        } = decide(Some(&factory.checking()))
        else {
            panic!("{:?}", decide(Some(&factory.checking())));
        };
        assert!(write.is_newer_than(&factory) && !write.check);
        assert_eq!(write.recovery, Slot::A);
        assert!(matches!(decide(Some(&write)), Boot::NormalOs { .. }));
        // The flag and the trial go before it, and every other change of the state calls it off.
        let flagged = BootState {
            upgrade: true,
            ..factory.checking()
        };
        let trial = BootState {
            trial: true,
            tries: 1,
            ..factory.checking()
        };
        assert!(matches!(
            decide(Some(&flagged)),
            Boot::RecoveryOs {
                recovery: Slot::A,
                ..
            }
        ));
        assert!(matches!(decide(Some(&trial)), Boot::NormalOs { .. }));
        let checking = factory.checking();
        for state in [
            checking.armed(Operation::Install(Kind::Full)),
            checking.committed(Slot::B, 3),
            checking.steady(Slot::A),
            checking.in_charge(Slot::B),
        ] {
            assert!(!state.check, "{state:?}");
        }
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
