//! Turns the files' values into settings within their bounds.

use std::path::PathBuf;
use std::time::Duration;

use dau_handoff::{Layout, MNT};
use dau_protocol::url::without_brackets;
use dau_protocol::MIN_BUDGET;
use dau_system::volume::Volume;
use dau_system::BOOT_LABEL;

use super::fragment::{self, Fragment};
use super::layers::Layers;
use super::rate::{utc_offset, Hours, Rate};
use super::{
    Acknowledgement, Device, Download, Health, Mqtt, Range, Reboot, Settings, SettingsError,
    Watchdog,
};

/// Shortest timeout of the watchdog: the agent may wait so long for its disk.
const SHORTEST_WATCHDOG: Duration = Duration::from_secs(10);

/// Returns the identity folder, which holds the last of the files.
pub fn identity_folder(fragment: &Fragment) -> PathBuf {
    let mnt = fragment.paths.mnt.clone();
    let layout = Layout::new(&mnt.unwrap_or_else(|| MNT.into()));
    let set = fragment.identity.dir.clone();
    set.unwrap_or_else(|| layout.identity())
}

/// Puts every value into its bounds, or says which one is out of them.
pub fn validate(all: Fragment, layers: &Layers) -> Result<Settings, SettingsError> {
    let check = Check { layers };
    let identity = identity_folder(&all);
    let host = all.station.host.unwrap_or_default();
    let host = without_brackets(&host).to_owned();
    if host.is_empty() || host.contains(['/', ' ']) {
        let reason = format!("'{host}' is no host name or address: name the station's broker");
        return Err(check.error("station", "host", reason));
    }
    let or = |path: Option<PathBuf>, default: &str| path.unwrap_or_else(|| default.into());
    let (paths, parameters) = (all.paths, all.parameters);
    Ok(Settings {
        host,
        port: all.station.port.unwrap_or(8883),
        identity,
        device: device(all.device),
        mqtt: check.mqtt(all.mqtt)?,
        download: check.download(&all.download)?,
        parameter_lists: or(parameters.lists, dau_handoff::parameters::LISTS_DIR),
        backups: parameters.backups.unwrap_or(3).max(1),
        health: check.health(all.health)?,
        reboot: check.reboot(all.reboot)?,
        watchdog: check.watchdog(all.watchdog)?,
        boot: match paths.boot_directory {
            Some(directory) => Volume::Directory(directory),
            None => Volume::Partition {
                label: BOOT_LABEL.to_owned(),
                file_system: "vfat".to_owned(),
                mount_point: or(paths.boot_mount_point, "/run/dau/boot"),
            },
        },
        layout: Layout::new(&or(paths.mnt, MNT)),
        os_root: or(paths.root, "/"),
        rootfs_device: paths.rootfs_device,
        keyring: or(paths.keyring, "/etc/dau/keyring"),
        os_release: or(paths.os_release, dau_system::release::OS_RELEASE),
    })
}

fn device(said: fragment::Device) -> Device {
    Device {
        device_type: said.device_type.unwrap_or_else(|| "DTU".to_owned()),
        name: said.name.unwrap_or_default(),
        manufacturer: said.manufacturer.unwrap_or_default(),
        serial: said.serial.unwrap_or_default(),
    }
}

/// Checks single values and says which file sets a wrong one.
struct Check<'a> {
    layers: &'a Layers,
}

