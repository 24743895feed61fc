//! The configuration file of `dau-station serve`; docs/station.md describes every key for operators.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything that `serve` is told, validated. Relative paths in the file are taken from the file's directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where database and packages are kept.
    pub data_dir: PathBuf,
    /// Roots that vouch for packages, as terminals have them: see `dau_package::Keyring`.
    pub keyring: PathBuf,
    /// The HTTPS service.
    pub https: Https,
    /// The MQTT broker.
    pub mqtt: Mqtt,
    /// The REST interface.
    pub api: Api,
    /// The download service.
    #[serde(default)]
    pub downloads: Downloads,
    /// Patience with terminals.
    #[serde(default)]
    pub jobs: Jobs,
}

/// `[https]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// What stands before `/packages/...` in orders: how terminals reach this station. No slash at the end.
    pub public_url: String,
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
    /// Who vouches for the broker's certificate, PEM.
    pub ca: PathBuf,
    /// The station's client certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Client id, under which the broker keeps the session.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// Seconds of silence after which the connection is probed.
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
    /// How long a terminal's download token is good for, in seconds.
    pub token_seconds: u64,
    /// Downloads at the same time; further ones are told to come back later.
    pub concurrent: usize,
    /// All downloads together, bytes per second; 0 for no limit.
    pub bytes_per_second: u64,
    /// Least seconds after which a terminal that was turned away shall come back; up to twice as much is asked for.
    pub retry_after_seconds: u64,
    /// Seconds after which a connection that moves nothing is closed.
    pub stall_seconds: u64,
}

/// `[jobs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Seconds until an unanswered order is sent again; doubles each time.
    pub resend_seconds: u64,
    /// Most seconds between two sendings.
    pub resend_most_seconds: u64,
    /// Seconds of silence after which a terminal is asked how its job stands; doubles each time.
    pub query_seconds: u64,
    /// Seconds until an order is tried again that a terminal refused because it was busy.
    pub busy_seconds: u64,
    /// Seconds without a sign of life after which a terminal is shown as offline.
    pub offline_seconds: u64,
}

impl Default for Downloads {
    fn default() -> Self {
        Downloads {
            token_seconds: 24 * 3600,
            concurrent: 1000,
            bytes_per_second: 0,
            retry_after_seconds: 60,
            stall_seconds: 60,
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
        }
    }
}

fn default_mqtt_port() -> u16 {
    8883
}

fn default_client_id() -> String {
    "dau-station".to_owned()
}

fn default_keep_alive() -> u16 {
    60
}

fn default_max_package() -> u64 {
    dau_package::MAX_SYSTEM_TAR + (1 << 20)
}

/// Why a configuration cannot be used; the text names file and key.
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

    /// Reads and validates `text`; relative paths are taken from `base`.
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
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let host = self.https.public_url.strip_prefix("https://").unwrap_or("");
        if host.is_empty() || host.ends_with('/') || host.contains(['?', '#', ' ']) {
            return Err(format!(
                "https.public_url: '{}' is not https://<host>[:<port>] without a slash at the end",
                self.https.public_url
            ));
        }
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
        for (key, number) in [
            ("mqtt.port", u64::from(self.mqtt.port)),
            ("api.max_package_bytes", self.api.max_package_bytes),
            ("downloads.token_seconds", self.downloads.token_seconds),
            ("downloads.concurrent", self.downloads.concurrent as u64),
            (
                "downloads.retry_after_seconds",
                self.downloads.retry_after_seconds,
            ),
            ("downloads.stall_seconds", self.downloads.stall_seconds),
            ("jobs.resend_seconds", self.jobs.resend_seconds),
            ("jobs.query_seconds", self.jobs.query_seconds),
            ("jobs.busy_seconds", self.jobs.busy_seconds),
            ("jobs.offline_seconds", self.jobs.offline_seconds),
        ] {
            if number == 0 {
                return Err(format!("{key}: must be at least 1"));
            }
        }
        if self.jobs.resend_most_seconds < self.jobs.resend_seconds {
            return Err(
                "jobs.resend_most_seconds: must not be less than jobs.resend_seconds".to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
data_dir = "data"
keyring = "/etc/keyring"
[https]
listen = "127.0.0.1:8443"
certificate = "https.pem"
key = "https.key"
public_url = "https://station.example:8443"
[mqtt]
host = "broker.example"
ca = "ca.pem"
certificate = "mqtt.pem"
key = "mqtt.key"
[api]
tokens = "api-tokens"
"#;

    #[test]
    fn what_is_not_said_has_a_default_and_paths_are_beside_the_file() {
        let config = Config::parse(SAMPLE, Path::new("/etc/dau-station")).unwrap();
        assert_eq!(config.data_dir, Path::new("/etc/dau-station/data"));
        assert_eq!(config.keyring, Path::new("/etc/keyring"));
        assert_eq!(config.mqtt.port, 8883);
        assert_eq!(config.downloads.concurrent, 1000);
        assert_eq!(config.jobs.resend_seconds, 30);
    }

    #[test]
    fn an_error_names_the_key() {
        let cases = [
            (
                "https://station.example:8443",
                "http://station.example",
                "https.public_url",
            ),
            (
                "https://station.example:8443",
                "https://station.example/",
                "https.public_url",
            ),
            ("host = \"broker.example\"", "host = \"\"", "mqtt.host"),
            (
                "host = \"broker.example\"",
                "hosts = \"broker.example\"",
                "hosts",
            ),
            ("127.0.0.1:8443", "127.0.0.1", "listen"),
            ("key = \"mqtt.key\"", "", "key"),
            (
                "[api]",
                "[downloads]\nconcurrent = 0\n[api]",
                "downloads.concurrent",
            ),
            (
                "[api]",
                "[jobs]\nresend_most_seconds = 1\n[api]",
                "jobs.resend_most_seconds",
            ),
            ("[api]", "[jobs]\nresend = 1\n[api]", "resend"),
        ];
        for (from, to, key) in cases {
            let error = Config::parse(&SAMPLE.replacen(from, to, 1), Path::new("/")).unwrap_err();
            assert!(error.contains(key), "{to}: {error}");
        }
    }
}
