//! A station and its broker, with new keys and packages.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use attohttpc::{Method, RequestBuilder};
use dau_package::make::{build, Compression, Pki, PkiOptions, Recipe, Signing};
use native_tls::Certificate;
use openssl::pkey::PKey;
use serde_json::{json, Value};

use crate::database::Database;
use crate::port::free_port;
use crate::terminal::Terminal;

pub const PRODUCT: &str = "test-product";
const CREATED: i64 = 1_790_000_000;
/// Time limit, long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Returns the package signer of a PKI.
pub fn signing(pki: &Pki) -> Signing {
    let chain = fs::read(pki.signer_chain()).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(pki.signer_key()).unwrap()).unwrap();
    Signing::with_key(&chain, key).unwrap()
}

/// Waits until `question` returns a value.
pub fn wait_for<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

type Answer = (u16, Value);

/// A process that is killed when this value is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(program: &str, args: &[&str], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(program)
            .args(args)
            .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Process(child.unwrap_or_else(|error| panic!("{program} cannot be started: {error}")))
    }
}

impl Drop for Process {
    /// kill -9
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A test site.
pub struct Site {
    dir: tempfile::TempDir,
    pub pki: Pki,
    pub https_port: u16,
    pub mqtt_port: u16,
    pub token: String,
    pub database: Database,
    broker: Option<Process>,
    station: Option<Process>,
}

impl Site {
    /// Starts everything, with short pauses between retries.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Does the same with more configuration: whole sections other than [api], [https] or [mqtt].
    pub fn start_with(more: &str) -> Self {
        let mut site = Self::prepare(more);
        site.start_broker();
        site.start_station();
        site
    }

    /// Prepares everything without starting it.
    pub fn prepare(more: &str) -> Self {
        Self::prepare_on(more, None)
    }

    /// Starts everything on this database.
    pub fn start_on(database: Database) -> Self {
        let mut site = Self::prepare_on("", Some(database));
        site.start_broker();
        site.start_station();
        site
    }

