//! The station: `dau-station serve` as a process, and a REST client of it.

mod intrusion;
mod rest;
mod views;
mod waits;

pub use views::{JobView, TerminalView};

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use openssl::sha::sha256;
use serde_json::{json, Value};

use dau_model::hex;

use crate::pki::{SitePki, STATION_HOST};
use crate::places::Places;
use crate::process::Process;
use crate::terminal::limit;
use crate::wait;

use rest::{Rest, PATIENCE};

/// This client's name in the station's audit record.
const HOLDER: &str = "e2e";

/// The station of one site.
#[derive(Debug)]
pub struct Station {
    program: PathBuf,
    folder: PathBuf,
    rest: Rest,
    process: Option<Process>,
}

/// Keeps OpenSSL from reading the system's certificates for every connection of this process and
/// its children: they are not needed here, and cost 40 % of a processor during power cuts (perf).
/// Call before starting threads.
pub fn trust_the_site_alone() {
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        std::env::set_var(name, "/dev/null");
    }
}

/// What a station is started with.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// `dau-station`.
    pub program: PathBuf,
    /// Roots of the signers of packages.
    pub keyring: PathBuf,
    /// Sections of its configuration (TOML) beside `https`, `mqtt` and `api`.
    pub settings: &'a str,
    /// Its name among several stations, of which it has a client certificate, too; `None`: it is alone.
    pub name: Option<&'a str>,
    /// Port of the broker.
    pub broker_port: u16,
    /// Port of its HTTPS service.
    pub port: u16,
    /// The port by which terminals reach that service.
    pub public_port: u16,
}

/// Short pauses.
const BRISK: &str = "[downloads]\nretry_after_seconds = 1\n\
    [jobs]\nresend_seconds = 5\nquery_seconds = 30\nbusy_seconds = 2\n";

impl Station {
    /// Writes the configuration into `folder` and starts the station. Its file service listens on
    /// `port`; terminals use `public_port`.
    pub fn start(
        places: &Places,
        pki: &SitePki,
        folder: &Path,
        broker_port: u16,
        port: u16,
        public_port: u16,
    ) -> Result<Self> {
        let package = places.pki().join("package");
        // It signs deltas as an operator's command would.
        let settings = format!(
            "{BRISK}[deltas]\nsigner = \"{signer}\"\nsign_command = 'cat > \"$TMPDIR/message\"; \
             openssl pkeyutl -sign -rawin -inkey \"{key}\" -in \"$TMPDIR/message\"'\n",
            signer = package.join("signer.pem").display(),
            key = package.join("signer.key").display(),
        );
        let setup = Setup {
            program: places.program("dau-station"),
            keyring: places.pki().join("keyring"),
            settings: &settings,
            name: None,
            broker_port,
            port,
            public_port,
        };
        Self::start_as(&setup, pki, folder)
    }

    /// Does the same as [`Station::start`], without the images of a builder.
    pub fn start_as(setup: &Setup<'_>, pki: &SitePki, folder: &Path) -> Result<Self> {
        let Setup {
            broker_port,
            port,
            public_port,
            ..
        } = setup;
        fs::create_dir_all(folder)?;
        let token = hex::encode(sha256(&fs::read(pki.party("station").1)?));
        let line = format!(
            "{HOLDER} sha256:{}\n",
            hex::encode(sha256(token.as_bytes()))
        );
        fs::write(folder.join("api-tokens"), line)?;
        let (certificate, key) = pki.party("station");
        let (mqtt_certificate, mqtt_key) = match setup.name {
            Some(name) => pki.client(name),
            None => pki.party("station-mqtt"),
        };
        let (shared, group) = match setup.name {
            Some(name) => (
                "shared_dir = \"../shared\"\n",
                format!("share = \"dau\"\nclient_id = \"{name}\"\n"),
            ),
            None => ("", String::new()),
        };
        let config = format!(
            "{shared}data_dir = \"data\"\n\
             keyring = \"{keyring}\"\n\
             [https]\n\
             listen = \"127.0.0.1:{port}\"\n\
             certificate = \"{certificate}\"\n\
             key = \"{key}\"\n\
             public_url = \"https://{STATION_HOST}:{public_port}\"\n\
             [mqtt]\n\
             host = \"localhost\"\n\
             port = {broker_port}\n\
             ca = \"{ca}\"\n\
             certificate = \"{mqtt_certificate}\"\n\
             key = \"{mqtt_key}\"\n\
             {group}\
             [api]\n\
             tokens = \"api-tokens\"\n\
             {settings}",
            settings = setup.settings,
            keyring = setup.keyring.display(),
            certificate = certificate.display(),
            key = key.display(),
            ca = pki.ca().display(),
            mqtt_certificate = mqtt_certificate.display(),
            mqtt_key = mqtt_key.display(),
        );
        fs::write(folder.join("station.toml"), config)?;
        let mut station = Station {
            program: setup.program.clone(),
            folder: folder.to_owned(),
            rest: Rest::new(*port, fs::read(pki.ca())?, token),
            process: None,
        };
        station.start_again()?;
        Ok(station)
    }

