//! Broker and station, started from copies of their data, so that every cut terminal finds them as
//! it left them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use dau_rig::broker::Broker;
use dau_rig::disk::Disk;
use dau_rig::pki::SitePki;
use dau_rig::places::Places;
use dau_rig::port::free_port;
use dau_rig::process::{run, tool};
use dau_rig::station::Station;
use dau_rig::terminal::{Hardware, Service, Storage, Terminal};

/// The broker's port as terminals see it; the port on this machine is another.
pub const BROKER_PORT: u16 = 8883;
/// The port of the station's file service as terminals see it.
const FILES_PORT: u16 = 8443;
/// Time after which the broker has saved its state.
const SAVED: Duration = Duration::from_secs(3);

/// A running broker and a running station.
#[derive(Debug)]
pub struct Backend {
    folder: PathBuf,
    broker: Broker,
    /// The station.
    pub station: Station,
    services: Vec<Service>,
    hardware: Hardware,
}

impl Backend {
    /// Starts both from their data in `folder`; an empty folder starts them anew.
    pub fn start(places: &Places, pki: &SitePki, folder: &Path) -> Result<Self> {
        let broker = Broker::start(pki, &folder.join("broker"), None)?;
        let https = free_port()?;
        let station = Station::start(
            places,
            pki,
            &folder.join("station"),
            broker.port(),
            https,
            FILES_PORT,
        )?;
        let program = std::env::current_exe()?;
        let service = |port, leads_to: u16| Service {
            port,
            command: format!("{} relay {leads_to}", program.display()),
        };
        Ok(Backend {
            folder: folder.to_owned(),
            services: vec![
                service(BROKER_PORT, broker.port()),
                service(FILES_PORT, https),
            ],
            broker,
            station,
            hardware: places.hardware(),
        })
    }

    /// Returns a terminal with this disk that reaches broker and station.
    pub fn terminal(&self, folder: &Path, disk: Disk, storage: Storage) -> Result<Terminal> {
        Terminal::with_disk(folder, disk, self.hardware(storage))
    }

    /// Returns hardware whose network leads to broker and station.
    pub fn hardware(&self, storage: Storage) -> Hardware {
        Hardware {
            storage,
            services: self.services.clone(),
            ..self.hardware.clone()
        }
    }

    /// Stops both, and copies their data to `folder`.
    pub fn stop_and_keep(mut self, folder: &Path) -> Result<()> {
        std::thread::sleep(SAVED);
        self.station.kill();
        self.broker.kill();
        copy_folder(&self.folder, folder)
    }
}

/// Copies a folder over `to`.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("cannot empty {}", to.display()))?;
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    run(tool("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}
