//! The configuration file of `dau-station serve`; docs/station.md describes every key for
//! operators.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dau_protocol::{DownloadUrl, MAX_BUDGET, MIN_BUDGET};
use serde::Deserialize;

mod several;

pub use several::Database;

/// The validated configuration of `serve`. Relative paths in the file start at the file's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of database and packages.
    pub data_dir: PathBuf,
    /// Folder of packages and the record's archives where several stations share them.
    pub shared_dir: Option<PathBuf>,
    /// Trusted roots for packages, the same as on the terminals: see `dau_package::Keyring`.
    pub keyring: PathBuf,
    /// The database; SQLite in `data_dir` by default.
    pub database: Option<Database>,
    /// The HTTPS service.
    pub https: Https,
    /// The MQTT broker.
    pub mqtt: Mqtt,
    /// The REST interface.
    pub api: Api,
    /// The download service.
    #[serde(default)]
    pub downloads: Downloads,
    /// Retries and time limits for terminals.
    #[serde(default)]
    pub jobs: Jobs,
    /// The signature of deltas that the station makes; without it they are signed elsewhere.
    pub deltas: Option<Deltas>,
    /// How much of the record stays in the database.
    #[serde(default)]
    pub record: Record,
    /// Rollouts that need a second person.
    #[serde(default)]
    pub rollouts: Rollouts,
}

/// `[rollouts]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollouts {
    /// Number of terminals above which a rollout needs a second person; never by default.
    pub approve_above: Option<u64>,
    /// Whether a rollout without windows needs one.
    pub approve_without_windows: bool,
}

/// `[https]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// URL in front of `/packages/...` in orders, as terminals reach this station. No slash at the
    /// end.
    pub public_url: String,
    /// Most connections at the same time, in total.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Most connections of one address, or IPv6 /64, without a valid token.
    #[serde(default = "default_connections_per_address")]
    pub connections_per_address: usize,
}

/// `[mqtt]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Name or address of the broker, as in its certificate.
    pub host: String,
    /// Its TLS port.
    #[serde(default = "default_mqtt_port")]
    pub port: u16,
    /// Certificate authority of the broker, PEM.
    pub ca: PathBuf,
    /// The station's client certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Client id; the broker keeps the session under it.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// Messages that the broker keeps for the station while it takes others in; no more are caused at
    /// once by what the station sends.
    #[serde(default = "default_broker_queue")]
    pub broker_queue: u32,
    /// Name of the group of stations that share the terminals' messages, MQTT's `$share`; without it
    /// this station gets all.
    pub share: Option<String>,
    /// Seconds of silence before the connection is probed.
    #[serde(default = "default_keep_alive")]
    pub keep_alive_seconds: u16,
}

/// `[api]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// File of the bearer tokens' digests, see [`crate::api_tokens`].
    pub tokens: PathBuf,
    /// Largest package that may be uploaded, in bytes.
    #[serde(default = "default_max_package")]
    pub max_package_bytes: u64,
}

/// `[downloads]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downloads {
    /// Lifetime of a terminal's download token, seconds.
    pub token_seconds: u64,
    /// Most downloads at the same time; further ones get a Retry-After.
    pub concurrent: usize,
    /// Most downloads of one terminal at the same time; one more closes the oldest.
    pub per_terminal: usize,
    /// Speed of all downloads together, bytes per second; 0: no limit.
    pub bytes_per_second: u64,
    /// Smallest Retry-After for a rejected terminal, seconds; the actual one is up to twice as
    /// long.
    pub retry_after_seconds: u64,
    /// Seconds without progress after which a connection is closed, uploads and REST included.
    pub stall_seconds: u64,
}

/// `[jobs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Seconds until an unanswered order is sent again; doubles each time.
    pub resend_seconds: u64,
    /// Longest time between two attempts, seconds.
    pub resend_most_seconds: u64,
    /// Seconds of silence before a terminal is asked for its job's state; doubles each time.
    pub query_seconds: u64,
    /// Seconds until an order is sent again that a terminal refused as busy.
    pub busy_seconds: u64,
    /// Seconds of silence after which a terminal is shown as offline.
    pub offline_seconds: u64,
    /// Bytes that a terminal may spend on a job whose order says nothing; 0: no limit.
    pub budget: u64,
}

/// `[deltas]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deltas {
    /// Certificate of the signer, then its intermediates, PEM.
    pub signer: PathBuf,
    /// Shell command that signs, see `dau_package::make::Signing::with_command`.
    pub sign_command: String,
    /// Most seconds that it takes; then the delta has failed.
    #[serde(default = "default_sign_seconds")]
    pub sign_seconds: u64,
}

/// `[record]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Days after the end of a month until its events go into archives.
    pub keep_days: u64,
    /// Most events in the database; the oldest beyond it go into archives, 100,000 at a time.
    pub keep_events: u64,
    /// Private key that signs archives, PEM; without it they are not signed.
    pub key: Option<PathBuf>,
}

impl Default for Record {
    fn default() -> Self {
        Record {
            keep_days: 90,
            keep_events: 1_000_000,
            key: None,
        }
    }
}

