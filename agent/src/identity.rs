//! Who this terminal is, and whom it talks to: written to mnt at the factory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context};
use dau_protocol::topic::is_device_id;
use native_tls::{Certificate, Protocol, TlsConnector};

const TERMINAL_ID: &str = "terminal-id";
const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
pub const STATION_CA: &str = "station-ca.pem";

/// Certificates that vouch for the station.
#[derive(Clone)]
pub struct Roots(pub Vec<Certificate>);

impl std::fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Roots({})", self.0.len())
    }
}

/// Terminal id and TLS material.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Client id, and part of every topic.
    pub terminal: String,
    folder: PathBuf,
}

impl Identity {
    /// Reads the id; the TLS files are read when a connection is made ready.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let terminal = read(folder, TERMINAL_ID)?;
        let terminal = String::from_utf8_lossy(&terminal).trim().to_owned();
        if !is_device_id(&terminal) {
            bail!(
                "'{terminal}' in {} is no terminal id: 1 to 64 letters, digits, '-', '_' or '.'",
                folder.join(TERMINAL_ID).display()
            );
        }
        Ok(Identity {
            terminal,
            folder: folder.to_owned(),
        })
    }

    /// File with the certificates that vouch for broker and file service.
    pub fn station_ca(&self) -> PathBuf {
        self.folder.join(STATION_CA)
    }

    /// The certificates in [`Identity::station_ca`].
    pub fn station_roots(&self) -> anyhow::Result<Roots> {
        let pem = read(&self.folder, STATION_CA)?;
        let path = self.station_ca();
        let context = || format!("{} holds no PEM certificates", path.display());
        let certificates = openssl::x509::X509::stack_from_pem(&pem).with_context(context)?;
        if certificates.is_empty() {
            bail!(context());
        }
        certificates
            .iter()
            .map(|certificate| Ok(Certificate::from_der(&certificate.to_der()?)?))
            .collect::<anyhow::Result<_>>()
            .map(Roots)
    }

    /// TLS to the broker: our certificate, the station's CA and no other, TLS 1.2 or later.
    pub fn connector(&self) -> anyhow::Result<TlsConnector> {
        let (certificate, key) = (read(&self.folder, CERTIFICATE)?, read(&self.folder, KEY)?);
        let identity = native_tls::Identity::from_pkcs8(&certificate, &key).with_context(|| {
            format!(
                "{CERTIFICATE} and {KEY} (PKCS#8) in {} cannot be used",
                self.folder.display()
            )
        })?;
        let mut builder = TlsConnector::builder();
        builder
            .disable_built_in_roots(true)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .identity(identity);
        for root in self.station_roots()?.0 {
            builder.add_root_certificate(root);
        }
        builder
            .build()
            .with_context(|| format!("no TLS with what is in {}", self.folder.display()))
    }
}

fn read(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(name);
    fs::read(&path).with_context(|| {
        format!(
            "cannot read {}: it is written at the factory (docs/operator-guide.md)",
            path.display()
        )
    })
}
