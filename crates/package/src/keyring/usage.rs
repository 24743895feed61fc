//! The permitted use of a signer's certificate.

use openssl::x509::{X509ExtendedKeyUsage, X509KeyUsage, X509};

use super::subject;
use crate::{der, PackageError};

/// Checks that the signer is meant for signing software only, and that no authority between it and
/// the root excludes that (extended key usage nests as in OpenSSL and the CA/Browser rules).
pub(super) fn check(path: &[X509]) -> Result<(), PackageError> {
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
    let certifies = |usage: X509KeyUsage| usage.contains(X509KeyUsage::KEY_CERT_SIGN);
    let authority = signer.to_der().ok().and_then(|der| der::is_authority(&der));
    if authority != Some(false) || signer.key_usage().is_some_and(certifies) {
        return refuse(
            "its certificate is that of an authority (CA:TRUE or keyCertSign), which signs \
             certificates alone"
                .into(),
        );
    }
    let signs = |usage: X509KeyUsage| usage.contains(X509KeyUsage::DIGITAL_SIGNATURE);
    if !signer.key_usage().is_none_or(signs) {
        return refuse("its certificate has a key usage without digitalSignature".into());
    }
    // A root is trusted because it is in the keyring, whatever it says of itself.
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
