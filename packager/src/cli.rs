use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dau_package::make::{DEFAULT_LEVEL, MAX_LEVEL};
use dau_package::Algorithm;

/// Builds, signs, verifies and inspects upgrade packages (.dau), makes deltas between them
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong command line, 3 verify refused the package."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Build(Build),
    Sign(Sign),
    Delta(Delta),
    Apply(Apply),
    KeepPlaces(KeepPlaces),
    Verify(Verify),
    Inspect(Inspect),
    Keygen(Keygen),
    /// Write man pages and completions of shells
    #[command(hide = true)]
    Manuals(dau_manuals::Args),
}

/// Build a package of a kernel, a root filesystem or both, or of a RecoveryOS
///
/// Equal inputs and an equal time make equal bytes, unless the key is an ECDSA one.
#[derive(Debug, Args)]
pub struct Build {
    /// Product of the terminals that the package is for
    #[arg(long)]
    pub product: String,
    /// Version of the OS, or of RecoveryOS if it is alone
    // Not the packager's: `version` is used by --version at the top level only.
    #[arg(long = "version", value_name = "VERSION")]
    pub os_version: String,
    /// Kernel: a FIT image
    #[arg(long, value_name = "FILE", required_unless_present_any = ["rootfs", "recovery"])]
    pub kernel: Option<PathBuf>,
    /// Root filesystem: an ext4 image, unmounted cleanly
    ///
    /// e2fsck checks all of it, and terminals must support its features: an image that they could
    /// not install is refused here.
    #[arg(long, value_name = "FILE")]
    pub rootfs: Option<PathBuf>,
    /// Size of the terminals' rootfs partition, in bytes or as 192M or 2G: a larger image is
    /// refused
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "rootfs")]
    pub rootfs_room: Option<u64>,
    /// Software bill of materials (SPDX): its SHA-256 goes into the signed manifest
    #[arg(long, value_name = "FILE")]
    pub sbom: Option<PathBuf>,
    /// RecoveryOS: a FIT image; alone, or together with kernel and root filesystem
    #[arg(long, value_name = "FILE")]
    pub recovery: Option<PathBuf>,
    /// Oldest RecoveryOS that may install the package
    #[arg(long, value_name = "VERSION")]
    pub minimum_recovery: Option<String>,
    /// Rollback index: terminals with a higher installed one refuse the package
    ///
    /// Increase it with every release that older ones must not replace again. There is no default:
    /// with the same index everywhere, every old package could be installed again.
    #[arg(long, value_name = "N")]
    pub rollback_index: u64,
    /// Time of the package, RFC 3339 [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME")]
    pub created: Option<String>,
    /// zstd level
    #[arg(long, default_value_t = DEFAULT_LEVEL,
        value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_LEVEL)))]
    pub level: i32,
    /// Compressing threads, about 20 MiB of memory each [default: processors, at most 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub signing: Signing,
    /// Do not sign: for `dau-packager sign` on another machine
    #[arg(long, conflicts_with_all = ["key", "command", "signer"], required_unless_present = "signer")]
    pub unsigned: bool,
    /// The package; an existing file is replaced only once the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// The way to sign.
#[derive(Debug, Args)]
pub struct Signing {
    /// Certificate of the signer, then its intermediates (PEM)
    #[arg(long, value_name = "FILE")]
    pub signer: Option<PathBuf>,
    /// Private key of the signer (PEM)
    #[arg(long, value_name = "FILE", requires = "signer")]
    pub key: Option<PathBuf>,
    /// File whose first line is the passphrase of --key
    #[arg(long, value_name = "FILE", requires = "key")]
    pub passphrase_file: Option<PathBuf>,
    /// Shell command that makes the signature, for keys kept elsewhere
    ///
    /// It gets the bytes to sign (manifest.json) on standard input, and in its environment
    /// DAU_ALGORITHM (rsa-sha256, ecdsa-p256-sha256 or ed25519, after the certificate's key) and
    /// DAU_SHA256 (SHA-256 of these bytes, hex). It must write only the binary signature to
    /// standard output: PKCS#1 v1.5 for RSA, DER or r and s of 32 bytes each for ECDSA, 64 bytes
    /// for Ed25519; and exit with 0. The signature is checked against --signer. Example: --command
    /// 'openssl dgst -sha256 -sign key.pem'
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "signer",
        conflicts_with = "key"
    )]
    pub command: Option<String>,
}

