//! The keys of one site: TLS of station, broker and terminals, new for every site. Package signers
//! come with the images.

use std::path::{Path, PathBuf};

use anyhow::Result;
use dau_handoff::layout::identity::{CERTIFICATE, KEY, SETTINGS, STATION_CA, TERMINAL_ID};
use dau_package::make::{Pki, PkiOptions};

/// Common name of the test client that may read everything.
pub const WATCHER: &str = "e2e-watcher";
/// Common name of the test client that may publish everything.
pub const SPEAKER: &str = "e2e-speaker";
/// This machine's address for terminals in QEMU's user network.
pub const STATION_HOST: &str = "10.0.2.2";

/// Keys of one site.
#[derive(Debug)]
pub struct SitePki {
    folder: PathBuf,
    pki: Pki,
}

/// A terminal's identity as made at the factory: a folder for `factory/provision`.
#[derive(Debug, Clone)]
pub struct Identity {
    id: String,
    folder: PathBuf,
}

impl SitePki {
    /// Makes new keys in the new folder `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        let options = PkiOptions {
            terminals: vec![WATCHER.to_owned(), SPEAKER.to_owned()],
            ..PkiOptions::default()
        };
        Ok(SitePki {
            folder: folder.to_owned(),
            pki: Pki::create(folder, &options)?,
        })
    }

    /// Opens the keys that [`SitePki::create`] made in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(SitePki {
            folder: folder.to_owned(),
            pki: Pki::open(folder)?,
        })
    }

    /// Returns the certificate authority of station and broker.
    pub fn ca(&self) -> PathBuf {
        self.pki.tls_ca()
    }

    /// Returns certificate and key of `station`, `broker` or `station-mqtt`.
    pub fn party(&self, party: &str) -> (PathBuf, PathBuf) {
        self.pki.tls_identity(party)
    }

    /// Returns certificate and key of an MQTT client with this common name.
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.pki.tls_identity(&format!("terminals/{name}"))
    }

    /// Makes certificate and key of another MQTT client.
    pub fn add_client(&self, name: &str) -> Result<()> {
        Ok(self.pki.add_terminal(name)?)
    }

    /// Returns a package signer unknown to all terminals: a PKI with keyring, key and chain.
    pub fn stranger(&self) -> &Pki {
        &self.pki
    }

    /// Makes a terminal's identity. Its agent reaches the broker at `broker_port`; `settings` is
    /// TOML added to its configuration.
    pub fn identity(&self, id: &str, broker_port: u16, settings: &str) -> Result<Identity> {
        self.pki.add_terminal(id)?;
        let (certificate, key) = self.client(id);
        let folder = self.folder.join(format!("identity-{id}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(TERMINAL_ID), format!("{id}\n"))?;
        std::fs::copy(key, folder.join(KEY))?;
        std::fs::copy(certificate, folder.join(CERTIFICATE))?;
        std::fs::copy(self.ca(), folder.join(STATION_CA))?;
        let station = format!("[station]\nhost = \"{STATION_HOST}\"\nport = {broker_port}\n");
        std::fs::write(folder.join(SETTINGS), station + settings)?;
        Ok(Identity {
            id: id.to_owned(),
            folder,
        })
    }
}

impl Identity {
    /// Returns the terminal's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the folder with the identity's files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
