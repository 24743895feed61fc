//! A site: broker, station, the line to them, and one terminal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dau_handoff::JobResult;

use crate::broker::Broker;
use crate::link::Link;
use crate::mqtt::Client;
use crate::pki::{Identity, SitePki};
use crate::places::{Places, OLD};
use crate::process::free_port;
use crate::station::{JobView, Station};
use crate::terminal::{limit, Hardware, Mark, Terminal};
use crate::wait;

/// The one terminal's id.
pub const TERMINAL: &str = "DTU-0001";

/// Pauses of the agent for tests: those of the field would make each of them last for minutes.
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

/// What is particular to a site.
#[derive(Debug, Default)]
pub struct Options {
    /// What the terminal's clock says at every power-on; `None`: the right time.
    pub clock: Option<String>,
    /// Files on the root filesystem that are changed before the first start: path, content.
    pub settings: Vec<(&'static str, String)>,
    /// What the agent is set to (TOML) besides the tests' own.
    pub agent: String,
    /// Largest message that the broker passes on, where it is not the project's own limit.
    pub broker_limit: Option<usize>,
}

/// A site.
#[derive(Debug)]
pub struct Site {
    pub places: Places,
    pub folder: PathBuf,
    pub pki: SitePki,
    pub identity: Identity,
    /// `None` while killed.
    pub broker: Broker,
    pub station: Station,
    /// The line to the station's file service.
    pub link: Link,
    pub terminal: Terminal,
}

impl Site {
    /// Everything is there and broker and station run; the terminal has no power yet.
    pub fn new(places: &Places, folder: &Path, options: &Options) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let pki = SitePki::create(&folder.join("pki"))?;
        let broker = Broker::start(&pki, &folder.join("broker"), options.broker_limit)?;
        let https = free_port()?;
        let link = Link::to(https)?;
        let station = Station::start(
            places,
            &pki,
            &folder.join("station"),
            broker.port(),
            https,
            link.port(),
        )?;
        let identity = pki.identity(
            TERMINAL,
            broker.port(),
            &format!("{BRISK}{}", options.agent),
        )?;
        let terminal = Terminal::new(
            &folder.join("terminal"),
            &places.image(OLD),
            &identity,
            Hardware {
                clock: options.clock.clone(),
                ..Hardware::new(places.u_boot())
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
            link,
            terminal,
        })
    }

    /// Switches the terminal on and waits until the station knows what it runs.
    pub fn start(&mut self) -> Result<()> {
        self.terminal.power_on()?;
        self.wait_for_version(OLD)
    }

    /// Waits until the terminal has told the station that it runs this OS version.
    pub fn wait_for_version(&mut self, version: &str) -> Result<()> {
        let what = format!("EVENT_LINKUP with version {version} at the station");
        wait::asking(&what, limit::BOOT, || {
            self.terminal.check()?;
            let known = self.station.terminal(TERMINAL)?;
            Ok(known
                .filter(|terminal| terminal.online && terminal.version == version)
                .map(drop))
        })
    }

    /// An MQTT client that is none of ours.
    pub fn mqtt(&self) -> Client {
        Client::new(&self.pki, self.broker.port(), &self.folder)
    }

    /// Uploads a package of the new version and orders it; the job's id.
    pub fn order(&mut self, version: &str, kind: &str) -> Result<i64> {
        let package = self.station.upload(&self.places.package(version, kind))?;
        self.station.order(TERMINAL, package, kind)
    }

    /// Waits for a job's result at the station.
    pub fn wait_for_result(&mut self, job: i64) -> Result<JobView> {
        let station = &mut self.station;
        let terminal = &mut self.terminal;
        wait::asking(
            &format!("the result of job {job} at the station"),
            limit::JOB,
            || {
                terminal.check()?;
                station.check()?;
                Ok(Some(station.job(job)?).filter(|view| view.outcome.is_some()))
            },
        )
    }

    /// Waits until the terminal has been told that its result arrived: until then it repeats it.
    pub fn wait_for_acknowledgement(&mut self, job: i64) -> Result<()> {
        let end = Instant::now() + limit::COMMAND;
        while Instant::now() < end {
            let text = self
                .terminal
                .shell()?
                .run("cat /mnt/dau/job.json 2>/dev/null || true")?;
            let pending = text.contains(&format!("\"id\": {job}"))
                && text.contains("\"acknowledged\": false");
            if !pending {
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        anyhow::bail!("the terminal was never told that the result of job {job} arrived")
    }

    /// The power goes; afterwards the disk can be looked at.
    pub fn power_cut(&mut self) {
        self.terminal.power_cut();
    }

    /// Waits for a line on the console after `mark`.
    pub fn wait_for_line(&mut self, mark: &mut Mark, text: &str) -> Result<String> {
        self.terminal.wait_for(mark, text, limit::JOB)
    }

    /// A result as it stands on mnt; the terminal has no power.
    pub fn result_on_disk(&self, job: i64) -> Result<JobResult> {
        self.terminal.disk()?.handoff()?.result(job)
    }

    /// Fails unless the station has taken exactly one result for the job.
    pub fn exactly_one_result(&mut self, job: i64) -> Result<()> {
        let events = self.station.events(job)?;
        let results = events.iter().filter(|kind| *kind == "result").count();
        ensure!(
            results == 1,
            "the station recorded {results} results of job {job}: {events:?}"
        );
        Ok(())
    }

    /// The bytes of a package's payload, such as `kernel.itb`.
    pub fn payload(&self, version: &str, kind: &str, name: &str) -> Result<Vec<u8>> {
        crate::hostile::payload(&self.places.package(version, kind), name)
            .with_context(|| format!("{name} of the {kind} package of {version}"))
    }
}
