//! The station: `dau-station serve` as a process, spoken to over REST as any other client would.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use attohttpc::{Method, ProxySettings, RequestBuilder, Response, StatusCode};
use openssl::hash::{hash, MessageDigest};
use openssl::sha::sha256;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{json, Value};

use crate::pki::{SitePki, STATION_HOST};
use crate::places::Places;
use crate::process::Process;
use crate::wait;

/// Who this client is, in the station's record.
const HOLDER: &str = "e2e";
const PATIENCE: Duration = Duration::from_secs(60);
const RETRIES: u32 = 3;

/// A station of one site.
#[derive(Debug)]
pub struct Station {
    program: PathBuf,
    folder: PathBuf,
    base: String,
    ca: Vec<u8>,
    token: String,
    process: Option<Process>,
}

/// Keeps OpenSSL from reading the system's certificates for every connection of this process and of those that it starts: they are
/// not asked here, and cost 40 % of a processor while power cuts ran (perf). For the start of a program, before its threads.
pub fn trust_the_site_alone() {
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        std::env::set_var(name, "/dev/null");
    }
}

/// What REST shows of a job.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job's id.
    pub id: i64,
    /// Where it stands.
    pub state: String,
    /// Per cent of this state.
    pub progress: u8,
    /// Bytes of the package that were sent for it.
    pub bytes_served: u64,
    /// `success`, `refused`, ...; `None`: no result yet.
    pub outcome: Option<String>,
    /// The result's word for machines.
    pub word: String,
    /// The result's words for people.
    pub message: String,
    /// The result's other details.
    pub details: Value,
}

/// What REST shows of a terminal.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalView {
    /// Version of the OS that runs.
    pub version: String,
    /// Kernel release that runs.
    pub kernel: String,
    /// Whether it is linked.
    pub online: bool,
    /// The last EVENT_LINKUP's param.
    #[serde(default)]
    pub link_up: Value,
}

impl Station {
    /// Writes the configuration into `folder` and starts the station. Terminals reach its file service, which listens on
    /// `port`, at `public_port`.
    pub fn start(
        places: &Places,
        pki: &SitePki,
        folder: &Path,
        broker_port: u16,
        port: u16,
        public_port: u16,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let token = hex(&sha256(&fs::read(pki.party("station").1)?));
        let line = format!("{HOLDER} sha256:{}\n", hex(&sha256(token.as_bytes())));
        fs::write(folder.join("api-tokens"), line)?;
        let (certificate, key) = pki.party("station");
        let (mqtt_certificate, mqtt_key) = pki.party("station-mqtt");
        let config = format!(
            "data_dir = \"data\"\n\
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
             [api]\n\
             tokens = \"api-tokens\"\n\
             [downloads]\n\
             retry_after_seconds = 1\n\
             [jobs]\n\
             resend_seconds = 5\n\
             query_seconds = 30\n\
             busy_seconds = 2\n",
            keyring = places.pki().join("keyring").display(),
            certificate = certificate.display(),
            key = key.display(),
            ca = pki.ca().display(),
            mqtt_certificate = mqtt_certificate.display(),
            mqtt_key = mqtt_key.display(),
        );
        fs::write(folder.join("station.toml"), config)?;
        let mut station = Station {
            program: places.program("dau-station"),
            folder: folder.to_owned(),
            base: format!("https://localhost:{port}/api/v1"),
            ca: fs::read(pki.ca())?,
            token,
            process: None,
        };
        station.start_again()?;
        Ok(station)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it, with what it has kept.
    pub fn start_again(&mut self) -> Result<()> {
        let config = self.folder.join("station.toml");
        let args = ["serve", "--config"].map(OsStr::new);
        let args = [args[0], args[1], config.as_os_str()];
        let log = self.folder.join("station.log");
        self.process = Some(Process::start("dau-station", &self.program, &args, &log)?);
        wait::until("the station and its link to the broker", PATIENCE, || {
            self.check()?;
            let response = self.request(Method::GET, "healthz")?.send();
            let health = response
                .ok()
                .and_then(|response| answer("healthz", response).ok());
            Ok(health.filter(|health| health["broker"] == true))
        })?;
        Ok(())
    }

    /// Fails when the station has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}/{path}", self.base);
        let request = RequestBuilder::try_new(method, url)?
            .proxy_settings(ProxySettings::builder().build())
            .add_root_certificate(native_tls::Certificate::from_pem(&self.ca)?)
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .bearer_auth(&self.token);
        Ok(request)
    }

