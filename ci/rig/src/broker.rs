//! The MQTT broker: Debian's mosquitto with the project's configuration and two more clients, by
//! which tests read every message and send forged ones.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::pki::{SitePki, SPEAKER, WATCHER};
use crate::places::repository;
use crate::port::free_port;
use crate::process::Process;
use crate::wait;

/// Common name in the station's client certificate.
const STATION: &str = "station";

/// A broker of one site.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

/// What a broker is started with.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The largest message in bytes; `None`: the project's own limit.
    pub limit: Option<usize>,
    /// Names of clients that may read and publish everything, too.
    pub clients: &'a [String],
    /// Seconds between two times that it writes what it has queued; `dau-station init` sets 30.
    pub autosave: u32,
}

impl Broker {
    /// Writes the configuration into `folder` and starts the broker on a free port. `limit`: the
    /// largest message in bytes; `None`: the project's own limit.
    pub fn start(pki: &SitePki, folder: &Path, limit: Option<usize>) -> Result<Self> {
        let setup = Setup {
            limit,
            clients: &[],
            autosave: 1,
        };
        Self::start_as(&setup, pki, folder)
    }

    /// Does the same as [`Broker::start`], set up as told.
    pub fn start_as(setup: &Setup<'_>, pki: &SitePki, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let (certificate, key) = pki.party("broker");
        fs::create_dir_all(folder.join("broker"))?;
        let user =
            nix::unistd::User::from_uid(nix::unistd::getuid())?.context("this user has a name")?;
        let limit = setup.limit.unwrap_or(dau_protocol::MAX_MESSAGE);
        let head = dau_protocol::MAX_PACKET - dau_protocol::MAX_MESSAGE;
        let fill = [
            ("@PORT@", port.to_string()),
            ("@CA@", pki.ca().display().to_string()),
            ("@CERTIFICATE@", certificate.display().to_string()),
            ("@KEY@", key.display().to_string()),
            ("@DIR@", folder.display().to_string()),
            ("@BROKER@", folder.join("broker").display().to_string()),
            ("@MESSAGE_LIMIT@", limit.to_string()),
            ("@PACKET_LIMIT@", (limit + head).to_string()),
            ("@USER@", user.name),
            ("@AUTOSAVE@", setup.autosave.to_string()),
            ("@STATION@", STATION.to_owned()),
        ];
        for name in ["mosquitto.conf", "acl"] {
            let template = repository().join("station/mosquitto").join(name);
            let mut text = fs::read_to_string(&template)
                .with_context(|| format!("cannot read {}", template.display()))?;
            for (word, value) in &fill {
                text = text.replace(word, value);
            }
            if name == "acl" {
                text += &format!(
                    "\nuser {WATCHER}\ntopic read /v1/#\n\nuser {SPEAKER}\ntopic write /v1/#\n"
                );
                for client in setup.clients {
                    text += &format!("\nuser {client}\ntopic readwrite /v1/#\n");
                }
            }
            fs::write(folder.join(name), text)?;
        }
        let mut broker = Broker {
            folder: folder.to_owned(),
            port,
            process: None,
        };
        broker.start_again()?;
        Ok(broker)
    }

    /// Returns the TLS port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills the broker by SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the broker again on its data, and waits until it listens.
    pub fn start_again(&mut self) -> Result<()> {
        let config = self.folder.join("mosquitto.conf");
        let args = ["-c".as_ref(), config.as_os_str()] as [&OsStr; 2];
        let log = self.folder.join("mosquitto.log");
        let mut process = Process::start("mosquitto", Path::new("mosquitto"), &args, &log)?;
        let port = self.port;
        wait::until("the broker's port", Duration::from_secs(20), || {
            process.check()?;
            Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
        })?;
        self.process = Some(process);
        Ok(())
    }
}
