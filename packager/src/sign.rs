use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use dau_package::make::{self, Signing};
use openssl::pkey::{PKey, Private};

use crate::cli;
use crate::out;
use crate::progress::Bar;

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
    out::line(format_args!("{}: signed", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the way to sign that the command line selects.
pub fn signing(arguments: &cli::Signing, signature: Option<&Path>) -> Result<Signing> {
    let Some(signer) = &arguments.signer else {
        bail!("name the signer's certificate with --signer");
    };
    let chain = read(signer)?;
    let signing = match (&arguments.key, &arguments.command, signature) {
        (Some(key), None, None) => {
            Signing::with_key(&chain, read_key(key, arguments.passphrase_file.as_deref())?)
        }
        (None, Some(command), None) => Signing::with_command(&chain, command),
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
        // Without a passphrase, OpenSSL asks for it on the terminal.
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

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
