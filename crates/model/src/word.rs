//! Words for programs in results, refusals and logs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome;

macro_rules! words {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// A machine's word for why something ended as it did. docs/operator-guide.md lists them
        /// with what to do.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Word {
            $($(#[$doc])* $variant,)+
            /// A word of a later program or of another make.
            Other(String),
        }

        impl Word {
            /// Every word that our programs use.
            pub const ALL: &'static [&'static str] = &[$($word,)+];

            /// The text that stands for it everywhere.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Word::$variant => $word,)+
                    Word::Other(word) => word,
                }
            }
        }

        impl From<&str> for Word {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Word::$variant,)+
                    other => Word::Other(other.to_owned()),
                }
            }
        }
    };
}

words! {
    /// Nothing went wrong.
    Success = "success",
    /// Refused, and nothing more precise was said.
    Refused = "refused",
    /// Failed, and nothing more precise was said.
    Failed = "failed",
    /// The new OS was taken back, and nothing more precise is known.
    RolledBack = "rolled-back",
    /// Called off by the station.
    Cancelled = "cancelled",
    /// The order lapsed before its start.
    Expired = "expired",
    /// The station gave the job up, as it was told to.
    Abandoned = "abandoned",
    /// The terminal does not know a job that it had taken.
    UnknownToTerminal = "unknown-to-terminal",

    /// The order is malformed.
    Order = "order",
    /// The order's `file.url` cannot be used.
    Url = "url",
    /// The order waits for too long.
    Policy = "policy",

    /// The package is for another product.
    WrongProduct = "wrong-product",
    /// The package has another version than was ordered.
    WrongVersion = "wrong-version",
    /// The package is of another kind than was ordered.
    WrongKind = "wrong-kind",
    /// The package is older than it may be.
    OlderRollbackIndex = "older-rollback-index",
    /// The package demands a later RecoveryOS.
    RecoveryTooOld = "recovery-too-old",

    /// No chain from the signer to a root.
    SignerUnknown = "signer-unknown",
    /// The signer was revoked.
    SignerRevoked = "signer-revoked",
    /// The signer's certificate had expired when the package was made.
    SignerExpired = "signer-expired-at-creation",
    /// The signer's certificate was not valid yet when the package was made.
    SignerNotYetValid = "signer-not-yet-valid-at-creation",
    /// The signer's certificate is not for software.
    SignerNotForCodeSigning = "signer-not-for-code-signing",
    /// The signer's key is of a kind that is not accepted.
    SignerKey = "signer-key",
    /// The signature does not fit.
    SignatureInvalid = "signature-invalid",
    /// There is no signature.
    Unsigned = "unsigned",
    /// MD5 differs.
    Md5Mismatch = "md5-mismatch",
    /// SHA-256 differs.
    Sha256Mismatch = "sha256-mismatch",
    /// A payload does not unpack to what the manifest says.
    ImageMismatch = "image-mismatch",
    /// A root filesystem that cannot be installed.
    FileSystem = "file-system",
    /// A delta stands where a whole package must.
    UnexpectedDelta = "unexpected-delta",
    /// A whole package stands where a delta must.
    NotADelta = "not-a-delta",
    /// The delta is made for another base than the terminal keeps.
    DeltaBase = "delta-base",
    /// The delta does not rebuild its target.
    DeltaMismatch = "delta-mismatch",
    /// The package ends too early.
    Truncated = "truncated",
    /// The package is not built as the format says.
    Malformed = "malformed",
    /// The package has another member than must stand there.
    UnexpectedMember = "unexpected-member",
    /// The package goes on after its end.
    TrailingBytes = "trailing-bytes",
    /// A member is larger than allowed.
    TooLarge = "too-large",
    /// The manifest makes no sense.
    ManifestInvalid = "manifest-invalid",
    /// The package cannot be read.
    Io = "io",
    /// OpenSSL failed for a reason of its own.
    OpenSsl = "openssl",

    /// The file service offers another size than the package has.
    WrongSize = "wrong-size",
    /// The file service has no such package.
    NotFound = "not-found",
    /// The file service answers with an error.
    HttpStatus = "http-status",
    /// The file service does not say how long the package is.
    NoLength = "no-length",
    /// The file service redirects.
    Redirected = "redirected",
    /// Something else than a package came.
    NotAPackage = "not-a-package",
    /// The file service takes no token.
    Unauthorized = "unauthorized",
    /// Too many tries brought nothing.
    Download = "download",
    /// The job's budget, or the terminal's for the month, does not cover the download.
    Budget = "budget",
    /// The package is not the file whose MD5 the order names.
    OrderMd5Mismatch = "order-md5-mismatch",

    /// mnt has no room.
    NoSpace = "no-space",
    /// The work on the job ended the agent too often.
    Attempts = "attempts",
    /// The parameters cannot be backed up.
    Backup = "backup",
    /// The boot state or the boot partition cannot be read or written.
    Boot = "boot",
    /// mnt cannot be written.
    Storage = "storage",
    /// The terminal lacks resources.
    System = "system",
    /// The keyring cannot be read.
    Keyring = "keyring",
    /// The root filesystem does not fit its partition, or the parameters not into it.
    RootfsSize = "rootfs-size",

    /// The package on mnt is not the one that was verified.
    PackageExchanged = "package-exchanged",
    /// The verified package is gone from mnt.
    PackageLost = "package-lost",
    /// There is no package on mnt.
    NoPackage = "no-package",
    /// The medium does not give back package or backup.
    Unreadable = "unreadable",
    /// There is no backup of the parameters.
    NoBackup = "no-backup",
    /// The backup of the parameters is damaged.
    BackupDamaged = "backup-damaged",
    /// Flag and job say different things.
    KindMismatch = "kind-mismatch",
    /// RecoveryOS failed too often.
    InstallFailed = "install-failed",
    /// RecoveryOS cannot be reached.
    RecoveryUnreachable = "recovery-unreachable",

    /// The new OS was installed, but another one runs.
    NotRunning = "not-running",
    /// The new OS was not confirmed within its tries.
    TrialEnded = "trial-ended",
    /// The bootloader refused the new kernel.
    KernelRefused = "kernel-refused",
    /// Health check: another version runs than was ordered.
    HealthVersion = "health-version",
    /// Health check: the parameters are not as backed up.
    HealthParameters = "health-parameters",
    /// Health check: nothing answers on a port.
    HealthPort = "health-port",
    /// Health check: a process does not run.
    HealthService = "health-service",
    /// Health check: an executable of the OS's own says no.
    HealthExecutable = "health-executable",
    /// Health check: no connection to the station.
    HealthLink = "health-link",
    /// A rollback was ordered, and nothing had been installed.
    NothingToRollBack = "nothing-to-roll-back",
    /// The previous OS cannot be reinstalled.
    RollbackImpossible = "rollback-impossible",
    /// The old OS runs without some of its parameters.
    ParametersIncomplete = "parameters-incomplete",

    /// The bootloader does not start the new RecoveryOS.
    CheckNotRun = "check-not-run",
    /// The bootloader refused the new RecoveryOS.
    RecoveryRefused = "recovery-refused",
    /// The new RecoveryOS did not prove itself.
    RecoveryNotProven = "recovery-not-proven",
    /// The new OS is confirmed, but the old RecoveryOS stays.
    RecoveryKept = "recovery-kept",
}

