//! The agent's configuration: `agent.toml`, drop-ins, and the values of this site.
//!
//! Files are read in this order, later ones win: the file named on the command line
//! (`/etc/dau/agent.toml`), `agent.d/*.toml` beside it, `agent.toml` in the identity folder on mnt
//! (written at the factory). Each key is documented in `rootfs-overlay/agent/etc/dau/agent.toml`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dau_handoff::Layout;
use dau_system::volume::Volume;

mod fragment;
mod layers;
mod rate;
mod validate;

use layers::Layers;
use rate::Rate;
use validate::{identity_folder, validate};

/// The configuration file, unless the command line names another.
pub const DEFAULT_PATH: &str = "/etc/dau/agent.toml";
/// Folder of the drop-ins, beside the configuration file.
const DROP_INS: &str = "agent.d";

/// Why the agent cannot start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not TOML, or has a key that is unknown or of another type.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key and what is wrong.
        reason: String,
    },
    /// A key has a value that makes no sense.
    #[error("{path}: {section}.{key} {reason}")]
    Value {
        /// The file that sets it last.
        path: String,
        /// Section of the key.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// The party that takes note of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The station answers REP_JOB_RESULT with code 200.
    Station,
    /// The broker's word is enough: results are published with QoS 2 (stations that never answer).
    Broker,
}

/// `[mqtt]`
#[derive(Debug, Clone)]
pub struct Mqtt {
    pub keep_alive: Duration,
    pub connect_timeout: Duration,
    pub backoff: Range,
    pub heartbeat: Duration,
    pub acknowledgement: Acknowledgement,
    pub result_repeat: Range,
}

/// The shortest and the longest pause between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: Duration,
    pub max: Duration,
}

/// `[download]`
#[derive(Debug, Clone)]
pub struct Download {
    pub rate: Rate,
    /// Seconds that the terminal's zone is ahead of UTC.
    pub utc_offset: i64,
    /// Bytes a month, of all that the agent sends and receives, beyond which nothing is fetched; 0:
    /// no limit.
    pub monthly_limit: u64,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    pub retry: Range,
    /// Tries in a row that bring not one byte.
    pub attempts: u32,
    /// From the first try on, restarts included.
    pub give_up_after: Duration,
    pub token_wait: Duration,
    /// Bytes that stay free on mnt.
    pub reserve: u64,
    pub allow_http: bool,
}

/// `[health]`
#[derive(Debug, Clone)]
pub struct Health {
    pub link_timeout: Duration,
    pub timeout: Duration,
    pub tcp_ports: Vec<u16>,
    pub services: Vec<String>,
    pub directory: PathBuf,
    pub check_timeout: Duration,
}

/// `[reboot]`
#[derive(Debug, Clone)]
pub struct Reboot {
    pub command: Vec<String>,
    /// `None`: never.
    pub force_after: Option<Duration>,
}

/// `[watchdog]`
#[derive(Debug, Clone)]
pub struct Watchdog {
    /// `None`: none is used.
    pub device: Option<PathBuf>,
    /// Time that the agent may hang.
    pub timeout: Duration,
    /// Time that a job's work may stand still.
    pub work_timeout: Duration,
}

/// `[device]`: what EVENT_LINKUP says of the device.
#[derive(Debug, Clone, Default)]
pub struct Device {
    pub device_type: String,
    pub name: String,
    pub manufacturer: String,
    /// Empty: the terminal's id.
    pub serial: String,
}

/// Everything, with every value in its bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub identity: PathBuf,
    pub device: Device,
    pub mqtt: Mqtt,
    pub download: Download,
    pub parameter_lists: PathBuf,
    /// Parameter backups that are kept.
    pub backups: usize,
    pub health: Health,
    pub reboot: Reboot,
    pub watchdog: Watchdog,
    pub layout: Layout,
    /// Root of the normal OS; not `/` in tests only.
    pub os_root: PathBuf,
    /// The partition of the root filesystem; `None`: found by its label.
    pub rootfs_device: Option<PathBuf>,
    pub boot: Volume,
    pub keyring: PathBuf,
    pub os_release: PathBuf,
}

