//! Signers and keyrings that are accepted or refused.
#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of integration tests for other code"
)]

mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod keyring;
mod revoked;

use std::fs;

use common::{Bench, Parts, CREATED_UNIX};
use dau_package::make::{generate_key, issue, Issuer, Role, Template};
use dau_package::Algorithm;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

const YEAR: i64 = 365 * 24 * 3600;

fn template(role: Role) -> Template<'static> {
    Template {
        common_name: "somebody",
        role,
        not_before: CREATED_UNIX - YEAR,
        not_after: CREATED_UNIX + YEAR,
    }
}

fn issuer(template: &Template<'_>, issuer: Option<&Issuer>) -> Issuer {
    let key = generate_key(Algorithm::Ed25519).unwrap();
    let certificate = issue(template, &key, issuer).unwrap();
    Issuer { certificate, key }
}

/// The package root of a bench, with its key.
fn root(bench: &Bench) -> Issuer {
    let file = |name: &str| fs::read(bench.path("pki/package").join(name)).unwrap();
    Issuer {
        certificate: X509::from_pem(&file("root.pem")).unwrap(),
        key: PKey::private_key_from_pem(&file("root.key")).unwrap(),
    }
}

/// A package by this signer, whose certificates are `chain`.
fn package(bench: &Bench, key: &PKey<Private>, chain: &[&X509]) -> Vec<u8> {
    let mut parts = Parts::new(bench);
    parts.key = key.clone();
    parts.chain = chain
        .iter()
        .flat_map(|certificate| certificate.to_pem().unwrap())
        .collect();
    parts.bytes()
}