impl From<Outcome> for Word {
    /// The word where nothing is known but the outcome.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Word::Success,
            Outcome::Refused => Word::Refused,
            Outcome::Failed => Word::Failed,
            Outcome::RolledBack => Word::RolledBack,
            Outcome::Cancelled => Word::Cancelled,
            Outcome::Expired => Word::Expired,
        }
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| word.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_word_of_a_later_program_is_kept_as_it_is() {
        for word in Word::ALL {
            assert_eq!(Word::from(*word).as_str(), *word);
            assert!(!matches!(Word::from(*word), Word::Other(_)), "{word}");
        }
        let later: Word = serde_json::from_str("\"of-tomorrow\"").unwrap();
        assert_eq!(later, Word::Other("of-tomorrow".into()));
        assert_eq!(serde_json::to_string(&later).unwrap(), "\"of-tomorrow\"");
        for outcome in Outcome::ALL {
            assert_eq!(Word::from(*outcome).as_str(), outcome.word());
        }
    }

    /// The words in the first column of the table that begins with `| word |`.
    fn words_of_the_guide(guide: &str) -> BTreeSet<&str> {
        let rows = guide
            .lines()
            .skip_while(|line| !line.starts_with("| word |"));
        rows.skip(2)
            .take_while(|line| line.starts_with('|'))
            .flat_map(|row| {
                let words = row.split('|').nth(1).unwrap_or_default();
                words.split('`').skip(1).step_by(2)
            })
            .collect()
    }

    #[test]
    fn the_operator_guide_explains_every_word_and_no_other() {
        let guide = include_str!("../../../docs/operator-guide.md");
        let explained = words_of_the_guide(guide);
        let used: BTreeSet<_> = Word::ALL.iter().copied().collect();
        let unexplained: Vec<_> = used.difference(&explained).collect();
        let unused: Vec<_> = explained.difference(&used).collect();
        assert!(
            unexplained.is_empty() && unused.is_empty(),
            "not in docs/operator-guide.md: {unexplained:?}; in it, but no program writes it: {unused:?}"
        );
    }
}
