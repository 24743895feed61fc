//! Whom a terminal believes: roots, and what has been revoked.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::sha::sha256;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{
    X509ExtendedKeyUsage, X509KeyUsage, X509NameRef, X509PurposeId, X509Ref, X509StoreContext,
    X509VerifyResult, X509,
};
use thiserror::Error;

use crate::manifest::hex;
use crate::signature::{is_valid, Algorithm};
use crate::{Manifest, PackageError};

/// Extension of the files that hold roots.
const ROOT_EXTENSION: &str = "pem";
/// Name of the file that lists what is revoked.
const REVOKED_FILE: &str = "revoked";
/// Largest file of a keyring, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// OpenSSL's security level for the keys and digests of a chain: 2 asks for 112 bits, so RSA-2048 and no SHA-1.
const SECURITY_LEVEL: i32 = 2;

/// The roots that may vouch for a package's signer, and the certificates and keys that no longer count.
///
/// A directory: every `*.pem` holds one or more self-signed root certificates; the optional file `revoked` has a line
/// for each thing revoked, `certificate HEX` or `key HEX`, where HEX is the SHA-256 of the certificate (as
/// `openssl x509 -fingerprint -sha256` prints it, colons allowed) or of the public key in DER (which reaches
/// every certificate ever made for that key). `#` starts a remark.
#[derive(Debug, Clone)]
pub struct Keyring {
    roots: Vec<X509>,
    revoked: BTreeSet<Revoked>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Revoked {
    Certificate(String),
    Key(String),
}

/// Who signed a package, after every check has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Subject of the certificate, e.g. `CN=dau package signer,O=Example`.
    pub subject: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint_sha256: String,
    /// How it signed.
    pub algorithm: Algorithm,
}

