//! The development PKI: all keys for a demo, a test bench or a first installation, in one folder.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dau_protocol::topic::is_device_id;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::certificate::{generate_key, issue, Issuer, Role, Template};
use super::MakeError;
use crate::Algorithm;

/// 2020-01-01: before the time of anything that a development key will sign, as SOURCE_DATE_EPOCH
/// dates packages back to their sources, and before the lower bound of any terminal's clock.
const NOT_BEFORE: i64 = 1_577_836_800;
/// 2060-01-01: terminals stay in the field for decades.
const NOT_AFTER: i64 = 2_840_140_800;
/// Key type of TLS, supported by every TLS library.
const TLS_ALGORITHM: Algorithm = Algorithm::EcdsaP256Sha256;

/// Common name by which the broker knows the station.
const STATION: &str = "station";

/// The contents of a PKI.
#[derive(Debug, Clone)]
pub struct PkiOptions {
    /// Key type of root, intermediate and signer of packages.
    pub algorithm: Algorithm,
    /// Names and addresses by which terminals reach station and broker.
    pub station_names: Vec<String>,
    /// Ids of terminals that get a client certificate.
    pub terminals: Vec<String>,
}

impl Default for PkiOptions {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Ed25519,
            // 10.0.2.2 is the host in QEMU's user network.
            station_names: ["localhost", "127.0.0.1", "10.0.2.2", "station"]
                .map(str::to_owned)
                .to_vec(),
            terminals: Vec::new(),
        }
    }
}

