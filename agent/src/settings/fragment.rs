//! The keys of a configuration file, all optional.

use std::path::PathBuf;

use serde::Deserialize;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $(pub $key: Option<$type>),+ }
    };
}

/// The values of all files together.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fragment {
    pub station: Station,
    pub identity: Identity,
    pub device: Device,
    pub mqtt: Mqtt,
    pub download: Download,
    pub parameters: Parameters,
    pub health: Health,
    pub reboot: Reboot,
    pub watchdog: Watchdog,
    pub paths: Paths,
}

section!(Station {
    host: String,
    port: u16
});
section!(Identity { dir: PathBuf });
section!(Device {
    device_type: String,
    name: String,
    manufacturer: String,
    serial: String,
});
section!(Mqtt {
    keep_alive: u16,
    connect_timeout: f64,
    backoff_min: f64,
    backoff_max: f64,
    heartbeat: f64,
    result_acknowledgement: String,
    result_repeat_min: f64,
    result_repeat_max: f64,
});
section!(Download {
    rate_limit: u64,
    rate_limit_hours: Vec<String>,
    utc_offset: String,
    monthly_limit: u64,
    connect_timeout: f64,
    read_timeout: f64,
    retry_min: f64,
    retry_max: f64,
    attempts: u32,
    give_up_after: f64,
    token_wait: f64,
    reserve: u64,
    allow_http: bool,
});
section!(Parameters {
    lists: PathBuf,
    backups: usize
});
section!(Health {
    link_timeout: f64,
    timeout: f64,
    tcp_ports: Vec<u16>,
    services: Vec<String>,
    directory: PathBuf,
    check_timeout: f64,
});
section!(Reboot {
    command: Vec<String>,
    force_after: f64,
});
section!(Watchdog {
    device: PathBuf,
    timeout: f64,
    work_timeout: f64,
});
section!(Paths {
    mnt: PathBuf,
    root: PathBuf,
    rootfs_device: PathBuf,
    boot_directory: PathBuf,
    boot_mount_point: PathBuf,
    keyring: PathBuf,
    os_release: PathBuf,
});