    pub fn prepare_on(more: &str, database: Option<Database>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = PkiOptions {
            terminals: vec!["t1".to_owned(), "t2".to_owned()],
            ..PkiOptions::default()
        };
        let pki = Pki::create(&dir.path().join("pki"), &options).unwrap();
        let (https_port, mqtt_port) = (free_port().unwrap(), free_port().unwrap());
        let root = dir.path().display();
        let args = format!(
            "init --dir {root}/station --pki {root}/pki --listen 127.0.0.1 --https-port \
             {https_port} --mqtt-port {mqtt_port}"
        );
        let done = Command::new(env!("CARGO_BIN_EXE_dau-station"))
            .args(args.split(' '))
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let config = dir.path().join("station/station.toml");
        let text = fs::read_to_string(&config).unwrap();
        let (base, _) = text.split_once("[downloads]").unwrap();
        let quick = match more.contains("[jobs]") {
            true => "",
            false => "[jobs]\nresend_seconds = 1\nbusy_seconds = 1\n",
        };
        let data = dir.path().join("station/data");
        let database = database.unwrap_or_else(|| Database::for_site(&data));
        let section = database.section();
        fs::write(&config, format!("{base}{more}\n{quick}{section}")).unwrap();
        let token = fs::read_to_string(dir.path().join("station/operator.token")).unwrap();
        Site {
            dir,
            pki,
            https_port,
            mqtt_port,
            token: token.trim().to_owned(),
            database,
            broker: None,
            station: None,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn start_broker(&mut self) {
        let config = self.path("station/mosquitto.conf");
        let args = ["-c", config.to_str().unwrap()];
        self.broker = Some(Process::start("mosquitto", &args, &self.path("broker.log")));
        wait_for("the broker", || {
            std::net::TcpStream::connect(("127.0.0.1", self.mqtt_port)).ok()
        });
    }

    /// kill -9
    pub fn kill_broker(&mut self) {
        self.broker = None;
    }

    /// Has the broker read its certificates and lists again.
    pub fn reload_broker(&self) {
        let pid = i32::try_from(self.broker.as_ref().unwrap().0.id()).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    pub fn start_station(&mut self) {
        self.start_station_in("exec \"$@\"");
    }

    /// Starts the station by a shell command that runs `"$@"`, for instance under limits.
    pub fn start_station_in(&mut self, shell: &str) {
        let config = self.path("station/station.toml");
        let program = env!("CARGO_BIN_EXE_dau-station");
        let args = ["-c", shell, "sh", program, "serve", "--config"];
        let args = [&args[..], &[config.to_str().unwrap()]].concat();
        self.station = Some(Process::start("sh", &args, &self.path("station.log")));
        wait_for("the station and its link to the broker", || {
            let (_, health) = self.try_rest(Method::GET, "healthz", None)?;
            (health["broker"] == true || self.broker.is_none()).then_some(())
        });
    }

    /// kill -9
    pub fn kill_station(&mut self) {
        self.station = None;
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = nix::unistd::Pid::from_raw(self.station_pid() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    pub fn station_pid(&self) -> u32 {
        self.station.as_ref().unwrap().0.id()
    }

    /// Returns the station's peak memory in bytes.
    pub fn station_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.station_pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    pub fn station_log(&self) -> String {
        fs::read_to_string(self.path("station.log")).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https_port)
    }

    /// Prepares a request to the station, trusting this site's CA.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let ca = fs::read(self.pki.tls_ca()).unwrap();
        RequestBuilder::try_new(method, url)
            .unwrap()
            .proxy_settings(attohttpc::ProxySettings::builder().build())
            .add_root_certificate(Certificate::from_pem(&ca).unwrap())
            .timeout(PATIENCE)
    }

    pub fn try_rest(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Answer> {
        let request = self
            .request(method, &self.url(&format!("/api/v1/{path}")))
            .bearer_auth(&self.token)
            .header("content-type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = request.text(body).send().ok()?;
        let status = response.status().as_u16();
        let text = response.text().ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Sends a REST request with the operator's token; returns status and answer.
    pub fn rest(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.try_rest(method, path, body.as_ref())
            .expect("the station answers")
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.rest(Method::GET, path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.rest(Method::POST, path, Some(body))
    }

    /// Makes a signed kernel package of about `size` bytes and returns its file.
    pub fn package_file(&self, version: &str, size: usize) -> PathBuf {
        self.package_by(&self.pki, PRODUCT, version, size)
    }

    pub fn package_by(&self, pki: &Pki, product: &str, version: &str, size: usize) -> PathBuf {
        let mut content = vec![0; size];
        openssl::rand::rand_bytes(&mut content).unwrap();
        self.package_of(pki, product, version, &content)
    }

    /// Makes a signed package of a kernel with this content.
    pub fn package_of(&self, pki: &Pki, product: &str, version: &str, content: &[u8]) -> PathBuf {
        let kernel = self.path("kernel.itb");
        let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        let head = [0xD0, 0x0D, 0xFE, 0xED];
        fs::write(&kernel, [&head[..], &size, content].concat()).unwrap();
        let recipe = Recipe {
            product: product.to_owned(),
            version: version.to_owned(),
            created: CREATED,
            rollback_index: 5,
            kernel: Some(kernel),
            rootfs: None,
            sbom: None,
            recovery: None,
            minimum_recovery: None,
            compression: Compression::default(),
        };
        let signing = signing(pki);
        let path = self.path(&format!("{product}-{version}.dau"));
        build(&recipe, Some(&signing), &path, &mut |_, _, _| {}).unwrap();
        path
    }

    pub fn upload(&self, path: &Path) -> (u16, Value) {
        let request = self
            .request(Method::POST, &self.url("/api/v1/packages"))
            .bearer_auth(&self.token);
        let response = request.file(File::open(path).unwrap()).send().unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str(&response.text().unwrap()).unwrap(),
        )
    }

    /// Uploads a package and returns its id.
    pub fn package(&self, version: &str) -> i64 {
        let (status, package) = self.upload(&self.package_file(version, 200_000));
        assert_eq!(status, 201, "{package}");
        package["id"].as_i64().unwrap()
    }

    /// Orders `package` for `terminal` and returns the job's id.
    pub fn order(&self, terminal: &str, package: i64) -> i64 {
        self.order_with(terminal, package, json!({}))
    }

    pub fn order_with(&self, terminal: &str, package: i64, more: Value) -> i64 {
        let mut order = json!({"terminals": [terminal], "package": package, "type": "kernel"});
        for (key, value) in more.as_object().unwrap() {
            order[key] = value.clone();
        }
        let (status, placed) = self.post("orders", order);
        assert_eq!(status, 202, "{placed}");
        let order = self.made(placed["id"].as_i64().unwrap());
        let skipped =
            || self.get(&format!("orders/{}/skipped", order["id"]))["skipped"][0]["job"].clone();
        let jobs = self.get(&format!("jobs?order={}", order["id"]));
        let job = jobs["jobs"][0]["id"].as_i64();
        job.unwrap_or_else(|| skipped().as_i64().unwrap())
    }

    /// Waits until the jobs of an order are made, and returns it.
    pub fn made(&self, order: i64) -> Value {
        let path = format!("orders/{order}");
        wait_for("the order's jobs to be made", || {
            Some(self.get(&path)).filter(|order| order["state"] != "making")
        })
    }

    pub fn job(&self, id: i64) -> Value {
        self.get(&format!("jobs/{id}"))
    }

    pub fn wait_state(&self, job: i64, state: &str) -> Value {
        wait_for(&format!("job {job} to be {state}"), || {
            let found = self.job(job);
            (found["state"] == state).then_some(found)
        })
    }

    /// Returns the kinds of a job's events, without repetitions.
    pub fn record(&self, job: i64) -> Vec<String> {
        let events = self.job(job)["events"].clone();
        let mut kinds: Vec<String> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.dedup();
        kinds
    }

    /// Returns a terminal that is connected and has linked up.
    pub fn terminal(&self, id: &str) -> Terminal {
        let mut terminal = Terminal::connect(self, id);
        terminal.link_up();
        terminal
    }

    /// Runs the client as an operator does.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dau-station"));
        command
            .args(args)
            .env("DAU_STATION_URL", self.url(""))
            .env("DAU_STATION_CA", self.pki.tls_ca())
            .env(
                "DAU_STATION_TOKEN_FILE",
                self.path("station/operator.token"),
            )
            .env("NO_PROXY", "localhost")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.station_log().as_bytes());
            let broker = fs::read(self.path("broker.log")).unwrap_or_default();
            let _ = std::io::stderr().write_all(&broker);
        }
    }
}
