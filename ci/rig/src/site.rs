//! A site: broker, station, the proxy in front of its file service, and one terminal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dau_handoff::{JobResult, Layout, MNT};

use crate::broker::Broker;
use crate::mqtt::Client;
use crate::pki::{Identity, SitePki};
use crate::places::{Places, OLD};
use crate::port::free_port;
use crate::proxy::Proxy;
use crate::station::{JobView, Station};
use crate::terminal::{limit, Hardware, Mark, Terminal};

/// The id of the site's terminal.
pub const TERMINAL: &str = "DTU-0001";

/// Path of the example application's settings on a terminal: parameters that must survive.
pub const SETTINGS: &str = "/etc/dau-example/settings.toml";
/// Settings that an operator left on the terminal.
pub const SET_HERE: &str = "# Set on site\nstation_address = 47\n";

/// The agent's test settings (TOML), with short pauses.
pub const BRISK: &str = r#"
[mqtt]
backoff_min = 0.5
backoff_max = 3
heartbeat = 10
result_repeat_min = 2
result_repeat_max = 5
[download]
retry_min = 0.5
retry_max = 3
"#;

/// Differences from an ordinary site.
#[derive(Debug, Default)]
pub struct Options {
    /// The terminal's clock at every power-on; `None`: the right time.
    pub clock: Option<String>,
    /// Files to write to the root filesystem before the first start: path, content.
    pub settings: Vec<(&'static str, String)>,
    /// Settings of the agent (TOML) to add to [`BRISK`].
    pub agent: String,
    /// Makes the terminal's serial line noisy.
    pub noise: bool,
    /// The terminal reaches the broker by the proxy, too.
    pub one_link: bool,
    /// The broker's largest message, bytes; `None`: the project's own limit.
    pub broker_limit: Option<usize>,
}

/// A site.
#[derive(Debug)]
pub struct Site {
    /// Images and programs.
    pub places: Places,
    /// The folder of all of this site's files.
    pub folder: PathBuf,
    /// Keys of broker, station and terminal.
    pub pki: SitePki,
    /// The terminal's identity.
    pub identity: Identity,
    /// The broker.
    pub broker: Broker,
    /// The station.
    pub station: Station,
    /// The terminal's connection to the station's file service.
    pub proxy: Proxy,
    /// The same link, to the broker.
    _beside: Option<Proxy>,
    /// The terminal.
    pub terminal: Terminal,
}

impl Site {
    /// Makes keys and a disk in `folder`, and starts broker and station. The terminal stays off.
    pub fn new(places: &Places, folder: &Path, options: &Options) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let pki = SitePki::create(&folder.join("pki"))?;
        let broker = Broker::start(&pki, &folder.join("broker"), options.broker_limit)?;
        let https = free_port()?;
        let proxy = Proxy::to(https)?;
        let station = Station::start(
            places,
            &pki,
            &folder.join("station"),
            broker.port(),
            https,
            proxy.port(),
        )?;
        let beside = options.one_link.then(|| proxy.beside(broker.port()));
        let beside = beside.transpose()?;
        let identity = pki.identity(
            TERMINAL,
            beside.as_ref().map_or(broker.port(), Proxy::port),
            &format!("{BRISK}{}", options.agent),
        )?;
        let terminal = Terminal::new(
            &folder.join("terminal"),
            &places.image(OLD),
            &identity,
            Hardware {
                clock: options.clock.clone(),
                noise: options.noise,
                ..places.hardware()
            },
        )?;
        let rootfs = terminal.disk()?.ext4_in_place(dau_system::ROOTFS_LABEL)?;
        for (path, content) in &options.settings {
            rootfs.write(path, content.as_bytes(), "0100644")?;
        }
        Ok(Site {
            places: places.clone(),
            folder: folder.to_owned(),
            pki,
            identity,
            broker,
            station,
            proxy,
            _beside: beside,
            terminal,
        })
    }

    /// Switches the terminal on and waits until it has reported its OS version.
    pub fn start(&mut self) -> Result<()> {
        self.terminal.power_on()?;
        self.wait_for_version(OLD)
    }

    /// Waits until the terminal has reported this OS version to the station.
    pub fn wait_for_version(&mut self, version: &str) -> Result<()> {
        let terminal = (TERMINAL, &mut self.terminal);
        self.station
            .wait_for_version(terminal, version, limit::BOOT)
    }

    /// Returns an independent MQTT client.
    pub fn mqtt(&self) -> Client {
        Client::new(&self.pki, self.broker.port(), &self.folder)
    }

    /// Uploads a package of this version, orders it, and returns the job's id.
    pub fn order(&mut self, version: &str, kind: &str) -> Result<i64> {
        let package = self.station.upload(&self.places.package(version, kind))?;
        self.station.order(TERMINAL, package, kind)
    }

    /// Waits for a job's result at the station.
    pub fn wait_for_result(&mut self, job: i64) -> Result<JobView> {
        self.station.wait_for_result(&mut self.terminal, job)
    }

    /// Waits until the terminal has received the acknowledgement of its result.
    pub fn wait_for_acknowledgement(&mut self, job: i64) -> Result<()> {
        let path = Layout::new(Path::new(MNT)).job();
        let end = Instant::now() + limit::COMMAND;
        while Instant::now() < end {
            let command = format!("cat {} 2>/dev/null || true", path.display());
            let text = self.terminal.shell()?.run(&command)?;
            let pending = text.contains(&format!("\"id\": {job}"))
                && text.contains("\"acknowledged\": false");
            if !pending {
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        anyhow::bail!("the terminal was never told that the result of job {job} arrived")
    }

    /// Cuts the terminal's power; afterwards its disk can be read.
    pub fn power_cut(&mut self) {
        self.terminal.power_cut();
    }

    /// Waits for a line on the console after `mark`.
    pub fn wait_for_line(&mut self, mark: &mut Mark, text: &str) -> Result<String> {
        self.terminal.wait_for(mark, text, limit::JOB)
    }

    /// Returns a result from mnt; the terminal must be off.
    pub fn result_on_disk(&self, job: i64) -> Result<JobResult> {
        self.terminal.disk()?.handoff()?.result(job)
    }

    /// Returns the bytes of a package's payload, such as `kernel.itb`.
    pub fn payload(&self, version: &str, kind: &str, name: &str) -> Result<Vec<u8>> {
        crate::hostile::payload(&self.places.package(version, kind), name)
            .with_context(|| format!("{name} of the {kind} package of {version}"))
    }
}