/// Sign a package that is unsigned or signed by somebody else
///
/// The package is checked before; an incomplete one is not signed.
#[derive(Debug, Args)]
pub struct Sign {
    #[command(flatten)]
    pub signing: Signing,
    /// Binary signature of manifest.json that was made elsewhere
    ///
    /// Get the bytes to sign with `tar -xOf PACKAGE manifest.json`.
    #[arg(long, value_name = "FILE", requires = "signer", conflicts_with_all = ["key", "command"])]
    pub signature: Option<PathBuf>,
    /// Output file for the signed package [default: replaces PACKAGE]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The package
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Lay out a root filesystem like that of an earlier package: what did not change lies where it lay
///
/// Terminals then write less, and are out of service for a shorter time. Contents, names and inodes
/// stay as they are; only blocks move. Needs memory for three images. Equal inputs make equal bytes.
#[derive(Debug, Args)]
pub struct KeepPlaces {
    /// The earlier package, of kind rootfs or full
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The new root filesystem: an ext4 image with blocks of 4096 bytes and no metadata checksums
    #[arg(value_name = "ROOTFS")]
    pub rootfs: PathBuf,
    /// Output file for the image [default: replaces ROOTFS]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Make a delta: a small package that makes NEW of OLD on terminals that keep OLD
///
/// Equal inputs make equal bytes, unless the key is an ECDSA one. The delta is applied, and its result
/// compared with NEW, before it is written out. It carries the time of NEW.
#[derive(Debug, Args)]
pub struct Delta {
    #[command(flatten)]
    pub signing: Signing,
    /// Do not sign: for `dau-packager sign` on another machine
    #[arg(long, conflicts_with_all = ["key", "command", "signer"], required_unless_present = "signer")]
    pub unsigned: bool,
    /// Oldest RecoveryOS that may install the rebuilt package, if later than NEW demands
    #[arg(long, value_name = "VERSION")]
    pub minimum_recovery: Option<String>,
    /// Threads [default: processors, at most 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The delta; an existing file is replaced only once the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The package that terminals have
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The package that they are to get, signed
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
}

/// Rebuild a package from its base and a delta, as a terminal does
///
/// The result has the form that terminals keep (rebuilt.tar in place of system.tar), which no station takes.
#[derive(Debug, Args)]
pub struct Apply {
    /// Folder of root certificates (*.pem) and, if there is one, the list `revoked`
    #[arg(long, value_name = "DIR")]
    pub keyring: PathBuf,
    /// The rebuilt package; what it holds of an interrupted try is used
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The package that the delta was made from
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The delta
    #[arg(value_name = "DELTA")]
    pub delta: PathBuf,
}

/// Check a package as a terminal does, and unpack its images
#[derive(Debug, Args)]
pub struct Verify {
    /// Folder of root certificates (*.pem) and, if there is one, the list `revoked`
    #[arg(long, value_name = "DIR")]
    pub keyring: PathBuf,
    /// Write the verdict as JSON
    #[arg(long)]
    pub json: bool,
    /// The package
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Show a package's contents without checking any of it
#[derive(Debug, Args)]
pub struct Inspect {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// The package
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Make keys and certificates for development: package signer, station, broker, terminals
///
/// Keys are readable by their owner alone (mode 0600), and no existing file is overwritten.
/// Production keys belong in an HSM or on a separate machine: see --command of `sign`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Keygen {
    #[command(subcommand)]
    pub more: Option<KeygenMore>,
    /// Folder for the PKI, new or empty
    #[arg(long, value_name = "DIR", required = true)]
    pub out: Option<PathBuf>,
    /// Key type of the package signer and its authorities
    #[arg(long, value_enum, default_value_t = KeyType::Ed25519)]
    pub algorithm: KeyType,
    /// Name or address by which terminals reach station and broker (may be repeated) [default:
    /// localhost, 127.0.0.1, 10.0.2.2, station]
    #[arg(long, value_name = "NAME")]
    pub station_name: Vec<String>,
    /// Terminal to make a client certificate for (may be repeated)
    #[arg(long, value_name = "ID")]
    pub terminal: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum KeygenMore {
    /// Make the client certificate of another terminal
    Terminal {
        /// Folder of the PKI
        #[arg(long, value_name = "DIR")]
        pki: PathBuf,
        /// The terminal's id, which becomes the common name
        #[arg(long)]
        id: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KeyType {
    Rsa,
    Ecdsa,
    Ed25519,
}

impl From<KeyType> for Algorithm {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::Rsa => Self::RsaSha256,
            KeyType::Ecdsa => Self::EcdsaP256Sha256,
            KeyType::Ed25519 => Self::Ed25519,
        }
    }
}

/// Parses a size as in the builders' `DAU_ROOTFS_SIZE`: bytes, or a number with K, M or G.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) if text.ends_with('K') => (number, 1 << 10),
        Some(number) if text.ends_with('M') => (number, 1 << 20),
        Some(number) => (number, 1 << 30),
        None => (text, 1),
    };
    let size = number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(unit));
    size.ok_or_else(|| "write bytes, or 192M or 2G".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
