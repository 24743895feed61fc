//! Packages that are changed and signed again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dau_package::make::{self, Pki, Signing};
use dau_package::{member, Manifest};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use serde_json::Value;

use super::members::Members;

/// A signing key with its certificates.
#[derive(Debug)]
pub struct Signatory {
    key: PathBuf,
    chain: PathBuf,
}

impl Signatory {
    /// Returns the package signer of a development PKI.
    pub fn of(pki: &Pki) -> Self {
        Signatory {
            key: pki.signer_key(),
            chain: pki.signer_chain(),
        }
    }

    fn key(&self) -> Result<PKey<Private>> {
        let pem =
            fs::read(&self.key).with_context(|| format!("cannot read {}", self.key.display()))?;
        Ok(PKey::private_key_from_pem(&pem)?)
    }

    /// Returns the key and certificates in the packager's form.
    pub(super) fn signing(&self) -> Result<Signing> {
        Ok(Signing::with_key(&fs::read(&self.chain)?, self.key()?)?)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let key = self.key()?;
        let mut signer = match key.id() {
            Id::ED25519 => Signer::new_without_digest(&key)?,
            _ => Signer::new(MessageDigest::sha256(), &key)?,
        };
        Ok(signer.sign_oneshot_to_vec(message)?)
    }
}

/// Writes a copy with the manifest changed by `change` and correctly signed by `signatory`. The MD5
/// file is made to match the manifest.
pub fn sign_again(
    genuine: &Path,
    signatory: &Signatory,
    output: &Path,
    change: impl FnOnce(&mut Value),
) -> Result<()> {
    let bytes = fs::read(genuine)?;
    let members = Members::of(&bytes)?;
    let mut manifest: Value = serde_json::from_slice(&bytes[members.range(member::MANIFEST)?])?;
    change(&mut manifest);
    let created = Manifest::from_json(&bytes[members.range(member::MANIFEST)?])?.created_unix()?;
    let md5 = manifest["system"]["md5"].as_str();
    let md5_line = format!(
        "{}  {}\n",
        md5.context("the manifest has an MD5")?,
        member::SYSTEM
    );
    let manifest = serde_json::to_vec(&manifest)?;
    let package = make::assemble(
        &[
            (member::MANIFEST, &manifest),
            (member::SIGNATURE, &signatory.sign(&manifest)?),
            (member::SIGNER, &fs::read(&signatory.chain)?),
            (member::SYSTEM, &bytes[members.range(member::SYSTEM)?]),
            (member::SYSTEM_MD5, md5_line.as_bytes()),
        ],
        created,
    )?;
    fs::write(output, package)?;
    Ok(())
}