/// Name, what the files say, default.
type Key = (&'static str, Option<f64>, f64);

impl Check<'_> {
    fn mqtt(&self, said: fragment::Mqtt) -> Result<Mqtt, SettingsError> {
        const SECTION: &str = "mqtt";
        let acknowledgement = match said.result_acknowledgement.as_deref() {
            None | Some("station") => Acknowledgement::Station,
            Some("broker") => Acknowledgement::Broker,
            Some(other) => {
                let reason = format!("is '{other}': use \"station\" or \"broker\"");
                return Err(self.error(SECTION, "result_acknowledgement", reason));
            }
        };
        let keep_alive = said.keep_alive.unwrap_or(60);
        if keep_alive < 5 {
            let reason = format!("is {keep_alive}: give 5 seconds or more");
            return Err(self.error(SECTION, "keep_alive", reason));
        }
        Ok(Mqtt {
            keep_alive: Duration::from_secs(u64::from(keep_alive)),
            connect_timeout: self
                .seconds(SECTION, ("connect_timeout", said.connect_timeout, 30.0))?,
            backoff: self.range(
                SECTION,
                ("backoff_min", said.backoff_min, 1.0),
                ("backoff_max", said.backoff_max, 300.0),
            )?,
            heartbeat: self.seconds(SECTION, ("heartbeat", said.heartbeat, 300.0))?,
            acknowledgement,
            result_repeat: self.range(
                SECTION,
                ("result_repeat_min", said.result_repeat_min, 30.0),
                ("result_repeat_max", said.result_repeat_max, 3600.0),
            )?,
        })
    }

    fn download(&self, said: &fragment::Download) -> Result<Download, SettingsError> {
        let seconds = |key| self.seconds("download", key);
        let attempts = said.attempts.unwrap_or(40);
        if attempts == 0 {
            let reason = "is 0: allow at least one".to_owned();
            return Err(self.error("download", "attempts", reason));
        }
        let hours = said.rate_limit_hours.iter().flatten().map(|text| {
            Hours::parse(text).ok_or_else(|| {
                let reason = format!("has '{text}': write \"07:00-22:00 2000\"");
                self.error("download", "rate_limit_hours", reason)
            })
        });
        let offset = said.utc_offset.as_deref().unwrap_or("+00:00");
        let monthly_limit = said.monthly_limit.unwrap_or(0);
        if (1..MIN_BUDGET).contains(&monthly_limit) {
            let reason = format!("is {monthly_limit}: give {MIN_BUDGET} bytes or more, or 0");
            return Err(self.error("download", "monthly_limit", reason));
        }
        Ok(Download {
            rate: Rate {
                limit: said.rate_limit.unwrap_or(0),
                hours: hours.collect::<Result<_, _>>()?,
            },
            utc_offset: utc_offset(offset).ok_or_else(|| {
                let reason = format!("is '{offset}': write \"+08:00\"");
                self.error("download", "utc_offset", reason)
            })?,
            monthly_limit,
            connect_timeout: seconds(("connect_timeout", said.connect_timeout, 30.0))?,
            read_timeout: seconds(("read_timeout", said.read_timeout, 30.0))?,
            retry: self.range(
                "download",
                ("retry_min", said.retry_min, 2.0),
                ("retry_max", said.retry_max, 300.0),
            )?,
            attempts,
            give_up_after: seconds(("give_up_after", said.give_up_after, 604_800.0))?,
            token_wait: seconds(("token_wait", said.token_wait, 3600.0))?,
            reserve: said.reserve.unwrap_or(32 << 20),
            allow_http: said.allow_http.unwrap_or(false),
        })
    }

    fn health(&self, said: fragment::Health) -> Result<Health, SettingsError> {
        let seconds = |key| self.seconds("health", key);
        let directory = said.directory;
        Ok(Health {
            link_timeout: seconds(("link_timeout", said.link_timeout, 600.0))?,
            timeout: seconds(("timeout", said.timeout, 300.0))?,
            tcp_ports: said.tcp_ports.unwrap_or_else(|| vec![2404]),
            services: said.services.unwrap_or_default(),
            directory: directory.unwrap_or_else(|| "/etc/dau/health.d".into()),
            check_timeout: seconds(("check_timeout", said.check_timeout, 60.0))?,
        })
    }

    fn reboot(&self, said: fragment::Reboot) -> Result<Reboot, SettingsError> {
        let command = said.command.unwrap_or_else(|| vec!["/sbin/reboot".into()]);
        if command.is_empty() {
            let reason = "is empty: name a program and its arguments".to_owned();
            return Err(self.error("reboot", "command", reason));
        }
        Ok(Reboot {
            command,
            force_after: match said.force_after {
                Some(0.0) => None,
                value => Some(self.seconds("reboot", ("force_after", value, 180.0))?),
            },
        })
    }

    fn watchdog(&self, said: fragment::Watchdog) -> Result<Watchdog, SettingsError> {
        let timeout = self.seconds("watchdog", ("timeout", said.timeout, 60.0))?;
        if timeout < SHORTEST_WATCHDOG {
            let reason = format!(
                "is less than {} s: a slow medium would do",
                SHORTEST_WATCHDOG.as_secs()
            );
            return Err(self.error("watchdog", "timeout", reason));
        }
        let device = said.device.unwrap_or_else(|| "/dev/watchdog".into());
        Ok(Watchdog {
            device: Some(device).filter(|path| !path.as_os_str().is_empty()),
            timeout,
            work_timeout: self.seconds("watchdog", ("work_timeout", said.work_timeout, 3600.0))?,
        })
    }

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
        (key, value, default): Key,
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
            min: self.seconds(section, min)?,
            max: self.seconds(section, max)?,
        };
        if range.max < range.min {
            let reason = format!("is shorter than {section}.{}", min.0);
            return Err(self.error(section, max.0, reason));
        }
        Ok(range)
    }
}
