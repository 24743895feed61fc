//! Signs packages, with a local key or by a callback.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::output::{now, replace};
use super::unverified::Unverified;
use super::write::{write_body, write_head};
use super::{MakeError, Progress, Step};
use crate::head::{parse_signer, signer_pem};
use crate::signature::is_valid;
use crate::verify::{read_body, system_digests};
use crate::{member, Algorithm, Manifest, PackageError};

/// Makes a signature of these bytes with this algorithm.
type Sign = Box<dyn Fn(Algorithm, &[u8]) -> Result<Vec<u8>, String>>;

/// A signer's certificates, and its key or a callback that signs.
pub struct Signing {
    chain_pem: Vec<u8>,
    certificate: X509,
    sign: Sign,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Signing {
    /// Signs with `key`. `chain_pem` holds the signer's certificate and then its intermediates.
    pub fn with_key(chain_pem: &[u8], key: PKey<Private>) -> Result<Self, MakeError> {
        let signing = Self::with(
            chain_pem,
            Box::new(move |algorithm, message| {
                sign_with_key(algorithm, &key, message).map_err(|error| error.to_string())
            }),
        )?;
        Ok(signing)
    }

    /// Signs by calling `sign`, e.g. for a key in an HSM or for a signature made elsewhere.
    pub fn with(chain_pem: &[u8], sign: Sign) -> Result<Self, MakeError> {
        let mut chain = parse_signer(chain_pem)?;
        Ok(Self {
            // Only the certificates: a private key in the same file must not get out.
            chain_pem: signer_pem(&chain)?,
            certificate: chain.swap_remove(0),
            sign,
        })
    }

    /// Signs by a shell command, e.g. of an HSM. It gets the bytes to sign on standard input, and
    /// `DAU_ALGORITHM` ([`Algorithm::word`]) and `DAU_SHA256` (of these bytes, hex) in its
    /// environment; it writes the signature to standard output and exits with 0.
    pub fn with_command(chain_pem: &[u8], command: &str) -> Result<Self, MakeError> {
        let command = command.to_owned();
        Self::with(
            chain_pem,
            Box::new(move |algorithm, message| sign_by_command(&command, algorithm, message)),
        )
    }

    /// Returns the content of `signer.pem`.
    pub(super) fn chain_pem(&self) -> &[u8] {
        &self.chain_pem
    }

    /// Signs, and checks the signature against the certificate, so that a wrong key shows here and
    /// not on terminals.
    pub(super) fn sign(&self, manifest_bytes: &[u8]) -> Result<Vec<u8>, MakeError> {
        let public = self.certificate.public_key()?;
        let algorithm = Algorithm::of(&public).map_err(MakeError::Sign)?;
        let mut signature = (self.sign)(algorithm, manifest_bytes).map_err(MakeError::Sign)?;
        if algorithm == Algorithm::EcdsaP256Sha256 {
            signature = ecdsa_der(signature)?;
        }
        if !is_valid(algorithm, &public, manifest_bytes, &signature) {
            return Err(MakeError::Sign(
                "the signature does not fit the signer's certificate: is it another key's?".into(),
            ));
        }
        Ok(signature)
    }
}

fn sign_with_key(
    algorithm: Algorithm,
    key: &PKey<Private>,
    message: &[u8],
) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    use openssl::sign::Signer;
    let mut signer = match algorithm.digest() {
        Some(digest) => Signer::new(digest, key)?,
        None => Signer::new_without_digest(key)?,
    };
    signer.sign_oneshot_to_vec(message)
}

fn sign_by_command(command: &str, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("DAU_ALGORITHM", algorithm.word())
        .env("DAU_SHA256", Manifest::sha256(message))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start sh: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that uses the digest alone may leave its input unread. A manifest fits into a
        // pipe's buffer, so this never waits.
        let _ = input.write_all(message);
    }
    let output = child
        .wait_with_output()
        .map_err(|error| format!("cannot read from the command: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?} ended with {}", output.status)),
    }
}

/// Converts r and s of 32 bytes each, as many HSMs return them, to DER.
fn ecdsa_der(signature: Vec<u8>) -> Result<Vec<u8>, MakeError> {
    if signature.len() != 64 || EcdsaSig::from_der(&signature).is_ok() {
        return Ok(signature);
    }
    let (r, s) = signature.split_at(32);
    let parts = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    Ok(parts.to_der()?)
}

/// Signs the package at `input`, signed or not, and writes the result to `output`, which may be the
/// same file. The package is checked first, so that no incomplete file is signed.
pub fn sign(
    input: &Path,
    signing: &Signing,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, MakeError> {
    let mut file = File::open(input).map_err(MakeError::io(input))?;
    let Unverified {
        manifest,
        manifest_bytes,
        body_offset,
        ..
    } = Unverified::read(&mut file)?;
    manifest.check_created_by(now())?;
    let body = read_body(&mut file, body_offset, &manifest, false)?;
    let io = |source| MakeError::io(input)(source);
    file.seek(SeekFrom::Start(body.system_offset)).map_err(io)?;
    let digest_progress = &mut |done, total| progress(Step::Digest, done, total);
    let found = system_digests(&mut file, &manifest, digest_progress)?;
    if found != manifest.system {
        return Err(PackageError::Sha256Mismatch {
            member: member::SYSTEM,
            expected: manifest.system.sha256.clone(),
            found: found.sha256,
        }
        .into());
    }

    let signature = signing.sign(&manifest_bytes)?;
    let mtime = u64::try_from(manifest.created_unix()?).unwrap_or_default();
    file.seek(SeekFrom::Start(body.system_offset)).map_err(io)?;
    replace(
        output,
        |out| {
            write_head(
                out,
                &manifest_bytes,
                Some((&signature, signing.chain_pem())),
                mtime,
            )?;
            write_body(out, &manifest, mtime, |out| {
                io::copy(&mut Read::by_ref(&mut file).take(manifest.system.size), out)
            })
        },
        progress,
    )?;
    Ok(manifest)
}
