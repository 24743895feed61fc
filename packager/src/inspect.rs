use std::fmt::Write;
use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_model::hex;
use dau_package::make::Unverified;
use dau_package::{distinguished_name, Manifest};
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use serde_json::{json, Value};

use crate::cli::Inspect;
use crate::out;

pub fn run(arguments: &Inspect) -> Result<ExitCode> {
    let path = &arguments.package;
    let inspect = || -> Result<String> {
        let mut file = File::open(path)?;
        let package = Unverified::read(&mut file)?;
        let chain = match &package.head {
            Some(head) => head.signer_chain()?,
            None => Vec::new(),
        };
        match arguments.json {
            true => Ok(format!("{:#}", to_json(&package, &chain)?)),
            false => Ok(to_text(&package, &chain)),
        }
    };
    let text = inspect().with_context(|| format!("cannot inspect {}", path.display()))?;
    out::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn to_json(package: &Unverified, chain: &[X509]) -> Result<Value> {
    let mut certificates = Vec::new();
    for certificate in chain {
        let fingerprint = hex::encode(certificate.digest(MessageDigest::sha256())?);
        certificates.push(json!({
            "subject": distinguished_name(certificate.subject_name()),
            "issuer": distinguished_name(certificate.issuer_name()),
            "not_before": certificate.not_before().to_string(),
            "not_after": certificate.not_after().to_string(),
            "fingerprint_sha256": fingerprint,
        }));
    }
    Ok(json!({
        "manifest": package.manifest,
        "manifest_sha256": Manifest::sha256(&package.manifest_bytes),
        "signed": package.head.is_some(),
        "signer": certificates,
    }))
}

fn to_text(package: &Unverified, chain: &[X509]) -> String {
    let manifest = &package.manifest;
    let mut text = format!(
        "product         {}\nversion         {}\nkind            {}\ncreated         {}\n\
         rollback index  {}\nmanifest        SHA-256 {}\n",
        manifest.product,
        manifest.version,
        manifest.kind,
        manifest.created,
        manifest.rollback_index,
        Manifest::sha256(&package.manifest_bytes),
    );
    // Writing to a String cannot fail.
    if let Some(delta) = &manifest.delta {
        let _ = writeln!(
            text,
            "delta           from SHA-256 {}\n                to SHA-256 {}, at most {} bytes rebuilt",
            delta.base, delta.target, delta.rebuilt_size
        );
    }
    for payload in &manifest.payloads {
        let _ = writeln!(
            text,
            "payload         {}, {} bytes stored, {} bytes of image",
            payload.name, payload.size, payload.image_size
        );
    }
    let _ = writeln!(
        text,
        "system.tar      {} bytes, MD5 {}",
        manifest.system.size, manifest.system.md5
    );
    if let Some(version) = &manifest.minimum_recovery {
        let _ = writeln!(text, "RecoveryOS      {version} or later is demanded");
    }
    if let Some(sbom) = &manifest.sbom_sha256 {
        let _ = writeln!(text, "sbom            SHA-256 {sbom}");
    }
    match chain {
        [] => text.push_str("signer          none: sign it with dau-packager sign\n"),
        [signer, intermediates @ ..] => {
            let name = distinguished_name(signer.subject_name());
            let _ = writeln!(text, "signer          {name} (not checked: use verify)");
            for certificate in intermediates {
                let name = distinguished_name(certificate.subject_name());
                let _ = writeln!(text, "issued through  {name}");
            }
        }
    }
    text
}
