//! Builds the path from a signer to a root.

use std::cmp::Ordering;

use openssl::asn1::Asn1TimeRef;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509PurposeId, X509Ref, X509StoreContext, X509};

use super::{subject, Keyring};
use crate::manifest::asn1_time;
use crate::{Manifest, PackageError};

/// OpenSSL's security level for the keys and digests of a chain: 2 demands 112 bits, so RSA-2048
/// and no SHA-1.
const SECURITY_LEVEL: i32 = 2;

impl Keyring {
    /// Returns the path from the signer to a root, signer first.
    pub(super) fn build_path(
        &self,
        certificate: &X509,
        intermediates: &[X509],
        manifest: &Manifest,
    ) -> Result<Vec<X509>, PackageError> {
        let mut stack = Stack::new()?;
        for intermediate in intermediates {
            stack.push(intermediate.clone())?;
        }
        let store = self.store()?;
        let outcome = X509StoreContext::new()?.init(&store, certificate, &stack, |context| {
            if context.verify_cert()? {
                let path = context
                    .chain()
                    .map(|chain| chain.iter().map(X509Ref::to_owned));
                return Ok(Ok(path.into_iter().flatten().collect::<Vec<X509>>()));
            }
            let culprit = context.current_cert().map(subject).unwrap_or_default();
            Ok(Err((context.error(), culprit)))
        })?;
        let path = outcome.map_err(|(error, culprit)| PackageError::SignerUnknown {
            signer: subject(certificate),
            reason: format!("{} (at {culprit})", error.error_string()),
        })?;
        let created = asn1_time(manifest.created_unix()?)?;
        for link in path.iter().rev() {
            check_time(link, &created, certificate, manifest)?;
        }
        Ok(path)
    }

    fn store(&self) -> Result<X509Store, ErrorStack> {
        let mut builder = X509StoreBuilder::new()?;
        for root in &self.roots {
            builder.add_cert(root.clone())?;
        }
        // OpenSSL before 3.2 has no purpose "code signing"; check_usage() checks the extended key
        // usage.
        builder.set_purpose(X509PurposeId::ANY)?;
        let mut param = X509VerifyParam::new()?;
        // OpenSSL would take the time as a time_t, whose width is a matter of how each was built.
        param.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
        param.set_auth_level(SECURITY_LEVEL);
        builder.set_param(&param)?;
        Ok(builder.build())
    }
}

/// Refuses a certificate of the signer's path that was not valid at `created`, the manifest's time.
fn check_time(
    link: &X509Ref,
    created: &Asn1TimeRef,
    signer: &X509Ref,
    manifest: &Manifest,
) -> Result<(), PackageError> {
    let (signer, certificate) = (subject(signer), subject(link));
    let since = link.not_before().compare(created);
    let until = link.not_after().compare(created);
    let created = manifest.created.clone();
    match (since, until) {
        (Ok(Ordering::Greater), _) => Err(PackageError::SignerNotYetValid {
            signer,
            certificate,
            created,
        }),
        // OpenSSL's own check takes the last second for too late, too.
        (Ok(_), Ok(Ordering::Greater)) => Ok(()),
        (Ok(_), Ok(_)) => Err(PackageError::SignerExpired {
            signer,
            certificate,
            created,
        }),
        _ => Err(PackageError::SignerUnknown {
            signer,
            reason: format!("a time in it is none (at {certificate})"),
        }),
    }
}
