//! `dau.*` words on the kernel's command line, put there by boot.cmd.

use dau_model::Slot;

/// U-Boot's reason for booting the running system (`dau.reason=`), see the boot table in
/// docs/formats/boot-state.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootReason {
    /// Normal OS, nothing pending.
    Steady,
    /// Normal OS, on trial.
    Trial,
    /// RecoveryOS: the upgrade flag is set.
    Upgrade,
    /// RecoveryOS: a trial ran out of tries.
    TrialEnded,
    /// RecoveryOS: no state copy is valid.
    NoState,
    /// RecoveryOS: the kernel was refused or did not load.
    KernelRefused,
    /// Normal OS although RecoveryOS was wanted: both RecoveryOS slots were refused.
    RecoveryRefused,
    /// RecoveryOS of the slot that is not in charge: it is to check itself.
    Check,
    /// Normal OS although a RecoveryOS was to be checked: its slot was refused, or the boot state
    /// could not be written.
    CheckRefused,
}

impl BootReason {
    const WORDS: [(&'static str, BootReason); 9] = [
        ("steady", BootReason::Steady),
        ("trial", BootReason::Trial),
        ("upgrade", BootReason::Upgrade),
        ("trial-ended", BootReason::TrialEnded),
        ("no-state", BootReason::NoState),
        ("kernel-refused", BootReason::KernelRefused),
        ("recovery-refused", BootReason::RecoveryRefused),
        ("check", BootReason::Check),
        ("check-refused", BootReason::CheckRefused),
    ];

    /// The word that stands for it.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, reason)| *reason == self)
            .map_or("", |(word, _)| word)
    }

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, reason)| *reason)
    }
}

/// The bootloader's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `dau.reason=`
    pub reason: Option<BootReason>,
    /// `dau.kernel=`: slot of the kernel that runs (normal OS).
    pub kernel: Option<Slot>,
    /// `dau.recovery=`: slot of the RecoveryOS that runs.
    pub recovery: Option<Slot>,
}

impl CommandLine {
    /// Reads /proc/cmdline; unreadable counts as empty.
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    /// Takes the `dau.*` words out of a command line; unknown ones are passed over.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("dau.reason", value)) => line.reason = BootReason::parse(value),
                Some(("dau.kernel", value)) => line.kernel = value.parse().ok(),
                Some(("dau.recovery", value)) => line.recovery = value.parse().ok(),
                _ => {}
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_among_others() {
        let line = CommandLine::parse(
            "console=ttyAMA0 dau.boot=recovery dau.reason=trial-ended dau.recovery=b quiet\n",
        );
        assert_eq!(line.reason, Some(BootReason::TrialEnded));
        assert_eq!(line.recovery, Some(Slot::B));
        assert_eq!(line.kernel, None);
    }

    #[test]
    fn nonsense_is_nothing() {
        assert_eq!(
            CommandLine::parse("dau.reason=x dau.kernel=c dau.recovery="),
            CommandLine::default()
        );
    }

    #[test]
    fn every_reason_has_its_own_word() {
        for (word, reason) in BootReason::WORDS {
            assert_eq!(reason.word(), word);
            assert_eq!(BootReason::parse(word), Some(reason));
        }
    }
}
