//! Broker and station of a terminal, from copies of what they kept: every cut terminal finds them as it left them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use dau_e2e::broker::Broker;
use dau_e2e::disk::Disk;
use dau_e2e::pki::SitePki;
use dau_e2e::places::Places;
use dau_e2e::process::{free_port, run, tool};
use dau_e2e::station::{JobView, Station};
use dau_e2e::terminal::{limit, Hardware, Service, Storage, Terminal};
use dau_e2e::wait;

/// Ports as terminals know them, whichever ports of this machine stand behind them.
pub const BROKER_PORT: u16 = 8883;
const FILES_PORT: u16 = 8443;
/// The one terminal's id.
pub const TERMINAL: &str = "DTU-0001";
/// By when the broker has saved what it knows.
const SAVED: Duration = Duration::from_secs(3);

/// Broker and station that run.
#[derive(Debug)]
pub struct Ground {
    folder: PathBuf,
    broker: Broker,
    /// The station.
    pub station: Station,
    services: Vec<Service>,
    u_boot: PathBuf,
}

impl Ground {
    /// Starts both on what they have kept in `folder`, or anew where that is empty.
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
        Ok(Ground {
            folder: folder.to_owned(),
            services: vec![
                service(BROKER_PORT, broker.port()),
                service(FILES_PORT, https),
            ],
            broker,
            station,
            u_boot: places.u_boot(),
        })
    }

    /// A terminal with this disk that reaches them.
    pub fn terminal(&self, folder: &Path, disk: Disk, storage: Storage) -> Result<Terminal> {
        Terminal::with_disk(folder, disk, self.hardware(storage))
    }

    /// What such a terminal is made of.
    pub fn hardware(&self, storage: Storage) -> Hardware {
        Hardware {
            storage,
            services: self.services.clone(),
            ..Hardware::new(self.u_boot.clone())
        }
    }

    /// Waits until the terminal has told the station that it runs this OS version.
    pub fn wait_for_version(&self, terminal: &mut Terminal, version: &str) -> Result<()> {
        let what = format!("EVENT_LINKUP with version {version} at the station");
        wait::asking(&what, limit::JOB, || {
            terminal.check()?;
            let known = self.station.terminal(TERMINAL)?;
            Ok(known
                .filter(|terminal| terminal.online && terminal.version == version)
                .map(drop))
        })
    }

    /// Waits for a job's result at the station.
    pub fn wait_for_result(&self, terminal: &mut Terminal, job: i64) -> Result<JobView> {
        wait::asking(&format!("the result of job {job}"), limit::JOB, || {
            terminal.check()?;
            Ok(Some(self.station.job(job)?).filter(|view| view.outcome.is_some()))
        })
    }

    /// Stops both, and copies what they have kept to `folder`.
    pub fn stop_and_keep(mut self, folder: &Path) -> Result<()> {
        std::thread::sleep(SAVED);
        self.station.kill();
        self.broker.kill();
        copy_folder(&self.folder, folder)
    }
}

/// Copies a folder; `to` is replaced.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("cannot empty {}", to.display()))?;
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    run(tool("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}
