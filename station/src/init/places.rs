//! The places of a new station's files, and their readers.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{chown, DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use nix::unistd::{geteuid, User};

use super::Args;

/// The files of `--pki` that station and broker need; of the keys, whose they are.
const PKI: [(&str, Option<Party>); 7] = [
    ("tls/ca.pem", None),
    ("tls/station.pem", None),
    ("tls/station.key", Some(Party::Station)),
    ("tls/station-mqtt.pem", None),
    ("tls/station-mqtt.key", Some(Party::Station)),
    ("tls/broker.pem", None),
    ("tls/broker.key", Some(Party::Broker)),
];

/// The reader of a protected file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// The user that the station runs as.
    Station,
    /// The user that the broker runs as.
    Broker,
    /// The calling user.
    Caller,
}

/// The folders of a new station.
#[derive(Debug)]
pub struct Places {
    /// Configuration.
    pub dir: PathBuf,
    /// Keys and certificates.
    pub pki: PathBuf,
    /// The station's `data_dir`, as written into its configuration.
    pub data: PathBuf,
    /// Data of the broker.
    pub broker: PathBuf,
    /// Users of station and broker on a system-wide station; else everything belongs to the caller.
    users: Option<(User, User)>,
    /// The broker's user.
    pub broker_user: String,
}

impl Places {
    /// Chooses and makes the folders. Below /etc the station is system-wide: as its unit
    /// (dist/dau-station.service) demands, data go to /var/lib, separate users can read only what
    /// they need, and keys are copied to where those users can read them.
    pub fn make(args: &Args) -> Result<Self> {
        let source = fs::canonicalize(&args.pki)
            .with_context(|| format!("--pki: cannot read {}", args.pki.display()))?;
        for name in PKI.iter().map(|(name, _)| *name).chain(["keyring"]) {
            let path = source.join(name);
            let shown = path.display();
            ensure!(
                path.exists(),
                "--pki: {shown} is missing; 'dau-packager keygen' makes it"
            );
        }
        fs::create_dir_all(&args.dir)
            .with_context(|| format!("--dir: cannot make {}", args.dir.display()))?;
        let dir = fs::canonicalize(&args.dir)?;
        let caller = User::from_uid(geteuid())?.context("who calls has no name")?;
        if !dir.starts_with("/etc") {
            let places = Places {
                pki: source,
                data: PathBuf::from("data"),
                broker: dir.join("broker"),
                users: None,
                broker_user: args.broker_user.clone().unwrap_or(caller.name),
                dir,
            };
            fs::create_dir_all(places.dir.join("data"))?;
            fs::create_dir_all(&places.broker)?;
            return Ok(places);
        }
        let station = user("--user", args.user.as_deref().unwrap_or("dau-station"))?;
        let broker = user(
            "--broker-user",
            args.broker_user.as_deref().unwrap_or("mosquitto"),
        )?;
        let places = Places {
            pki: dir.join("pki"),
            data: PathBuf::from("/var/lib/dau-station"),
            broker: PathBuf::from("/var/lib/mosquitto/dau-station"),
            broker_user: broker.name.clone(),
            users: Some((station, broker)),
            dir,
        };
        places.folder(&places.data, Party::Station)?;
        places.folder(&places.broker, Party::Broker)?;
        places.copy(&source)?;
        Ok(places)
    }

    fn folder(&self, path: &Path, owner: Party) -> Result<()> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .with_context(|| format!("cannot make {shown}"))?;
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        if let Some(user) = self.user(owner) {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot give {shown} to {}", user.name))?;
        }
        Ok(())
    }

    fn copy(&self, source: &Path) -> Result<()> {
        fs::create_dir_all(self.pki.join("tls"))?;
        for (name, reader) in PKI {
            let content = fs::read(source.join(name))?;
            self.write(&self.pki.join(name), reader, &content)?;
        }
        fs::create_dir_all(self.pki.join("keyring"))?;
        for entry in fs::read_dir(source.join("keyring"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let path = self.pki.join("keyring").join(entry.file_name());
                self.write(&path, None, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    /// Writes a new file, readable by everybody or by one reader.
    pub fn write(&self, path: &Path, reader: Option<Party>, content: &[u8]) -> Result<()> {
        let mode = match reader {
            Some(_) => 0o600,
            None => 0o644,
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .and_then(|mut file| file.write_all(content))
            .with_context(|| format!("cannot write {}: it must not exist yet", path.display()))?;
        let Some(user) = reader.and_then(|reader| self.user(reader)) else {
            return Ok(());
        };
        // mosquitto trusts an acl only if it owns it; the station need not change the files it
        // reads.
        let (owner, mode) = match reader {
            Some(Party::Broker) => (Some(user.uid.as_raw()), 0o600),
            _ => (None, 0o640),
        };
        chown(path, owner, Some(user.gid.as_raw()))
            .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(())
    }

    fn user(&self, party: Party) -> Option<&User> {
        let (station, broker) = self.users.as_ref()?;
        match party {
            Party::Station => Some(station),
            Party::Broker => Some(broker),
            Party::Caller => None,
        }
    }
}

fn user(option: &str, name: &str) -> Result<User> {
    User::from_name(name)?.with_context(|| {
        format!(
            "{option}: there is no user '{name}' here; make one with 'useradd --system --home-dir \
             /var/lib/{name} --shell /usr/sbin/nologin {name}', or name another"
        )
    })
}