/// A folder with the development PKI.
///
/// | path | what |
/// | --- | --- |
/// | `keyring/root.pem` | keyring for terminals, station and packager |
/// | `package/{root,intermediate}.{key,pem}` | authorities of packages |
/// | `package/signer.key`, `package/signer.pem` | signer of packages; the `.pem` is its chain without the root |
/// | `tls/ca.{key,pem}` | authority of everything below |
/// | `tls/station.{key,pem}` | the station's HTTPS server |
/// | `tls/broker.{key,pem}` | the MQTT broker's server |
/// | `tls/station-mqtt.{key,pem}` | the station as MQTT client, common name `station` |
/// | `tls/terminals/ID.{key,pem}` | a terminal as MQTT client, common name ID |
///
/// Keys are PKCS#8 in PEM, readable by their owner alone. No existing file is overwritten.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes a PKI in `dir`, which must be empty or not exist.
    pub fn create(dir: &Path, options: &PkiOptions) -> Result<Self, MakeError> {
        let occupied = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(_) => false,
        };
        if occupied {
            return Err(MakeError::input(
                dir,
                "not empty: name a new folder, keys are never overwritten",
            ));
        }
        let pki = Self {
            dir: dir.to_owned(),
        };
        for folder in ["keyring", "package", "tls/terminals"] {
            make_folder(&dir.join(folder))?;
        }
        pki.create_package_chain(options.algorithm)?;
        pki.create_tls(&options.station_names)?;
        for id in &options.terminals {
            pki.add_terminal(id)?;
        }
        Ok(pki)
    }

    /// Opens a PKI that [`Pki::create`] made.
    pub fn open(dir: &Path) -> Result<Self, MakeError> {
        let pki = Self {
            dir: dir.to_owned(),
        };
        if !pki.file("tls/ca", "key").exists() {
            return Err(MakeError::input(
                dir,
                "not a PKI: make one with dau-packager keygen --out",
            ));
        }
        Ok(pki)
    }

    /// Returns the keyring, for [`crate::Keyring::load`].
    pub fn keyring(&self) -> PathBuf {
        self.dir.join("keyring")
    }

    /// Returns the private key of the package signer.
    pub fn signer_key(&self) -> PathBuf {
        self.file("package/signer", "key")
    }

    /// Returns the chain of the package signer: certificate and intermediate.
    pub fn signer_chain(&self) -> PathBuf {
        self.file("package/signer", "pem")
    }

    /// Returns the authority of station, broker and terminals.
    pub fn tls_ca(&self) -> PathBuf {
        self.file("tls/ca", "pem")
    }

    /// Returns certificate and key of a party: `station`, `broker`, `station-mqtt`, `terminals/ID`.
    pub fn tls_identity(&self, party: &str) -> (PathBuf, PathBuf) {
        let stem = format!("tls/{party}");
        (self.file(&stem, "pem"), self.file(&stem, "key"))
    }

    /// Makes the client certificate of another terminal.
    pub fn add_terminal(&self, id: &str) -> Result<(), MakeError> {
        if !is_device_id(id) {
            return Err(MakeError::input(
                Path::new(id),
                "a terminal's id is 1 to 64 letters, digits, '-', '_' or '.', and not '.' or '..'",
            ));
        }
        if id == STATION {
            return Err(MakeError::input(
                Path::new(id),
                "no terminal can be called so: the broker would take it for the station",
            ));
        }
        self.create_tls_party(&format!("terminals/{id}"), id, Role::Client)
    }

    fn create_package_chain(&self, algorithm: Algorithm) -> Result<(), MakeError> {
        let make = |stem: &str, common_name: &str, role: Role, issuer: Option<&Issuer>| {
            let key = generate_key(algorithm)?;
            let certificate = issue(&template(common_name, role), &key, issuer)?;
            write_secret(&self.file(stem, "key"), &key)?;
            Ok::<_, MakeError>(Issuer { certificate, key })
        };
        let authority = Role::Authority;
        let root = make(
            "package/root",
            "dau development package root",
            authority.clone(),
            None,
        )?;
        write_chain(&self.file("package/root", "pem"), &[&root.certificate])?;
        write_chain(&self.keyring().join("root.pem"), &[&root.certificate])?;
        let name = "dau development package intermediate";
        let intermediate = make("package/intermediate", name, authority, Some(&root))?;
        let pem = self.file("package/intermediate", "pem");
        write_chain(&pem, &[&intermediate.certificate])?;
        let name = "dau development package signer";
        let signer = make(
            "package/signer",
            name,
            Role::CodeSigning,
            Some(&intermediate),
        )?;
        let chain = [&signer.certificate, &intermediate.certificate];
        write_chain(&self.signer_chain(), &chain)
    }

    fn create_tls(&self, station_names: &[String]) -> Result<(), MakeError> {
        let key = generate_key(TLS_ALGORITHM)?;
        let certificate = issue(
            &template("dau development TLS CA", Role::Authority),
            &key,
            None,
        )?;
        write_secret(&self.file("tls/ca", "key"), &key)?;
        write_chain(&self.tls_ca(), &[&certificate])?;
        let server = || Role::Server(station_names.to_vec());
        self.create_tls_party("station", "station", server())?;
        self.create_tls_party("broker", "broker", server())?;
        self.create_tls_party("station-mqtt", STATION, Role::Client)
    }

    fn create_tls_party(&self, party: &str, name: &str, role: Role) -> Result<(), MakeError> {
        let authority = self.tls_authority()?;
        let key = generate_key(TLS_ALGORITHM)?;
        let certificate = issue(&template(name, role), &key, Some(&authority))?;
        let (pem_path, key_path) = self.tls_identity(party);
        write_secret(&key_path, &key)?;
        write_chain(&pem_path, &[&certificate])
    }

    fn tls_authority(&self) -> Result<Issuer, MakeError> {
        let (pem_path, key_path) = self.tls_identity("ca");
        let pem = fs::read(&pem_path).map_err(MakeError::io(&pem_path))?;
        let key = fs::read(&key_path).map_err(MakeError::io(&key_path))?;
        Ok(Issuer {
            certificate: X509::from_pem(&pem)?,
            key: PKey::private_key_from_pem(&key)?,
        })
    }

    fn file(&self, stem: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{stem}.{extension}"))
    }
}

fn template(common_name: &str, role: Role) -> Template<'_> {
    Template {
        common_name,
        role,
        not_before: NOT_BEFORE,
        not_after: NOT_AFTER,
    }
}

fn make_folder(path: &Path) -> Result<(), MakeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(MakeError::io(path))
}

fn write_secret(path: &Path, key: &PKey<Private>) -> Result<(), MakeError> {
    write_new(path, 0o600, &key.private_key_to_pem_pkcs8()?)
}

fn write_chain(path: &Path, chain: &[&X509]) -> Result<(), MakeError> {
    let mut pem = Vec::new();
    for certificate in chain {
        pem.extend(certificate.to_pem()?);
    }
    write_new(path, 0o644, &pem)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), MakeError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(MakeError::io(path))
}
