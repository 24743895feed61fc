//! The first members of a package: enough to refuse a wrong one while it still arrives.

use openssl::error::ErrorStack;
use openssl::x509::X509;

use crate::container::{header_at, member_at, parse_header, Found};
use crate::manifest::{padded, BLOCK};
use crate::{member, Keyring, Manifest, PackageError, Signer};

/// Largest `manifest.json`, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;
/// Largest `manifest.sig`: RSA of 16384 bits has 2048 bytes.
const MAX_SIGNATURE: u64 = 4 << 10;
/// Largest `signer.pem`.
const MAX_SIGNER: u64 = 64 << 10;
/// Most certificates in `signer.pem`.
const MAX_CERTIFICATES: usize = 8;

/// Bytes that are always enough for [`Head::parse`] to decide.
pub const MAX_HEAD: usize = (4 * BLOCK + MAX_MANIFEST + MAX_SIGNATURE + MAX_SIGNER) as usize;

/// The first three members of a package, read but not yet believed: see [`Head::verify`].
#[derive(Debug, Clone)]
pub struct Head {
    /// `manifest.json`, validated.
    pub manifest: Manifest,
    /// The bytes of `manifest.json`, which the signature covers.
    pub manifest_bytes: Vec<u8>,
    /// `manifest.sig`.
    pub signature: Vec<u8>,
    /// `signer.pem`.
    pub signer_pem: Vec<u8>,
    /// Offset in the package of the tar header of `system.tar`.
    pub body_offset: u64,
}

/// How far [`Head::read`] got.
pub(crate) enum Read {
    Done(Box<Head>),
    /// More bytes are needed; `member` is the one that is not complete.
    Need {
        member: &'static str,
    },
}

impl Head {
    /// Reads the head from the first bytes of a package. `Ok(None)` asks for more of them, never beyond [`MAX_HEAD`].
    /// What is wrong is refused as soon as it can be seen; the manifest even before the signature is there.
    pub fn parse(prefix: &[u8]) -> Result<Option<Self>, PackageError> {
        Ok(match Self::read(prefix)? {
            Read::Done(head) => Some(*head),
            Read::Need { .. } => None,
        })
    }

    pub(crate) fn read(prefix: &[u8]) -> Result<Read, PackageError> {
        let need = |member| Ok(Read::Need { member });
        let Some(ManifestMember {
            manifest,
            bytes: manifest_bytes,
            next: offset,
        }) = parse_manifest(prefix)?
        else {
            return need(member::MANIFEST);
        };
        if header_at(prefix, offset).is_some_and(is_unsigned) {
            return Err(PackageError::Unsigned);
        }
        let Some(range) = member_at(prefix, offset, member::SIGNATURE, MAX_SIGNATURE)? else {
            return need(member::SIGNATURE);
        };
        let signature = &prefix[range.clone()];
        let offset = next_member(range.end);
        let Some(range) = member_at(prefix, offset, member::SIGNER, MAX_SIGNER)? else {
            return need(member::SIGNER);
        };
        let signer_pem = &prefix[range.clone()];
        Ok(Read::Done(Box::new(Self {
            manifest,
            manifest_bytes: manifest_bytes.to_vec(),
            signature: signature.to_vec(),
            signer_pem: signer_pem.to_vec(),
            body_offset: next_member(range.end) as u64,
        })))
    }

    /// SHA-256 of `manifest.json`, lower-case hex, which binds a job to its package.
    pub fn manifest_sha256(&self) -> String {
        Manifest::sha256(&self.manifest_bytes)
    }

    /// Checks the signature over the manifest, and that the signer may sign software for this keyring. Certificates
    /// are judged at the manifest's `created`, never by a clock.
    pub fn verify(&self, keyring: &Keyring) -> Result<Signer, PackageError> {
        keyring.check(
            &self.signer_chain()?,
            &self.manifest_bytes,
            &self.signature,
            &self.manifest,
        )
    }

    /// The certificates of `signer.pem`: the signer's own, then its intermediates. The file may hold nothing else, in no
    /// other way of writing, since the signature does not cover it.
    pub fn signer_chain(&self) -> Result<Vec<X509>, PackageError> {
        let chain = parse_signer(&self.signer_pem)?;
        if signer_pem(&chain)? != self.signer_pem {
            return Err(PackageError::Malformed {
                member: member::SIGNER,
                reason: "it holds more than certificates as OpenSSL writes them".into(),
            });
        }
        Ok(chain)
    }
}

/// The first member.
pub(crate) struct ManifestMember<'a> {
    pub manifest: Manifest,
    pub bytes: &'a [u8],
    /// Offset of the next member's header.
    pub next: usize,
}

/// Reads the first member, where `prefix` holds all of it.
pub(crate) fn parse_manifest(prefix: &[u8]) -> Result<Option<ManifestMember<'_>>, PackageError> {
    let Some(range) = member_at(prefix, 0, member::MANIFEST, MAX_MANIFEST)? else {
        return Ok(None);
    };
    let next = next_member(range.end);
    let bytes = &prefix[range];
    Ok(Some(ManifestMember {
        manifest: Manifest::from_json(bytes)?,
        bytes,
        next,
    }))
}

/// Reads what `signer.pem` holds, or a file that is to become one.
pub(crate) fn parse_signer(pem: &[u8]) -> Result<Vec<X509>, PackageError> {
    let malformed = |reason: String| PackageError::Malformed {
        member: member::SIGNER,
        reason,
    };
    let chain = X509::stack_from_pem(pem)
        .map_err(|_| malformed("it is not a list of PEM certificates".into()))?;
    if chain.is_empty() || chain.len() > MAX_CERTIFICATES {
        return Err(malformed(format!(
            "it has {} certificates, not 1 to {MAX_CERTIFICATES}",
            chain.len()
        )));
    }
    Ok(chain)
}

/// The one way to write `signer.pem`.
pub(crate) fn signer_pem(chain: &[X509]) -> Result<Vec<u8>, ErrorStack> {
    let mut pem = Vec::new();
    for certificate in chain {
        pem.extend(certificate.to_pem()?);
    }
    Ok(pem)
}

/// Whether the manifest is followed by `system.tar` at once.
pub(crate) fn is_unsigned(block: &[u8; BLOCK as usize]) -> bool {
    matches!(
        parse_header(block, member::SIGNATURE),
        Ok(Found::Member { name, .. }) if name == member::SYSTEM
    )
}

fn next_member(end: usize) -> usize {
    padded(end as u64) as usize
}