impl Settings {
    /// Reads and validates the configuration.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let mut layers = Layers::default();
        layers.add(path)?;
        layers.add_folder(&path.with_file_name(DROP_INS))?;
        let identity = identity_folder(&layers.merged()?);
        layers.add_optional(&identity.join(dau_handoff::layout::identity::SETTINGS))?;
        validate(layers.merged()?, &layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn load(files: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = text.replace("@", &dir.path().display().to_string());
            fs::write(path, text).unwrap();
        }
        Settings::load(&dir.path().join("agent.toml"))
    }

    #[test]
    fn later_files_win_key_by_key() {
        let settings = load(&[
            (
                "agent.toml",
                "[station]\nhost='a'\nport=1\n[paths]\nmnt='@'\n[download]\nrate_limit=5",
            ),
            ("agent.d/10-x.toml", "[station]\nport=2"),
            ("agent.d/20-x.toml", "[station]\nport=3"),
            ("agent.d/README", "not read"),
            ("dau/identity/agent.toml", "[station]\nhost='site'"),
        ])
        .unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("site", 3));
        assert_eq!(settings.download.rate.limit, 5);
        assert_eq!(settings.mqtt.backoff.max, Duration::from_secs(300));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_file_and_key() {
        let good = "[station]\nhost='a'\n[paths]\nmnt='@'\n";
        let cases = [
            ("[stations]\nhost='b'", "stations"),
            ("[station]\nhots='b'", "hots"),
            ("[station]\nport=70000", "port"),
            ("[station]\nhost=''", "station.host"),
            ("[mqtt]\nbackoff_min=-1", "mqtt.backoff_min"),
            ("[mqtt]\nbackoff_min=10\nbackoff_max=5", "mqtt.backoff_max"),
            (
                "[mqtt]\nresult_acknowledgement='none'",
                "mqtt.result_acknowledgement",
            ),
            ("[mqtt]\nheartbeat=nan", "mqtt.heartbeat"),
            ("[mqtt]\nkeep_alive=1", "mqtt.keep_alive"),
            ("[download]\nattempts=0", "download.attempts"),
            (
                "[download]\nrate_limit_hours=['7-22 2000']",
                "download.rate_limit_hours",
            ),
            ("[download]\nutc_offset='CST'", "download.utc_offset"),
            ("[download]\nmonthly_limit=1000", "download.monthly_limit"),
            ("[reboot]\ncommand=[]", "reboot.command"),
            ("[watchdog]\ntimeout=3", "watchdog.timeout"),
            ("[health", "line 1"),
        ];
        for (text, word) in cases {
            let error = load(&[("agent.toml", good), ("agent.d/90-wrong.toml", text)]).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("90-wrong.toml") && error.contains(word),
                "{text}: {error}"
            );
        }
        let error = load(&[("agent.toml", "[paths]\nmnt='@'")]).unwrap_err();
        assert!(error.to_string().contains("station.host"), "{error}");
    }

    #[test]
    fn the_file_that_is_shipped_holds_the_defaults() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../rootfs-overlay/agent/etc/dau/agent.toml"
        );
        let shipped = fs::read_to_string(path).unwrap();
        let uncommented = shipped.replace("\n#", "\n").replace("\n ", "\n#");
        let dir = tempfile::tempdir().unwrap();
        for text in [&shipped, &uncommented] {
            let path = dir.path().join("agent.toml");
            fs::write(&path, text).unwrap();
            fs::create_dir_all(dir.path().join("agent.d")).unwrap();
            let site = "[station]\nhost='a'\n";
            fs::write(dir.path().join("agent.d/site.toml"), site).unwrap();
            let settings = format!("{:?}", Settings::load(&path).unwrap());
            fs::write(&path, site).unwrap();
            assert_eq!(settings, format!("{:?}", Settings::load(&path).unwrap()));
        }
    }
}
