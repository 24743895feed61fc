use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_model::Reason;
use dau_package::make::Step;
use dau_package::{Keyring, PackageError, Verified};
use serde_json::json;

use crate::cli::Verify;
use crate::out;
use crate::progress::Bar;
use crate::REFUSED;

pub fn run(arguments: &Verify) -> Result<ExitCode> {
    let keyring = Keyring::load(&arguments.keyring)?;
    let path = arguments.package.display();
    match verify(&arguments.package, &keyring)? {
        Ok(verified) if arguments.json => {
            out::line(format_args!("{:#}", accepted_json(&verified)))?
        }
        Ok(verified) => out::line(format_args!(
            "{path}: accepted\n{}",
            accepted_text(&verified)
        ))?,
        Err(refusal) => {
            if arguments.json {
                out::line(format_args!(
                    "{:#}",
                    json!({"accepted": false, "word": refusal.word, "reason": refusal.message})
                ))?;
            } else {
                out::line(format_args!("{path}: refused: {refusal}"))?;
            }
            return Ok(ExitCode::from(REFUSED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Verifies a package. The outer error: it could not be checked; the inner one: it failed the
/// check.
fn verify(path: &Path, keyring: &Keyring) -> Result<Result<Verified, Reason>> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bar = Bar::new();
    let outcome = dau_package::verify_whole(&mut file, keyring, &mut |done, total| {
        bar.update(Step::Verify, done, total);
        Ok(())
    });
    match outcome {
        Ok(verified) => Ok(Ok(verified)),
        Err(error) => refused(error, path),
    }
}

fn refused<T>(error: PackageError, path: &Path) -> Result<Result<T, Reason>> {
    if error.is_refusal() {
        return Ok(Err(error.reason()));
    }
    Err(error).with_context(|| format!("cannot check {}", path.display()))
}

fn accepted_json(verified: &Verified) -> serde_json::Value {
    json!({
        "accepted": true,
        "manifest": verified.manifest,
        "manifest_sha256": verified.manifest_sha256,
        "signer": {
            "subject": verified.signer.subject,
            "fingerprint_sha256": verified.signer.fingerprint_sha256,
            "algorithm": verified.signer.algorithm.word(),
        },
    })
}

fn accepted_text(verified: &Verified) -> String {
    let manifest = &verified.manifest;
    format!(
        "product         {}\nversion         {}\nkind            {}\ncreated         {}\nsigner          {} ({})",
        manifest.product,
        manifest.version,
        manifest.kind,
        manifest.created,
        verified.signer.subject,
        verified.signer.algorithm,
    )
}
