//! What several stations share: database, packages, and the terminals' messages.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Config;

/// The client id of a station that is alone.
pub(super) const CLIENT_ID: &str = "dau-station";

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// PostgreSQL's connection URL, `postgresql://USER@HOST/DATABASE`.
    pub url: String,
    /// Certificate authority of the server, PEM; the system's authorities by default.
    pub ca: Option<PathBuf>,
}

impl Database {
    /// Returns how to connect. What is not in this machine is reached by TLS, unless the URL says
    /// `sslmode=disable`.
    pub fn server(&self) -> Result<tokio_postgres::Config, String> {
        use tokio_postgres::config::{Host, SslMode};
        let mut server: tokio_postgres::Config =
            self.url.parse().map_err(|error: tokio_postgres::Error| {
                let why = std::error::Error::source(&error)
                    .map_or(String::new(), |why| format!(": {why}"));
                format!("database.url: {error}{why}; give postgresql://USER@HOST/DATABASE")
            })?;
        if server.get_hosts().is_empty() {
            return Err("database.url: names no host: give its name, or the socket's folder as ?host=/run/postgresql".to_owned());
        }
        let is_remote = server
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Tcp(_)));
        if is_remote && server.get_ssl_mode() == SslMode::Prefer {
            server.ssl_mode(SslMode::Require);
        }
        Ok(server)
    }
}

impl Config {
    /// Returns the folder of packages and of the record's archives.
    pub fn shared_dir(&self) -> &Path {
        self.shared_dir.as_ref().unwrap_or(&self.data_dir)
    }

    /// Checks what only several stations need.
    pub(super) fn check_several(&self) -> Result<(), String> {
        let Some(group) = &self.mqtt.share else {
            return Ok(());
        };
        let plain = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !text.is_empty() && text.bytes().all(is_plain)
        };
        match () {
            () if !plain(group) => Err("mqtt.share: letters, digits, - and _ only".to_owned()),
            () if self.database.is_none() => Err(
                "mqtt.share: several stations share a database of PostgreSQL: set database.url, or leave \
                 this out"
                    .to_owned(),
            ),
            () if self.shared_dir.is_none() => Err(
                "mqtt.share: several stations share packages: set shared_dir to a folder that all of them \
                 see, or leave this out"
                    .to_owned(),
            ),
            () if self.mqtt.client_id == CLIENT_ID || !plain(&self.mqtt.client_id) => Err(
                "mqtt.client_id: give each of several stations one of its own, the common name of its \
                 certificate; letters, digits, - and _ only"
                    .to_owned(),
            ),
            () => Ok(()),
        }
    }
}
