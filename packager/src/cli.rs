use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dau_package::make::{DEFAULT_LEVEL, MAX_LEVEL};
use dau_package::Algorithm;

/// Builds, signs, verifies and inspects upgrade packages (.dau)
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
    Verify(Verify),
    Inspect(Inspect),
    Keygen(Keygen),
}

/// Build a package of a kernel, a root filesystem or both, or of a RecoveryOS
///
/// Equal inputs and an equal time make equal bytes, unless the key is an ECDSA one.
#[derive(Debug, Args)]
pub struct Build {
    /// Product of the terminals that it is for
    #[arg(long)]
    pub product: String,
    /// Version of the OS, or of RecoveryOS where there is nothing else
    // Not the one of the packager: `version` is taken by --version at the top only.
    #[arg(long = "version", value_name = "VERSION")]
    pub os_version: String,
    /// Kernel: a FIT image
    #[arg(long, value_name = "FILE", required_unless_present_any = ["rootfs", "recovery"])]
    pub kernel: Option<PathBuf>,
    /// Root filesystem: an ext4 image or a tar, plain or compressed by zstd
    #[arg(long, value_name = "FILE")]
    pub rootfs: Option<PathBuf>,
    /// Software bill of materials of what is installed (SPDX): its SHA-256 goes into the signed manifest
    #[arg(long, value_name = "FILE")]
    pub sbom: Option<PathBuf>,
    /// RecoveryOS: a FIT image; alone, or together with kernel and root filesystem
    #[arg(long, value_name = "FILE")]
    pub recovery: Option<PathBuf>,
    /// Terminals with an older RecoveryOS refuse the package
    #[arg(long, value_name = "VERSION")]
    pub minimum_recovery: Option<String>,
    /// Terminals with a higher installed index refuse the package
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rollback_index: u64,
    /// Time of the package, RFC 3339 [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME")]
    pub created: Option<String>,
    /// zstd level
    #[arg(long, default_value_t = DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_LEVEL)))]
    pub level: i32,
    /// Compressing threads, about 20 MiB of memory each [default: processors, at most 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub signing: Signing,
    /// Do not sign: for `dau-packager sign` on another machine
    #[arg(long, conflicts_with_all = ["key", "command", "signer"], required_unless_present = "signer")]
    pub unsigned: bool,
    /// The package; replaced only once the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// How to sign.
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
    /// Shell command that makes the signature, for keys that are elsewhere
    ///
    /// It gets the bytes to sign (manifest.json) on standard input, and in its environment DAU_ALGORITHM (rsa-sha256,
    /// ecdsa-p256-sha256 or ed25519, after the certificate's key) and DAU_SHA256 (SHA-256 of these bytes, hex). It must write
    /// the signature and nothing else to standard output, in binary: PKCS#1 v1.5 for RSA, DER or r and s of 32 bytes each for
    /// ECDSA, 64 bytes for Ed25519; and exit with 0. What it wrote is checked against --signer.
    /// Example: --command 'openssl dgst -sha256 -sign key.pem'
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "signer",
        conflicts_with = "key"
    )]
    pub command: Option<String>,
}

/// Sign a package that is not signed yet, or by somebody else
///
/// The package is checked before; a torn one is not signed.
#[derive(Debug, Args)]
pub struct Sign {
    #[command(flatten)]
    pub signing: Signing,
    /// Signature of manifest.json that was made elsewhere, in binary
    ///
    /// Get the bytes to sign with `tar -xOf PACKAGE manifest.json`.
    #[arg(long, value_name = "FILE", requires = "signer", conflicts_with_all = ["key", "command"])]
    pub signature: Option<PathBuf>,
    /// Put the signed package here [default: in place of PACKAGE]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The package
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Check a package as a terminal does, and that its images unpack to what it says
#[derive(Debug, Args)]
pub struct Verify {
    /// Folder of root certificates (*.pem) and, where there is one, the list `revoked`
    #[arg(long, value_name = "DIR")]
    pub keyring: PathBuf,
    /// Write the verdict as JSON
    #[arg(long)]
    pub json: bool,
    /// The package
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Show what a package says of itself, without checking any of it
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
/// Keys are for their owner alone (mode 0600), and nothing that exists is overwritten. Production keys belong into an HSM or
/// on a machine of their own: see --command of `sign`.
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
    /// Name or address under which terminals reach station and broker; may be repeated
    /// [default: localhost, 127.0.0.1, 10.0.2.2, station]
    #[arg(long, value_name = "NAME")]
    pub station_name: Vec<String>,
    /// Terminal that gets a client certificate; may be repeated
    #[arg(long, value_name = "ID")]
    pub terminal: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum KeygenMore {
    /// Make the client certificate of one more terminal
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
