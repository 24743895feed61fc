//! Revoked certificates, and revoked keys in all their encodings.

use dau_model::hex;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::pkey::Id;
use openssl::sha::sha256;
use openssl::x509::{X509Ref, X509};

use super::{fingerprint, subject, Keyring};
use crate::{der, PackageError};

/// SHA-256 of a certificate or of a key in DER, lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Revoked {
    Certificate(String),
    Key(String),
}

impl Keyring {
    pub(super) fn check_revocation(&self, path: &[X509]) -> Result<(), PackageError> {
        for certificate in path {
            let signer = || path.first().map(|first| subject(first)).unwrap_or_default();
            let forms = key_forms(certificate).map_err(|reason| PackageError::SignerKey {
                signer: signer(),
                reason: format!("{reason}, in certificate {}", subject(certificate)),
            })?;
            let keys = forms
                .iter()
                .map(|form| Revoked::Key(hex::encode(sha256(form))));
            let mut names = keys.chain([Revoked::Certificate(fingerprint(certificate)?)]);
            if names.any(|name| self.revoked.contains(&name)) {
                return Err(PackageError::SignerRevoked {
                    signer: signer(),
                    certificate: subject(certificate),
                });
            }
        }
        Ok(())
    }
}

/// Returns all DER encodings of a certificate's public key, any of which may be in a keyring's
/// list: the one in the certificate, OpenSSL's own, and each form of the point on an elliptic
/// curve.
///
/// # Errors
/// The key has endless encodings (parameters of RSA-PSS), so no list could cover it; or it cannot
/// be read.
fn key_forms(certificate: &X509Ref) -> Result<Vec<Vec<u8>>, String> {
    const POINT_FORMS: [PointConversionForm; 3] = [
        PointConversionForm::COMPRESSED,
        PointConversionForm::UNCOMPRESSED,
        PointConversionForm::HYBRID,
    ];
    let unreadable = |_: ErrorStack| "a key that cannot be read".to_owned();
    let der = certificate.to_der().map_err(unreadable)?;
    let info = der::public_key(&der).ok_or("a key that cannot be read")?;
    let key = certificate.public_key().map_err(unreadable)?;
    let mut forms = vec![
        info.whole.to_owned(),
        key.public_key_to_der().map_err(unreadable)?,
    ];
    match key.id() {
        Id::RSA | Id::ED25519 | Id::ED448 => {}
        Id::EC => {
            let key = key.ec_key().map_err(unreadable)?;
            let mut numbers = BigNumContext::new().map_err(unreadable)?;
            for form in POINT_FORMS {
                let point = key.public_key();
                let point = point
                    .to_bytes(key.group(), form, &mut numbers)
                    .map_err(unreadable)?;
                forms.push(info.with_key(&point));
            }
        }
        _ => return Err("a key that is neither RSA, nor of a curve, nor Ed25519 or Ed448".into()),
    }
    Ok(forms)
}