impl Default for Downloads {
    fn default() -> Self {
        Downloads {
            token_seconds: 24 * 3600,
            concurrent: 1000,
            per_terminal: 2,
            bytes_per_second: 0,
            retry_after_seconds: 60,
            stall_seconds: 30,
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Jobs {
            resend_seconds: 30,
            resend_most_seconds: 3600,
            query_seconds: 300,
            busy_seconds: 60,
            offline_seconds: 900,
            budget: 0,
        }
    }
}

fn default_connections() -> usize {
    4096
}

fn default_connections_per_address() -> usize {
    64
}

fn default_mqtt_port() -> u16 {
    8883
}

fn default_client_id() -> String {
    several::CLIENT_ID.to_owned()
}

/// Messages that mosquitto keeps for a client as `dau-station init` configures it: 100,000 terminals
/// may link up while the station is away, each with a heartbeat after that.
pub const BROKER_QUEUE: u32 = 200_000;

fn default_broker_queue() -> u32 {
    BROKER_QUEUE
}

fn default_keep_alive() -> u16 {
    60
}

fn default_sign_seconds() -> u64 {
    300
}

fn default_max_package() -> u64 {
    dau_package::MAX_SYSTEM_TAR + (1 << 20)
}

/// A reason why a configuration cannot be used; the text names file and key.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct ConfigError {
    path: PathBuf,
    reason: String,
}

impl Config {
    /// Reads and validates `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let error = |reason: String| ConfigError {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|source| error(source.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).map_err(error)
    }

    /// Parses and validates `text`; relative paths start at `base`.
    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Config =
            toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        for path in [
            &mut config.data_dir,
            &mut config.keyring,
            &mut config.https.certificate,
            &mut config.https.key,
            &mut config.mqtt.ca,
            &mut config.mqtt.certificate,
            &mut config.mqtt.key,
            &mut config.api.tokens,
        ] {
            *path = base.join(&*path);
        }
        let database = config.database.as_mut();
        let others = [
            config.shared_dir.as_mut(),
            database.and_then(|database| database.ca.as_mut()),
            config.deltas.as_mut().map(|deltas| &mut deltas.signer),
            config.record.key.as_mut(),
        ];
        for path in others.into_iter().flatten() {
            *path = base.join(&*path);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.check_several()?;
        if let Some(database) = &self.database {
            database.server()?;
        }
        check_public_url(&self.https.public_url)
            .map_err(|reason| format!("https.public_url: '{}' {reason}", self.https.public_url))?;
        for (key, text) in [
            ("mqtt.host", &self.mqtt.host),
            ("mqtt.client_id", &self.mqtt.client_id),
        ] {
            if text.is_empty() {
                return Err(format!("{key}: must not be empty"));
            }
        }
        if self.mqtt.keep_alive_seconds < 5 {
            return Err("mqtt.keep_alive_seconds: must be at least 5".to_owned());
        }
        if self.mqtt.broker_queue < 1000 {
            return Err("mqtt.broker_queue: must be at least 1000 messages".to_owned());
        }
        for (key, number) in [
            ("mqtt.port", u64::from(self.mqtt.port)),
            ("api.max_package_bytes", self.api.max_package_bytes),
            ("downloads.token_seconds", self.downloads.token_seconds),
            ("https.connections", self.https.connections as u64),
            (
                "https.connections_per_address",
                self.https.connections_per_address as u64,
            ),
            ("downloads.concurrent", self.downloads.concurrent as u64),
            ("downloads.per_terminal", self.downloads.per_terminal as u64),
            (
                "downloads.retry_after_seconds",
                self.downloads.retry_after_seconds,
            ),
            ("downloads.stall_seconds", self.downloads.stall_seconds),
            ("jobs.resend_seconds", self.jobs.resend_seconds),
            ("jobs.query_seconds", self.jobs.query_seconds),
            ("jobs.busy_seconds", self.jobs.busy_seconds),
            ("jobs.offline_seconds", self.jobs.offline_seconds),
            ("record.keep_days", self.record.keep_days),
        ] {
            if number == 0 {
                return Err(format!("{key}: must be at least 1"));
            }
        }
        check_budget(Some(self.jobs.budget).filter(|bytes| *bytes > 0))
            .map_err(|reason| format!("jobs.budget: {reason}, or 0 for no limit"))?;
        if self.jobs.resend_most_seconds < self.jobs.resend_seconds {
            return Err(
                "jobs.resend_most_seconds: must not be less than jobs.resend_seconds".to_owned(),
            );
        }
        Ok(())
    }
}

/// Checks the URL at start, as every order contains it and terminals refuse orders with an unusable
/// one.
pub fn check_public_url(text: &str) -> Result<(), String> {
    let url = DownloadUrl::parse(text).map_err(|error| error.to_string())?;
    if text.ends_with('/') {
        return Err("ends with a slash: leave it out, /packages/... follows".to_owned());
    }
    if url.path_and_query().contains('?') {
        return Err("has a query: give https://<host>[:<port>], and a path at most".to_owned());
    }
    Ok(())
}

/// Checks a budget as terminals do.
pub fn check_budget(budget: Option<u64>) -> Result<(), String> {
    match budget {
        Some(bytes) if !(MIN_BUDGET..=MAX_BUDGET).contains(&bytes) => Err(format!(
            "{bytes} bytes are out of bounds: give {MIN_BUDGET} to {MAX_BUDGET}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub mod tests;