/// Why a keyring cannot be used. It never stands for a smaller keyring: whoever cannot read all of it trusts nobody.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// A file or the directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A `*.pem` does not hold self-signed certificates.
    #[error("{}: {reason}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No roots at all.
    #[error("{} holds no root certificate (*.pem), so no package could be believed", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A line of the list of what is revoked cannot be understood.
    #[error("{}, line {line}: {text:?} is not `certificate` or `key` and 64 hex digits", path.display())]
    Revoked {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl Keyring {
    /// Reads the keyring in `dir`.
    pub fn load(dir: &Path) -> Result<Self, KeyringError> {
        let read_error = |source| KeyringError::Read {
            path: dir.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(read_error)? {
            files.push(entry.map_err(read_error)?.path());
        }
        files.sort();
        let mut roots = Vec::new();
        let is_root = |path: &&PathBuf| path.extension().is_some_and(|ext| ext == ROOT_EXTENSION);
        for path in files.iter().filter(is_root) {
            roots.append(&mut parse_roots(path, &read_file(path)?)?);
        }
        if roots.is_empty() {
            return Err(KeyringError::Empty {
                path: dir.to_owned(),
            });
        }
        let path = dir.join(REVOKED_FILE);
        let revoked = match files.contains(&path) {
            true => parse_revoked(&path, &String::from_utf8_lossy(&read_file(&path)?))?,
            false => BTreeSet::new(),
        };
        Ok(Self { roots, revoked })
    }

    /// Checks that `signature` is one of `message` by the first certificate of `chain`, and that this one may sign
    /// software for this keyring at the time of `manifest`.
    pub(crate) fn check(
        &self,
        chain: &[X509],
        message: &[u8],
        signature: &[u8],
        manifest: &Manifest,
    ) -> Result<Signer, PackageError> {
        let [certificate, intermediates @ ..] = chain else {
            return Err(PackageError::Unsigned);
        };
        let signer = subject(certificate);
        // The signature comes first: after it, what the manifest says of itself is at least the signer's own word.
        let key = certificate
            .public_key()
            .map_err(|_| "unreadable".to_owned())
            .and_then(|key| Algorithm::of(&key).map(|algorithm| (key, algorithm)));
        let (key, algorithm) = key.map_err(|reason| PackageError::SignerKey {
            signer: signer.clone(),
            reason,
        })?;
        if !is_valid(algorithm, &key, message, signature) {
            return Err(PackageError::SignatureInvalid { signer });
        }
        let path = self.build_path(certificate, intermediates, manifest)?;
        self.check_revocation(&path)?;
        check_usage(&path)?;
        Ok(Signer {
            subject: signer,
            fingerprint_sha256: fingerprint(certificate)?,
            algorithm,
        })
    }

    /// The path from the signer to a root, signer first.
    fn build_path(
        &self,
        certificate: &X509,
        intermediates: &[X509],
        manifest: &Manifest,
    ) -> Result<Vec<X509>, PackageError> {
        let mut stack = Stack::new()?;
        for intermediate in intermediates {
            stack.push(intermediate.clone())?;
        }
        let store = self.store_at(manifest.created_unix()?)?;
        let outcome = X509StoreContext::new()?.init(&store, certificate, &stack, |context| {
            if context.verify_cert()? {
                let path = context
                    .chain()
                    .map(|chain| chain.iter().map(X509Ref::to_owned));
                return Ok(Ok(path.into_iter().flatten().collect()));
            }
            let culprit = context.current_cert().map(subject).unwrap_or_default();
            Ok(Err((context.error(), culprit)))
        })?;
        outcome.map_err(|(error, culprit)| {
            path_error(error, culprit, subject(certificate), &manifest.created)
        })
    }

    fn store_at(&self, time: i64) -> Result<X509Store, ErrorStack> {
        let mut builder = X509StoreBuilder::new()?;
        for root in &self.roots {
            builder.add_cert(root.clone())?;
        }
        // OpenSSL before 3.2 has no purpose "code signing", so extended key usage is checked by check_usage().
        builder.set_purpose(X509PurposeId::ANY)?;
        let mut param = X509VerifyParam::new()?;
        // time_t has 32 bits on some machines; a time beyond that is as far in the future as they can say.
        #[allow(clippy::useless_conversion)]
        param.set_time(time.try_into().unwrap_or(i32::MAX.into()));
        param.set_auth_level(SECURITY_LEVEL);
        builder.set_param(&param)?;
        Ok(builder.build())
    }

    fn check_revocation(&self, path: &[X509]) -> Result<(), PackageError> {
        for certificate in path {
            let key = certificate.public_key()?.public_key_to_der()?;
            let names = [
                Revoked::Certificate(fingerprint(certificate)?),
                Revoked::Key(hex(&sha256(&key))),
            ];
            if names.iter().any(|name| self.revoked.contains(name)) {
                return Err(PackageError::SignerRevoked {
                    signer: path.first().map(|first| subject(first)).unwrap_or_default(),
                    certificate: subject(certificate),
                });
            }
        }
        Ok(())
    }
}

/// The signer must be meant for signing software, and no certificate authority between it and the root may exclude
/// that (as OpenSSL and CA/Browser rules nest extended key usage).
fn check_usage(path: &[X509]) -> Result<(), PackageError> {
    let [signer, authorities @ ..] = path else {
        return Err(PackageError::Unsigned);
    };
    let refuse = |reason: String| {
        Err(PackageError::SignerNotForCodeSigning {
            signer: subject(signer),
            reason,
        })
    };
    let code_signing =
        |usage: X509ExtendedKeyUsage| usage.contains(X509ExtendedKeyUsage::CODE_SIGN);
    if !signer.extended_key_usage().is_some_and(code_signing) {
        return refuse("its certificate lacks the extended key usage codeSigning".into());
    }
    let signs = |usage: X509KeyUsage| usage.contains(X509KeyUsage::DIGITAL_SIGNATURE);
    if !signer.key_usage().is_none_or(signs) {
        return refuse("its certificate has a key usage without digitalSignature".into());
    }
    // The root is trusted for being in the keyring, not for what it says of itself.
    let between = authorities.split_last().map_or(&[][..], |(_, rest)| rest);
    for authority in between {
        if !authority.extended_key_usage().is_none_or(code_signing) {
            return refuse(format!(
                "{} may not vouch for code signing",
                subject(authority)
            ));
        }
    }
    Ok(())
}

fn path_error(
    error: X509VerifyResult,
    certificate: String,
    signer: String,
    created: &str,
) -> PackageError {
    // Numbers from OpenSSL's x509_vfy.h; they never change.
    const NOT_YET_VALID: i32 = 9;
    const HAS_EXPIRED: i32 = 10;
    let created = created.to_owned();
    match error.as_raw() {
        NOT_YET_VALID => PackageError::SignerNotYetValid {
            signer,
            certificate,
            created,
        },
        HAS_EXPIRED => PackageError::SignerExpired {
            signer,
            certificate,
            created,
        },
        _ => PackageError::SignerUnknown {
            signer,
            reason: format!("{} (at {certificate})", error.error_string()),
        },
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, KeyringError> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "larger than 1 MiB",
            ));
        }
        fs::read(path)
    };
    read().map_err(|source| KeyringError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parse_roots(path: &Path, pem: &[u8]) -> Result<Vec<X509>, KeyringError> {
    let refuse = |reason: String| {
        Err(KeyringError::Root {
            path: path.to_owned(),
            reason,
        })
    };
    let Ok(roots) = X509::stack_from_pem(pem) else {
        return refuse("not a list of PEM certificates".into());
    };
    if roots.is_empty() {
        return refuse("holds no certificate".into());
    }
    // OpenSSL would never end a path at any other certificate, so it would be dead weight that looks like trust.
    if let Some(other) = roots
        .iter()
        .find(|root| root.issued(root) != X509VerifyResult::OK)
    {
        return refuse(format!("{} is not self-signed", subject(other)));
    }
    Ok(roots)
}

fn parse_revoked(path: &Path, text: &str) -> Result<BTreeSet<Revoked>, KeyringError> {
    let mut revoked = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let parsed = parse_revoked_entry(entry).ok_or_else(|| KeyringError::Revoked {
            path: path.to_owned(),
            line: index + 1,
            text: line.to_owned(),
        })?;
        revoked.insert(parsed);
    }
    Ok(revoked)
}

fn parse_revoked_entry(entry: &str) -> Option<Revoked> {
    let (kind, digits) = entry.split_once(char::is_whitespace)?;
    let digits = digits.trim().replace(':', "").to_ascii_lowercase();
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match kind {
        "certificate" => Some(Revoked::Certificate(digits)),
        "key" => Some(Revoked::Key(digits)),
        _ => None,
    }
}

fn fingerprint(certificate: &X509Ref) -> Result<String, ErrorStack> {
    Ok(hex(&certificate.digest(MessageDigest::sha256())?))
}

fn subject(certificate: &X509Ref) -> String {
    distinguished_name(certificate.subject_name())
}

/// A name for people: the most specific part first, as RFC 4514 writes it. Control characters are escaped, since
/// names come from hostile input and go to logs.
pub fn distinguished_name(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry
            .data()
            .to_string()
            .map(|value| value.escape_debug().to_string());
        format!("{key}={}", value.unwrap_or_default())
    };
    let mut parts: Vec<_> = name.entries().map(part).collect();
    parts.reverse();
    parts.join(",")
}