    /// Asks again where no answer came: on a busy machine a TLS handshake can last too long for the station. Everything asked
    /// here may be asked twice.
    fn ask(&self, send: impl Fn() -> Result<Response>) -> Result<Response> {
        let mut tries = 0;
        loop {
            match send() {
                Ok(response) => return Ok(response),
                Err(error) if tries >= RETRIES => return Err(error),
                Err(_) => tries += 1,
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn get(&self, path: &str) -> Result<Option<Value>> {
        let response = self.ask(|| Ok(self.request(Method::GET, path)?.send()?))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer(path, response).map(Some)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let response = self.ask(|| Ok(self.request(Method::POST, path)?.json(body)?.send()?))?;
        answer(path, response)
    }

    /// Uploads a package; its number.
    pub fn upload(&self, package: &Path) -> Result<i64> {
        let open = || {
            fs::File::open(package)
                .with_context(|| format!("cannot read {}: run make image", package.display()))
        };
        let response = self.ask(|| {
            Ok(self
                .request(Method::POST, "packages")?
                .file(open()?)
                .send()?)
        })?;
        let added = answer("packages", response)?;
        added["id"]
            .as_i64()
            .with_context(|| format!("no id in {added}"))
    }

    /// Orders an upgrade; the job's id.
    pub fn order(&self, terminal: &str, package: i64, kind: &str) -> Result<i64> {
        let order = json!({"terminals": [terminal], "package": package, "type": kind});
        let ordered = self.post("jobs", &order)?;
        ordered["jobs"][0]["id"]
            .as_i64()
            .with_context(|| format!("no job in {ordered}"))
    }

    /// Calls a job off.
    pub fn cancel(&self, job: i64) -> Result<()> {
        self.post(&format!("jobs/{job}/cancel"), &json!({}))
            .map(drop)
    }

    /// A job.
    pub fn job(&self, id: i64) -> Result<JobView> {
        let job = self
            .get(&format!("jobs/{id}"))?
            .with_context(|| format!("the station knows no job {id}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let result = &job["result"];
        Ok(JobView {
            id,
            state: text(&job["state"]),
            progress: job["progress"]
                .as_u64()
                .and_then(|part| part.try_into().ok())
                .unwrap_or(0),
            bytes_served: job["bytesServed"].as_u64().unwrap_or(0),
            outcome: result["outcome"].as_str().map(str::to_owned),
            word: text(&result["word"]),
            message: text(&result["message"]),
            details: result["details"].clone(),
        })
    }

    /// What is recorded of a job, oldest first.
    pub fn events(&self, job: i64) -> Result<Vec<String>> {
        let record = self
            .get(&format!("jobs/{job}"))?
            .context("the station knows the job")?;
        let events: Vec<Value> = serde_json::from_value(record["events"].clone())?;
        let kind = |event: &Value| event["kind"].as_str().unwrap_or_default().to_owned();
        Ok(events.iter().map(kind).collect())
    }

    /// A terminal; `None` while the station has not heard of it.
    pub fn terminal(&self, id: &str) -> Result<Option<TerminalView>> {
        let terminal = self.get(&format!("terminals/{id}"))?;
        Ok(terminal.map(serde_json::from_value).transpose()?)
    }

    /// Makes the station forget what product a terminal is, until the terminal links up again: it then judges no order by it.
    pub fn forget_product(&self, terminal: &str) -> Result<()> {
        let changed = self
            .database()?
            .execute("UPDATE terminals SET product = '' WHERE id = ?", [terminal])?;
        ensure!(
            changed == 1,
            "the station's database has no terminal {terminal}"
        );
        Ok(())
    }

    fn database(&self) -> Result<Connection> {
        let database = Connection::open(self.folder.join("data/station.db"))?;
        database.busy_timeout(PATIENCE)?;
        Ok(database)
    }

    /// Puts another file in place of an uploaded package, and its size and digests into the database: what somebody could do
    /// who has broken into the station.
    pub fn exchange(&self, package: i64, file: &Path) -> Result<()> {
        let bytes = fs::read(file)?;
        let data = self.folder.join("data");
        let sha256 = hex(&sha256(&bytes));
        fs::write(data.join("packages").join(format!("{sha256}.dau")), &bytes)?;
        let changed = self.database()?.execute(
            "UPDATE packages SET size = ?, file_md5 = ?, file_sha256 = ? WHERE id = ?",
            (
                bytes.len() as i64,
                hex(&hash(MessageDigest::md5(), &bytes)?),
                sha256,
                package,
            ),
        )?;
        ensure!(
            changed == 1,
            "the station's database has no package {package}"
        );
        Ok(())
    }
}

fn answer(path: &str, response: Response) -> Result<Value> {
    let status = response.status();
    let text = response.text()?;
    ensure!(
        status.is_success(),
        "the station answered {path} with {status}: {text}"
    );
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
