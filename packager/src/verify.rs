use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_package::make::{check_images, MakeError, Step};
use dau_package::{Keyring, PackageError, Verified};
use serde_json::json;

use crate::cli::Verify;
use crate::progress::Bar;
use crate::REFUSED;

/// The word for a payload that does not unpack to what the manifest says; terminals see this while they install.
const IMAGE_MISMATCH: &str = "image-mismatch";

pub fn run(arguments: &Verify) -> Result<ExitCode> {
    let keyring = Keyring::load(&arguments.keyring)?;
    let path = arguments.package.display();
    match verify(&arguments.package, &keyring)? {
        Ok(verified) if arguments.json => println!("{:#}", accepted_json(&verified)),
        Ok(verified) => println!("{path}: accepted\n{}", accepted_text(&verified)),
        Err(refusal) => {
            if arguments.json {
                println!(
                    "{:#}",
                    json!({"accepted": false, "word": refusal.word, "reason": refusal.reason})
                );
            } else {
                println!("{path}: refused: {}: {}", refusal.word, refusal.reason);
            }
            return Ok(ExitCode::from(REFUSED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a package is refused.
struct Refused {
    word: &'static str,
    reason: String,
}

/// Outer errors say that the check could not be made; inner ones that the package failed it.
fn verify(path: &Path, keyring: &Keyring) -> Result<Result<Verified, Refused>> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bar = Bar::new();
    let outcome = dau_package::verify(&mut file, keyring, &mut |done, total| {
        bar.update(Step::Verify, done, total);
    });
    let verified = match outcome {
        Ok(verified) => verified,
        Err(error) => return refused(error, path),
    };
    match check_images(&mut file, &verified.payloads, &mut |done, total| {
        bar.update(Step::Unpack, done, total);
    }) {
        Ok(()) => Ok(Ok(verified)),
        Err(MakeError::Io { path, source }) => {
            Err(source).with_context(|| format!("cannot read {}", path.display()))
        }
        Err(error) => Ok(Err(Refused {
            word: IMAGE_MISMATCH,
            reason: error.to_string(),
        })),
    }
}

fn refused<T>(error: PackageError, path: &Path) -> Result<Result<T, Refused>> {
    if error.is_refusal() {
        return Ok(Err(Refused {
            word: error.word(),
            reason: error.to_string(),
        }));
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
