//! TLS towards the broker: the station's certificate, and trust in the broker's.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use native_tls::{Certificate, Identity, Protocol, TlsConnector};
use openssl::pkey::PKey;

use crate::config::Mqtt;

/// Reads certificate authority, certificate and key.
pub fn connector(mqtt: &Mqtt) -> Result<TlsConnector> {
    let read = |key: &str, path: &Path| {
        fs::read(path).with_context(|| format!("{key}: cannot read {}", path.display()))
    };
    let ca = read("mqtt.ca", &mqtt.ca)?;
    let certificate = read("mqtt.certificate", &mqtt.certificate)?;
    let key = read("mqtt.key", &mqtt.key)?;
    // native-tls accepts PKCS#8 only; OpenSSL reads every form.
    let key = PKey::private_key_from_pem(&key)
        .and_then(|key| key.private_key_to_pem_pkcs8())
        .context("mqtt.key: not a private key in PEM without a passphrase")?;
    let identity = Identity::from_pkcs8(&certificate, &key)
        .context("mqtt.certificate and mqtt.key do not belong together")?;
    let mut builder = TlsConnector::builder();
    builder
        .disable_built_in_roots(true)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .identity(identity);
    let roots = Certificate::stack_from_pem(&ca).context("mqtt.ca: not PEM certificates")?;
    ensure!(!roots.is_empty(), "mqtt.ca: holds no certificate in PEM");
    for root in roots {
        builder.add_root_certificate(root);
    }
    builder.build().context("TLS cannot be set up")
}