    /// Kills the station with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the station again on its data, and waits until it serves.
    pub fn start_again(&mut self) -> Result<()> {
        let config = self.folder.join("station.toml");
        let args = ["serve", "--config"].map(OsStr::new);
        let args = [args[0], args[1], config.as_os_str()];
        let log = self.folder.join("station.log");
        self.process = Some(Process::start("dau-station", &self.program, &args, &log)?);
        wait::until("the station and its link to the broker", PATIENCE, || {
            self.check()?;
            Ok(self.rest.healthy()?.then_some(()))
        })
    }

    /// Returns the process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Returns the bearer token of an operator.
    pub fn token(&self) -> &str {
        self.rest.token()
    }

    /// Fails if the station has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Returns the folder of the station's configuration, log and data.
    fn folder(&self) -> &Path {
        &self.folder
    }

    /// Uploads a package and returns its id.
    pub fn upload(&self, package: &Path) -> Result<i64> {
        let added = self.rest.post_file("packages", package)?;
        added["id"]
            .as_i64()
            .with_context(|| format!("no id in {added}"))
    }

    /// Has the station make and sign a delta from one package to another; returns its size in bytes.
    pub fn delta(&self, base: i64, target: i64) -> Result<u64> {
        let path = format!("packages/{target}/deltas");
        self.rest.post(&path, &json!({ "base": base }))?;
        wait::asking("the delta", limit::DELTA, || {
            let delta = self.rest.post(&path, &json!({ "base": base }))?;
            match delta["state"].as_str() {
                Some("signed") => Ok(Some(delta["size"].as_u64().context("it has no size")?)),
                Some("waiting" | "making") => Ok(None),
                _ => bail!("the station cannot make the delta: {delta}"),
            }
        })
    }

    /// Orders an upgrade and returns the job's id.
    pub fn order(&self, terminal: &str, package: i64, kind: &str) -> Result<i64> {
        self.order_as(json!({"terminals": [terminal], "package": package, "type": kind}))
    }

    fn order_as(&self, order: Value) -> Result<i64> {
        let placed = self.rest.post("orders", &order)?;
        let path = format!("jobs?order={}", placed["id"]);
        wait::until("the order's job to be made", PATIENCE, || {
            let jobs = self.rest.get(&path)?;
            Ok(jobs.and_then(|jobs| jobs["jobs"][0]["id"].as_i64()))
        })
    }

    /// Orders an upgrade that may spend so many bytes, and returns the job's id.
    pub fn order_within(
        &self,
        terminal: &str,
        package: i64,
        kind: &str,
        budget: u64,
    ) -> Result<i64> {
        self.order_as(
            json!({"terminals": [terminal], "package": package, "type": kind, "budget": budget}),
        )
    }

    /// Cancels a job.
    pub fn cancel(&self, job: i64) -> Result<()> {
        let path = format!("jobs/{job}/cancel");
        self.rest.post(&path, &json!({})).map(drop)
    }

    fn record(&self, job: i64) -> Result<Value> {
        let record = self.rest.get(&format!("jobs/{job}"))?;
        record.with_context(|| format!("the station knows no job {job}"))
    }

    /// Returns a job's current state.
    pub fn job(&self, id: i64) -> Result<JobView> {
        Ok(JobView::new(id, &self.record(id)?))
    }

    /// Returns the kinds of a job's recorded events, oldest first.
    pub fn events(&self, job: i64) -> Result<Vec<String>> {
        let record = self.record(job)?;
        let events: Vec<Value> = serde_json::from_value(record["events"].clone())?;
        let kind = |event: &Value| event["kind"].as_str().unwrap_or_default().to_owned();
        Ok(events.iter().map(kind).collect())
    }

    /// Returns a terminal; `None` if the station does not know it.
    pub fn terminal(&self, id: &str) -> Result<Option<TerminalView>> {
        let terminal = self.rest.get(&format!("terminals/{id}"))?;
        Ok(terminal.map(serde_json::from_value).transpose()?)
    }
}
