//! What the agent was set to: `agent.toml`, drop-ins, and the values of this site.
//!
//! Files are read in this order, later ones win: the file named on the command line (`/etc/dau/agent.toml`),
//! `agent.d/*.toml` beside it, `agent.toml` in the identity folder on mnt (written at the factory). Each key is
//! documented in `rootfs-overlay/etc/dau/agent.toml`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dau_handoff::{Layout, MNT};
use dau_system::volume::Volume;
use dau_system::BOOT_LABEL;

mod fragment;
mod layers;

use fragment::Fragment;
use layers::Layers;

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/dau/agent.toml";
/// Folder of the drop-ins, beside the configuration file.
const DROP_INS: &str = "agent.d";
/// Name of the site's file in the identity folder.
const SITE_FILE: &str = "agent.toml";

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

/// Who takes note of a result.
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
    /// Bytes per second; 0: as fast as it goes.
    pub rate_limit: u64,
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
    /// How many parameter backups are kept.
    pub backups: usize,
    pub health: Health,
    pub reboot: Reboot,
    pub layout: Layout,
    /// Root of the normal OS; not `/` in tests only.
    pub root: PathBuf,
    pub boot: Volume,
    pub keyring: PathBuf,
    pub os_release: PathBuf,
}

impl Settings {
    /// Reads and judges the configuration.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let mut layers = Layers::default();
        layers.add(path)?;
        layers.add_folder(&path.with_file_name(DROP_INS))?;
        let identity = identity_folder(&layers.merged()?);
        layers.add_optional(&identity.join(SITE_FILE))?;
        judge(layers.merged()?, &layers)
    }
}

fn identity_folder(fragment: &Fragment) -> PathBuf {
    let mnt = fragment.paths.mnt.clone();
    let layout = Layout::new(&mnt.unwrap_or_else(|| MNT.into()));
    let set = fragment.identity.dir.clone();
    set.unwrap_or_else(|| layout.identity())
}

