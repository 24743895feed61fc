use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{bail, Context, Result};
use dau_package::make::{self, Signing};
use dau_package::{Algorithm, Manifest};
use openssl::pkey::{PKey, Private};

use crate::cli;
use crate::progress::Bar;

/// Tells the command which algorithm the certificate's key asks for.
const ALGORITHM_VARIABLE: &str = "DAU_ALGORITHM";
/// Tells the command the SHA-256 of the bytes to sign.
const SHA256_VARIABLE: &str = "DAU_SHA256";

pub fn run(arguments: &cli::Sign) -> Result<ExitCode> {
    let signing = signing(&arguments.signing, arguments.signature.as_deref())?;
    let output = arguments.output.as_ref().unwrap_or(&arguments.package);
    let mut bar = Bar::new();
    make::sign(
        &arguments.package,
        &signing,
        output,
        &mut |step, done, total| {
            bar.update(step, done, total);
        },
    )
    .with_context(|| format!("cannot sign {}", arguments.package.display()))?;
    drop(bar);
    println!("{}: signed", output.display());
    Ok(ExitCode::SUCCESS)
}

/// The way to sign that the command line names.
pub fn signing(arguments: &cli::Signing, signature: Option<&Path>) -> Result<Signing> {
    let Some(signer) = &arguments.signer else {
        bail!("name the signer's certificate with --signer");
    };
    let chain = read(signer)?;
    let signing = match (&arguments.key, &arguments.command, signature) {
        (Some(key), None, None) => {
            Signing::with_key(&chain, read_key(key, arguments.passphrase_file.as_deref())?)
        }
        (None, Some(command), None) => {
            let command = command.clone();
            Signing::with(
                &chain,
                Box::new(move |algorithm, message| {
                    sign_by_command(&command, algorithm, message)
                        .map_err(|error| format!("{error:#}"))
                }),
            )
        }
        (None, None, Some(path)) => {
            let signature = read(path)?;
            Signing::with(&chain, Box::new(move |_, _| Ok(signature.clone())))
        }
        _ => bail!("say how to sign: one of --key, --command, or --signature where it is taken"),
    };
    signing.with_context(|| format!("cannot use {}", signer.display()))
}

fn read_key(path: &Path, passphrase_file: Option<&Path>) -> Result<PKey<Private>> {
    let pem = read(path)?;
    let key = match passphrase_file {
        // Without a passphrase at hand, OpenSSL asks for it on the terminal.
        None => PKey::private_key_from_pem(&pem),
        Some(file) => {
            let text = read(file)?;
            let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            PKey::private_key_from_pem_passphrase(&pem, line)
        }
    };
    key.with_context(|| {
        format!(
            "{}: not a private key, or another passphrase",
            path.display()
        )
    })
}

/// Runs a command that signs standard input, as `--help` promises.
fn sign_by_command(command: &str, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env(ALGORITHM_VARIABLE, algorithm.word())
        .env(SHA256_VARIABLE, Manifest::sha256(message))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sh")?;
    if let Some(mut input) = child.stdin.take() {
        // A command that works from the digest alone may leave its input unread. A manifest fits into a pipe's buffer,
        // so this never waits.
        let _ = input.write_all(message);
    }
    let output = child
        .wait_with_output()
        .context("cannot read from the command")?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(output.stdout)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
