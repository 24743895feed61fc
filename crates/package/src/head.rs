//! The first members of a package, enough to refuse a wrong one while it arrives.

use std::io::{self, Read as _};
use std::ops::RangeInclusive;

use openssl::error::ErrorStack;
use openssl::x509::X509;

use crate::blocks::{padded, BLOCK, BLOCKING, END};
use crate::container::{header_at, member_at, parse_header, Found};
use crate::{member, Keyring, Manifest, PackageError, Signer};

/// Largest `manifest.json`, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;
/// Largest `manifest.sig`: RSA of 16384 bits has 2048 bytes.
const MAX_SIGNATURE: u64 = 4 << 10;
/// Largest `signer.pem`.
const MAX_SIGNER: u64 = 64 << 10;
/// Most certificates in `signer.pem`.
const MAX_CERTIFICATES: usize = 8;

/// Number of bytes that always suffices for [`Head::parse`].
pub const MAX_HEAD: usize = (4 * BLOCK + MAX_MANIFEST + MAX_SIGNATURE + MAX_SIGNER) as usize;

/// Number of bytes from which [`Head::parse`] tells a package from anything else.
pub const MIN_HEAD: usize = BLOCK as usize;

/// The first three members of a package, parsed but not verified: see [`Head::verify`].
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
    /// Offset of the tar header of `system.tar` in the package.
    pub body_offset: u64,
}

/// The progress of [`Head::read`].
pub(crate) enum Read {
    Done(Box<Head>),
    /// More bytes are needed for `member`.
    Need {
        member: &'static str,
    },
}

impl Head {
    /// Parses the head from the first bytes of a package. `Ok(None)` asks for more of them, never
    /// beyond [`MAX_HEAD`]. Faults are reported as early as possible; the manifest's even before
    /// the signature is there.
    pub fn parse(prefix: &[u8]) -> Result<Option<Self>, PackageError> {
        Ok(match Self::read(prefix)? {
            Read::Done(head) => Some(*head),
            Read::Need { .. } => None,
        })
    }

    /// Reads the head of a whole package from the reader's position; reads at most [`MAX_HEAD`]
    /// bytes.
    pub fn read_from(package: impl io::Read) -> Result<Self, PackageError> {
        match Self::read(&read_prefix(package)?)? {
            Read::Done(head) => Ok(*head),
            Read::Need { member } => Err(PackageError::Truncated { member }),
        }
    }

    /// Returns the possible sizes of the whole package, from the end of the archive to that of its
    /// last tar record. Empty if the manifest claims more than any file has.
    pub fn package_sizes(&self) -> RangeInclusive<u64> {
        let sizes = || {
            let system = self.manifest.system.size.checked_next_multiple_of(BLOCK)?;
            // Two headers, the one block of the MD5 line, and the end of the archive.
            let around = (3 * BLOCK).checked_add(END)?;
            let least = self.body_offset.checked_add(around)?.checked_add(system)?;
            Some(least..=least.checked_next_multiple_of(BLOCKING)?)
        };
        sizes().unwrap_or(RangeInclusive::new(u64::MAX, 0))
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
        let signature = prefix.get(range.clone()).unwrap_or_default();
        let offset = next_member(range.end);
        let Some(range) = member_at(prefix, offset, member::SIGNER, MAX_SIGNER)? else {
            return need(member::SIGNER);
        };
        let signer_pem = prefix.get(range.clone()).unwrap_or_default();
        Ok(Read::Done(Box::new(Self {
            manifest,
            manifest_bytes: manifest_bytes.to_vec(),
            signature: signature.to_vec(),
            signer_pem: signer_pem.to_vec(),
            body_offset: next_member(range.end) as u64,
        })))
    }

    /// Returns the SHA-256 of `manifest.json` in lower-case hex, which binds a job to its package.
    pub fn manifest_sha256(&self) -> String {
        Manifest::sha256(&self.manifest_bytes)
    }

    /// Checks the signature over the manifest, and that the signer may sign software for this
    /// keyring. Certificates are checked at the manifest's `created`, never at a clock's time.
    pub fn verify(&self, keyring: &Keyring) -> Result<Signer, PackageError> {
        keyring.check(
            &self.signer_chain()?,
            &self.manifest_bytes,
            &self.signature,
            &self.manifest,
        )
    }

    /// Returns the certificates of `signer.pem`: the signer's own, then its intermediates. The file
    /// must contain nothing else, in canonical form, as the signature does not cover it.
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

/// Reads the first bytes of a package, enough for its head.
pub(crate) fn read_prefix(package: impl io::Read) -> Result<Vec<u8>, PackageError> {
    let mut prefix = Vec::new();
    package.take(MAX_HEAD as u64).read_to_end(&mut prefix)?;
    Ok(prefix)
}

/// The first member.
pub(crate) struct ManifestMember<'a> {
    pub manifest: Manifest,
    pub bytes: &'a [u8],
    /// Offset of the next member's header.
    pub next: usize,
}

/// Parses the first member; `None` if `prefix` does not hold all of it.
pub(crate) fn parse_manifest(prefix: &[u8]) -> Result<Option<ManifestMember<'_>>, PackageError> {
    let Some(range) = member_at(prefix, 0, member::MANIFEST, MAX_MANIFEST)? else {
        return Ok(None);
    };
    let next = next_member(range.end);
    let bytes = prefix.get(range).unwrap_or_default();
    Ok(Some(ManifestMember {
        manifest: Manifest::from_json(bytes)?,
        bytes,
        next,
    }))
}

/// Parses `signer.pem`, or a file with certificates for it.
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

/// Encodes a chain as `signer.pem`, in the canonical form.
pub(crate) fn signer_pem(chain: &[X509]) -> Result<Vec<u8>, ErrorStack> {
    let mut pem = Vec::new();
    for certificate in chain {
        pem.extend(certificate.to_pem()?);
    }
    Ok(pem)
}

/// Tells whether `system.tar` directly follows the manifest.
pub(crate) fn is_unsigned(block: &[u8; BLOCK as usize]) -> bool {
    matches!(
        parse_header(block, member::SIGNATURE),
        Ok(Found::Member { name, .. }) if name == member::SYSTEM
    )
}

fn next_member(end: usize) -> usize {
    padded(end as u64) as usize
}