fn judge(all: Fragment, layers: &Layers) -> Result<Settings, SettingsError> {
    let check = Check { layers };
    let identity = identity_folder(&all);
    let Fragment {
        station,
        mqtt,
        download,
        parameters,
        health,
        reboot,
        paths,
        device,
        ..
    } = all;
    let host = station.host.unwrap_or_default();
    if host.is_empty() || host.contains(['/', ' ']) {
        let reason = format!("'{host}' is no host name or address: name the station's broker");
        return Err(check.error("station", "host", reason));
    }
    let acknowledgement = match mqtt.result_acknowledgement.as_deref() {
        None | Some("station") => Acknowledgement::Station,
        Some("broker") => Acknowledgement::Broker,
        Some(other) => {
            let reason = format!("is '{other}': use \"station\" or \"broker\"");
            return Err(check.error("mqtt", "result_acknowledgement", reason));
        }
    };
    let seconds = |section, key, value, default| check.seconds(section, key, value, default);
    let mqtt = Mqtt {
        keep_alive: Duration::from_secs(u64::from(mqtt.keep_alive.unwrap_or(60).max(5))),
        connect_timeout: seconds("mqtt", "connect_timeout", mqtt.connect_timeout, 30.0)?,
        backoff: check.range(
            "mqtt",
            ("backoff_min", mqtt.backoff_min, 1.0),
            ("backoff_max", mqtt.backoff_max, 300.0),
        )?,
        heartbeat: seconds("mqtt", "heartbeat", mqtt.heartbeat, 300.0)?,
        acknowledgement,
        result_repeat: check.range(
            "mqtt",
            ("result_repeat_min", mqtt.result_repeat_min, 30.0),
            ("result_repeat_max", mqtt.result_repeat_max, 3600.0),
        )?,
    };
    let attempts = download.attempts.unwrap_or(40);
    if attempts == 0 {
        let reason = "is 0: allow at least one".to_owned();
        return Err(check.error("download", "attempts", reason));
    }
    let section = "download";
    let download = Download {
        rate_limit: download.rate_limit.unwrap_or(0),
        connect_timeout: seconds(section, "connect_timeout", download.connect_timeout, 30.0)?,
        read_timeout: seconds(section, "read_timeout", download.read_timeout, 30.0)?,
        retry: check.range(
            section,
            ("retry_min", download.retry_min, 2.0),
            ("retry_max", download.retry_max, 300.0),
        )?,
        attempts,
        give_up_after: seconds(section, "give_up_after", download.give_up_after, 604_800.0)?,
        token_wait: seconds(section, "token_wait", download.token_wait, 3600.0)?,
        reserve: download.reserve.unwrap_or(32 << 20),
        allow_http: download.allow_http.unwrap_or(false),
    };
    let section = "health";
    let health = Health {
        link_timeout: seconds(section, "link_timeout", health.link_timeout, 600.0)?,
        timeout: seconds(section, "timeout", health.timeout, 300.0)?,
        tcp_ports: health.tcp_ports.unwrap_or_else(|| vec![2404]),
        services: health.services.unwrap_or_default(),
        directory: health
            .directory
            .unwrap_or_else(|| "/etc/dau/health.d".into()),
        check_timeout: seconds(section, "check_timeout", health.check_timeout, 60.0)?,
    };
    let command = reboot
        .command
        .unwrap_or_else(|| vec!["/sbin/reboot".into()]);
    if command.is_empty() {
        let reason = "is empty: name a program and its arguments".to_owned();
        return Err(check.error("reboot", "command", reason));
    }
    let force_after = match reboot.force_after {
        Some(0.0) => None,
        value => Some(seconds("reboot", "force_after", value, 180.0)?),
    };
    let mnt = paths.mnt.unwrap_or_else(|| MNT.into());
    let boot = match paths.boot_directory {
        Some(directory) => Volume::Directory(directory),
        None => Volume::Partition {
            label: BOOT_LABEL.to_owned(),
            file_system: "vfat".to_owned(),
            mount_point: paths
                .boot_mount_point
                .unwrap_or_else(|| "/run/dau/boot".into()),
        },
    };
    Ok(Settings {
        host,
        port: station.port.unwrap_or(8883),
        identity,
        device: Device {
            device_type: device.device_type.unwrap_or_else(|| "DTU".to_owned()),
            name: device.name.unwrap_or_default(),
            manufacturer: device.manufacturer.unwrap_or_default(),
            serial: device.serial.unwrap_or_default(),
        },
        mqtt,
        download,
        parameter_lists: parameters
            .lists
            .unwrap_or_else(|| dau_handoff::parameters::LISTS_DIR.into()),
        backups: parameters.backups.unwrap_or(3).max(1),
        health,
        reboot: Reboot {
            command,
            force_after,
        },
        layout: Layout::new(&mnt),
        root: paths.root.unwrap_or_else(|| "/".into()),
        boot,
        keyring: paths.keyring.unwrap_or_else(|| "/etc/dau/keyring".into()),
        os_release: paths
            .os_release
            .unwrap_or_else(|| dau_system::release::OS_RELEASE.into()),
    })
}

/// Judges single values and says where a wrong one stands.
struct Check<'a> {
    layers: &'a Layers,
}

type Key = (&'static str, Option<f64>, f64);

impl Check<'_> {
    fn error(&self, section: &'static str, key: &'static str, reason: String) -> SettingsError {
        let origin = self.layers.origin(section, key);
        SettingsError::Value {
            path: origin.map_or("no file".to_owned(), |path| path.display().to_string()),
            section,
            key,
            reason,
        }
    }

    fn seconds(
        &self,
        section: &'static str,
        key: &'static str,
        value: Option<f64>,
        default: f64,
    ) -> Result<Duration, SettingsError> {
        let value = value.unwrap_or(default);
        // A hundred years: more would overflow instants on 32-bit systems.
        if !(0.001..=3.2e9).contains(&value) {
            let reason = format!("is {value}: give seconds, more than 0");
            return Err(self.error(section, key, reason));
        }
        Ok(Duration::from_secs_f64(value))
    }

    fn range(&self, section: &'static str, min: Key, max: Key) -> Result<Range, SettingsError> {
        let range = Range {
            min: self.seconds(section, min.0, min.1, min.2)?,
            max: self.seconds(section, max.0, max.1, max.2)?,
        };
        if range.max < range.min {
            let reason = format!("is shorter than {section}.{}", min.0);
            return Err(self.error(section, max.0, reason));
        }
        Ok(range)
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
        assert_eq!(settings.download.rate_limit, 5);
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
            ("[download]\nattempts=0", "download.attempts"),
            ("[reboot]\ncommand=[]", "reboot.command"),
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
            "/../rootfs-overlay/etc/dau/agent.toml"
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
