//! Signatures of archives, beside their files with `.sig` at the end, as
//! `openssl dgst -sha256 -verify record.pub -signature FILE.sig FILE` checks them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};

use dau_model::hex;

use super::Archive;

/// Bytes of a key or a signature at most.
const MOST: u64 = 64 << 10;

/// The station's key for its record.
#[derive(Debug, Clone)]
pub struct Key(PKey<Private>);

/// A key that checks.
#[derive(Debug, Clone)]
pub struct PublicKey(PKey<Public>);

impl Key {
    /// Reads `record.key`.
    pub fn load(path: &Path) -> Result<Self> {
        let read = fs::read(path).map_err(anyhow::Error::from);
        let key = read.and_then(|pem| Ok(PKey::private_key_from_pem(&pem)?));
        let key = key.with_context(|| format!("record.key: cannot use {}", path.display()))?;
        Ok(Key(key))
    }

    /// Makes a key; returns it and its public part, PEM.
    pub fn generate() -> Result<(Vec<u8>, Vec<u8>)> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        Ok((key.private_key_to_pem_pkcs8()?, key.public_key_to_pem()?))
    }

    /// Returns the key that checks its signatures.
    pub fn public(&self) -> Result<PublicKey> {
        let pem = self.0.public_key_to_pem()?;
        Ok(PublicKey(PKey::public_key_from_pem(&pem)?))
    }

    /// Signs the archives that have no signature.
    pub fn sign_missing(&self, folder: &Path, archives: &[Archive]) -> Result<()> {
        for archive in archives {
            let path = path(folder, archive);
            if path.exists() {
                continue;
            }
            let name = archive.file_name();
            let content = fs::read(folder.join(&name))
                .with_context(|| format!("the archive {name} cannot be signed"))?;
            ensure!(
                hex::encode(sha256(&content)) == archive.sha256,
                "the archive {name} is not signed: it is not the file that was sealed"
            );
            let mut signer = Signer::new(MessageDigest::sha256(), &self.0)?;
            let signature = signer.sign_oneshot_to_vec(&content)?;
            let part = path.with_extension("part");
            let mut file = File::create(&part)?;
            file.write_all(&signature)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
        }
        Ok(File::open(folder)?.sync_all()?)
    }
}

impl PublicKey {
    /// Reads a public key, PEM.
    pub fn load(path: &Path) -> Result<Self> {
        let read = fs::read(path).map_err(anyhow::Error::from);
        let key = read.and_then(|pem| Ok(PKey::public_key_from_pem(&pem)?));
        let key = key.with_context(|| format!("{} is no public key", path.display()))?;
        Ok(PublicKey(key))
    }

    /// Tells whether this is the key's signature of the archive's file.
    pub fn signed(&self, folder: &Path, archive: &Archive, signature: &[u8]) -> Result<bool> {
        let content = fs::read(folder.join(archive.file_name()))?;
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.0)?;
        // What is no signature at all is an error of OpenSSL's.
        Ok(verifier
            .verify_oneshot(signature, &content)
            .unwrap_or(false))
    }
}

/// Returns the signature of an archive, if it has one.
pub fn signature(folder: &Path, archive: &Archive) -> Option<Vec<u8>> {
    let file = File::open(path(folder, archive)).ok()?;
    let mut signature = Vec::new();
    file.take(MOST).read_to_end(&mut signature).ok()?;
    Some(signature)
}

fn path(folder: &Path, archive: &Archive) -> PathBuf {
    folder.join(format!("{}.sig", archive.file_name()))
}
