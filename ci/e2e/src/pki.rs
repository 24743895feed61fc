//! Keys of one site: TLS of station, broker and terminals, made anew for every site. Package signers are those of the
//! images.

use std::path::{Path, PathBuf};

use anyhow::Result;
use dau_package::make::{Pki, PkiOptions};

use crate::broker::{SPEAKER, WATCHER};

/// How a terminal reaches this machine in QEMU's user network.
pub const STATION_HOST: &str = "10.0.2.2";

/// Keys of one site.
#[derive(Debug)]
pub struct SitePki {
    folder: PathBuf,
    pki: Pki,
}

/// What a terminal gets at the factory: a folder for `factory/provision`.
#[derive(Debug, Clone)]
pub struct Identity {
    id: String,
    folder: PathBuf,
}

impl SitePki {
    /// New keys in `folder`, which does not exist yet.
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

    /// The keys that [`SitePki::create`] made in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(SitePki {
            folder: folder.to_owned(),
            pki: Pki::open(folder)?,
        })
    }

    /// Certificate authority of station and broker.
    pub fn ca(&self) -> PathBuf {
        self.pki.tls_ca()
    }

    /// Certificate and key of `station`, `broker` or `station-mqtt`.
    pub fn party(&self, party: &str) -> (PathBuf, PathBuf) {
        self.pki.tls_identity(party)
    }

    /// Certificate and key of an MQTT client with this common name.
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.pki.tls_identity(&format!("terminals/{name}"))
    }

    /// A package signer that no terminal knows: its keyring, key and chain are in this PKI.
    pub fn stranger(&self) -> &Pki {
        &self.pki
    }

    /// A terminal's identity; its agent reaches the broker at `broker_port` and is set as `settings` (TOML) says besides.
    pub fn identity(&self, id: &str, broker_port: u16, settings: &str) -> Result<Identity> {
        self.pki.add_terminal(id)?;
        let (certificate, key) = self.client(id);
        let folder = self.folder.join(format!("identity-{id}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("terminal-id"), format!("{id}\n"))?;
        std::fs::copy(key, folder.join("key.pem"))?;
        std::fs::copy(certificate, folder.join("cert.pem"))?;
        std::fs::copy(self.ca(), folder.join("station-ca.pem"))?;
        let station = format!("[station]\nhost = \"{STATION_HOST}\"\nport = {broker_port}\n");
        std::fs::write(folder.join("agent.toml"), station + settings)?;
        Ok(Identity {
            id: id.to_owned(),
            folder,
        })
    }
}

impl Identity {
    /// The terminal's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
