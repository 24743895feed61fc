//! Keys and X.509 certificates of a development PKI.

use std::net::IpAddr;

use openssl::asn1::Asn1Integer;
use openssl::bn::BigNum;
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rand::rand_bytes;
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509Builder, X509Name, X509};

use crate::manifest::asn1_time;
use crate::Algorithm;

/// Bits of new RSA keys: enough to 2030 and beyond by NIST SP 800-57.
const RSA_BITS: u32 = 3072;

/// Makes a private key for `algorithm`.
pub fn generate_key(algorithm: Algorithm) -> Result<PKey<Private>, ErrorStack> {
    match algorithm {
        Algorithm::RsaSha256 => PKey::from_rsa(Rsa::generate(RSA_BITS)?),
        Algorithm::EcdsaP256Sha256 => {
            let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        Algorithm::Ed25519 => PKey::generate_ed25519(),
    }
}

/// The use of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Issues other certificates.
    Authority,
    /// Signs upgrade packages.
    CodeSigning,
    /// A TLS server with these names: IP addresses or host names.
    Server(Vec<String>),
    /// A TLS client.
    Client,
}

/// The contents of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<'a> {
    /// Common name of the subject.
    pub common_name: &'a str,
    /// Its use.
    pub role: Role,
    /// First second of validity, since 1970.
    pub not_before: i64,
    /// Last second of validity, since 1970.
    pub not_after: i64,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The certificate.
    pub certificate: X509,
    /// Its private key.
    pub key: PKey<Private>,
}

/// Makes a certificate for `key`, signed by `issuer`, or self-signed without one.
pub fn issue(
    template: &Template<'_>,
    key: &PKeyRef<Private>,
    issuer: Option<&Issuer>,
) -> Result<X509, ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, template.common_name)?;
    let subject = subject.build();
    let mut builder = X509::builder()?;
    // Version 3, counted from 0.
    builder.set_version(2)?;
    let serial_number = serial_number()?;
    builder.set_serial_number(&serial_number)?;
    builder.set_subject_name(&subject)?;
    builder
        .set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))?;
    let validity = (
        asn1_time(template.not_before)?,
        asn1_time(template.not_after)?,
    );
    builder.set_not_before(&validity.0)?;
    builder.set_not_after(&validity.1)?;
    builder.set_pubkey(key)?;
    append_extensions(&mut builder, &template.role, issuer)?;
    let signing_key = issuer.map_or(key, |issuer| &issuer.key);
    builder.sign(signing_key, certificate_digest(signing_key))?;
    Ok(builder.build())
}

fn append_extensions(
    builder: &mut X509Builder,
    role: &Role,
    issuer: Option<&Issuer>,
) -> Result<(), ErrorStack> {
    let mut constraints = BasicConstraints::new();
    let mut usage = KeyUsage::new();
    constraints.critical();
    usage.critical();
    match role {
        Role::Authority => {
            constraints.ca();
            usage.key_cert_sign().crl_sign();
        }
        _ => {
            usage.digital_signature();
        }
    }
    builder.append_extension(constraints.build()?)?;
    builder.append_extension(usage.build()?)?;
    let mut extended = ExtendedKeyUsage::new();
    match role {
        Role::Authority => {}
        Role::CodeSigning => {
            builder.append_extension(extended.critical().code_signing().build()?)?
        }
        Role::Server(_) => builder.append_extension(extended.server_auth().build()?)?,
        Role::Client => builder.append_extension(extended.client_auth().build()?)?,
    }
    let own = SubjectKeyIdentifier::new();
    let own = own.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(own)?;
    if let Some(issuer) = issuer {
        let context = builder.x509v3_context(Some(&issuer.certificate), None);
        let authority = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(authority)?;
    }
    if let Role::Server(names) = role {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let issuer = issuer.map(|issuer| &*issuer.certificate);
        let alternatives = alternatives.build(&builder.x509v3_context(issuer, None))?;
        builder.append_extension(alternatives)?;
    }
    Ok(())
}

/// Returns the digest to sign with; none for Ed25519, which hashes by itself.
fn certificate_digest(key: &PKeyRef<Private>) -> MessageDigest {
    match key.id() {
        Id::ED25519 => MessageDigest::null(),
        _ => MessageDigest::sha256(),
    }
}

/// Returns 127 random bits: positive, and practically unique.
fn serial_number() -> Result<Asn1Integer, ErrorStack> {
    let mut bytes = [0; 16];
    rand_bytes(&mut bytes)?;
    bytes[0] &= 0x7F;
    BigNum::from_slice(&bytes)?.to_asn1_integer()
}
