//! The application's settings on this terminal: `/etc/dau-example/settings.toml`. Every key has a
//! default.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde::Deserialize;

/// The settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Common address of the station's ASDUs.
    pub station_address: u16,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Seconds until a sent APDU or test must be acknowledged.
    pub t1: u64,
    /// Seconds until received APDUs are acknowledged; below t1.
    pub t2: u64,
    /// Seconds of silence before the connection is tested.
    pub t3: u64,
    /// Most APDUs sent without acknowledgement.
    pub k: u16,
    /// Most APDUs received before they are acknowledged.
    pub w: u16,
    pub overcurrent: Overcurrent,
}

/// Overcurrent protection, as an example of settings that must survive an upgrade: checked, but not
/// acted upon.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overcurrent {
    /// Secondary amperes.
    pub pickup: f64,
    /// Seconds.
    pub delay: f64,
    /// Whether it trips the breaker or only reports.
    pub trip: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            station_address: 1,
            listen: SocketAddr::from(([0, 0, 0, 0], 2404)),
            t1: 15,
            t2: 10,
            t3: 20,
            k: 12,
            w: 8,
            overcurrent: Overcurrent::default(),
        }
    }
}

impl Default for Overcurrent {
    fn default() -> Self {
        Overcurrent {
            pickup: 5.0,
            delay: 0.5,
            trip: false,
        }
    }
}

impl Settings {
    /// Reads and checks the settings; errors name the key.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        Self::parse(&text).with_context(|| format!("{shown} is refused"))
    }

    /// Parses and checks the settings.
    pub fn parse(text: &str) -> Result<Self> {
        let settings: Settings = toml::from_str(text)?;
        let range = |key: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                bail!("{key} is {value}, and must be within {least} to {most}");
            }
            Ok(())
        };
        range(
            "station_address",
            settings.station_address.into(),
            1.0,
            65534.0,
        )?;
        for (key, value) in [("t1", settings.t1), ("t2", settings.t2)] {
            range(key, value as f64, 1.0, 255.0)?;
        }
        range("t3", settings.t3 as f64, 1.0, 172_800.0)?;
        range("k", settings.k.into(), 1.0, 32767.0)?;
        range("w", settings.w.into(), 1.0, 32767.0)?;
        if settings.t2 >= settings.t1 {
            bail!(
                "t2 is {}, and must be below t1 ({})",
                settings.t2,
                settings.t1
            );
        }
        if u32::from(settings.w) * 3 > u32::from(settings.k) * 2 {
            bail!(
                "w is {}, and must be at most two thirds of k ({})",
                settings.w,
                settings.k
            );
        }
        range(
            "overcurrent.pickup",
            settings.overcurrent.pickup,
            0.1,
            100.0,
        )?;
        range("overcurrent.delay", settings.overcurrent.delay, 0.0, 100.0)?;
        Ok(settings)
    }

    pub fn t1(&self) -> Duration {
        Duration::from_secs(self.t1)
    }

    pub fn t2(&self) -> Duration {
        Duration::from_secs(self.t2)
    }

    pub fn t3(&self) -> Duration {
        Duration::from_secs(self.t3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn the_overlays_files_are_sound_and_show_the_defaults() {
        let overlay = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../rootfs-overlay/example/etc/dau-example"
        );
        let path = Path::new(overlay).join("settings.toml");
        assert_eq!(Settings::load(&path).unwrap(), Settings::default());
        // With the commented-out keys active, all keys are there and have their default values.
        let mut keys = 0;
        let mut shown = String::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let key = line.strip_prefix('#').filter(|key| !key.starts_with(' '));
            keys += usize::from(key.is_some());
            shown += key.unwrap_or(line);
            shown += "\n";
        }
        assert_eq!(Settings::parse(&shown).unwrap(), Settings::default());
        assert_eq!(keys, 10);
        assert!(
            crate::Points::load(&Path::new(overlay).join("points.csv"))
                .unwrap()
                .len()
                > 0
        );
    }

    #[test]
    fn bad_keys_are_named() {
        for (text, named) in [
            ("pickup = 1", "pickup"),
            ("station_address = 0", "station_address"),
            ("station_address = 65535", "station_address"),
            ("station_address = 70000", "station_address"),
            ("listen = \"2404\"", "listen"),
            ("t1 = 0", "t1"),
            ("t2 = 15", "t2 is 15, and must be below t1 (15)"),
            ("t3 = \"x\"", "t3"),
            ("k = 11", "two thirds of k"),
            ("overcurrent.pickup = 0", "overcurrent.pickup"),
            ("overcurrent.pickup = nan", "overcurrent.pickup"),
            ("overcurrent.delay = 101", "overcurrent.delay"),
            ("[overcurrent]\ntripp = true", "tripp"),
        ] {
            let error = format!("{:#}", Settings::parse(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
