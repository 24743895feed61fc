//! The terminal's id and TLS files, which the factory wrote to mnt.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context};
use dau_handoff::layout::identity::{CERTIFICATE, KEY, STATION_CA, TERMINAL_ID};
use dau_protocol::escaped;
use dau_protocol::topic::is_device_id;
use native_tls::{Certificate, Protocol, TlsConnector, TlsConnectorBuilder};
use openssl::nid::Nid;
use openssl::x509::X509;

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

    /// Returns TLS for the broker, with our certificate, the station's CA and no other. The files
    /// are read for each connection, since all of them may be renewed on mnt.
    pub fn mqtt(&self) -> anyhow::Result<TlsConnector> {
        let (certificate, key) = (read(&self.folder, CERTIFICATE)?, read(&self.folder, KEY)?);
        let identity = native_tls::Identity::from_pkcs8(&certificate, &key).with_context(|| {
            format!(
                "{CERTIFICATE} and {KEY} (PKCS#8) in {} cannot be used: put a certificate and the key \
                 that belongs to it there",
                self.folder.display()
            )
        })?;
        if let Some(complaint) = other_name(&self.terminal, &common_name(&certificate)) {
            log::error!("{complaint}");
        }
        let mut builder = self.builder()?;
        builder.identity(identity);
        self.build(&builder)
    }

    /// Returns TLS for the file service, with the station's CA and no other, read for each
    /// connection.
    pub fn https(&self) -> anyhow::Result<TlsConnector> {
        self.build(&self.builder()?)
    }

    fn builder(&self) -> anyhow::Result<TlsConnectorBuilder> {
        let pem = read(&self.folder, STATION_CA)?;
        let path = self.folder.join(STATION_CA);
        let context = || format!("{} holds no PEM certificates", path.display());
        let roots = X509::stack_from_pem(&pem).with_context(context)?;
        if roots.is_empty() {
            bail!(context());
        }
        let mut builder = TlsConnector::builder();
        builder
            .disable_built_in_roots(true)
            .min_protocol_version(Some(Protocol::Tlsv12));
        for root in &roots {
            builder.add_root_certificate(Certificate::from_der(&root.to_der()?)?);
        }
        Ok(builder)
    }

    fn build(&self, builder: &TlsConnectorBuilder) -> anyhow::Result<TlsConnector> {
        let folder = self.folder.display();
        builder
            .build()
            .with_context(|| format!("no TLS with what is in {folder}"))
    }
}

/// Returns the CN of the first certificate, which brokers take for the terminal's name.
fn common_name(pem: &[u8]) -> Option<String> {
    let certificate = X509::from_pem(pem).ok()?;
    let entry = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()?;
    entry.data().to_string().ok()
}

/// Returns a complaint where the certificate is another terminal's.
fn other_name(terminal: &str, common_name: &Option<String>) -> Option<String> {
    let named = match common_name {
        Some(name) if name == terminal => return None,
        Some(name) => format!("names '{}'", escaped(name)),
        None => "has no common name (CN)".to_owned(),
    };
    Some(format!(
        "{TERMINAL_ID} says '{terminal}', but {CERTIFICATE} {named}: the broker will keep this terminal \
         from its topics; put the certificate of '{terminal}' on mnt, or correct {TERMINAL_ID}"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_another_name_is_told_with_both_names() {
        assert_eq!(other_name("T-1", &Some("T-1".into())), None);
        for name in [Some("T-2"), Some("t-1"), Some("T-1 "), None] {
            let complaint = other_name("T-1", &name.map(str::to_owned)).unwrap();
            assert!(complaint.contains("'T-1'"), "{complaint}");
            assert!(
                complaint.contains(name.unwrap_or("no common name")),
                "{complaint}"
            );
        }
        let hostile = other_name("T-1", &Some("T-1\n\x1b[2J".into())).unwrap();
        assert!(!hostile.contains(['\n', '\x1b']), "{hostile}");
    }
}
