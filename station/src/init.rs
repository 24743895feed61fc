//! `dau-station init`: makes the files of a new station.

mod places;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure, Context, Result};
use dau_protocol::url::without_brackets;
use dau_protocol::DownloadUrl;
use openssl::nid::Nid;
use openssl::x509::X509;

use crate::api_tokens;
use crate::api_tokens::role::Role;
use crate::cli::out;
use crate::config::check_public_url;
use crate::store::archive::sign::Key;
use places::{Party, Places};

const MOSQUITTO_CONF: &str = include_str!("../mosquitto/mosquitto.conf");
/// Seconds between two times that the broker writes what it has queued.
const AUTOSAVE: &str = "30";
const ACL: &str = include_str!("../mosquitto/acl");

/// Options of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// New folder for all files; below /etc for a system service, with its data in /var/lib
    #[arg(long)]
    dir: PathBuf,
    /// Keys and certificates from 'dau-packager keygen': keyring/,
    /// tls/{ca,station,station-mqtt,broker}.{pem,key}
    #[arg(long)]
    pki: PathBuf,
    /// Name or address of this machine, as in its certificates and as terminals reach it
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    listen: std::net::IpAddr,
    /// Port of the HTTPS service
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    mqtt_port: u16,
    /// URL of the HTTPS service for terminals [default: https://HOST:HTTPS_PORT]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// User that the broker runs as [default: the caller; 'mosquitto' for a system service]
    #[arg(long, value_name = "NAME")]
    broker_user: Option<String>,
    /// User that a system service runs as [default: dau-station]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Writes all files, overwriting none.
pub fn run(args: &Args) -> Result<()> {
    let host = host_in_url(&args.host)?;
    let public_url = match &args.public_url {
        Some(url) => url.clone(),
        None => format!("https://{host}:{}", args.https_port),
    };
    check_public_url(&public_url)
        .map_err(|reason| anyhow!("--public-url: '{public_url}' {reason}"))?;
    let places = Places::make(args)?;
    let (dir, pki) = (plain(&places.dir)?, plain(&places.pki)?);
    let name = common_name(&places.pki.join("tls/station-mqtt.pem"))?;
    let fill = |template: &str, fields: &[(&str, &str)]| {
        fields
            .iter()
            .fold(template.to_owned(), |text, (field, value)| {
                text.replace(&format!("@{field}@"), value)
            })
    };
    let mosquitto = fill(
        MOSQUITTO_CONF,
        &[
            ("PORT", &args.mqtt_port.to_string()),
            ("CA", &format!("{pki}/tls/ca.pem")),
            ("CERTIFICATE", &format!("{pki}/tls/broker.pem")),
            ("KEY", &format!("{pki}/tls/broker.key")),
            ("DIR", dir),
            ("BROKER", plain(&places.broker)?),
            ("MESSAGE_LIMIT", &dau_protocol::MAX_MESSAGE.to_string()),
            ("PACKET_LIMIT", &dau_protocol::MAX_PACKET.to_string()),
            ("USER", &places.broker_user),
            ("AUTOSAVE", AUTOSAVE),
        ],
    );
    let token = api_tokens::generate()?;
    let tokens = format!(
        "{}\n",
        api_tokens::line("operator", &token, Role::Administrator, None)?
    );
    let write = |name: &str, reader: Option<Party>, content: &str| {
        places.write(&places.dir.join(name), reader, content.as_bytes())
    };
    write(
        "station.toml",
        None,
        &station_toml(args, &places, &public_url)?,
    )?;
    write("api-tokens", Some(Party::Station), &tokens)?;
    let (key, public) = Key::generate()?;
    places.write(&places.dir.join("record.key"), Some(Party::Station), &key)?;
    places.write(&places.dir.join("record.pub"), None, &public)?;
    write("operator.token", Some(Party::Caller), &format!("{token}\n"))?;
    write("mosquitto.conf", None, &mosquitto)?;
    write(
        "acl",
        Some(Party::Broker),
        &fill(ACL, &[("STATION", &name)]),
    )?;
    let shown = without_brackets(&args.host);
    for name in ["station", "broker"] {
        if !names(&places.pki.join(format!("tls/{name}.pem")), shown)? {
            out::note(&format!(
                "warning: {pki}/tls/{name}.pem is not for '{shown}': who connects to that name or \
                 address will refuse it; make one with it as subject alternative name"
            ));
        }
    }
    out::text(&format!(
        "start the broker:   mosquitto -c {dir}/mosquitto.conf\n\
         start the station:  dau-station serve --config {dir}/station.toml\n\
         use it:             export DAU_STATION_URL=https://{host}:{} DAU_STATION_CA={pki}/tls/ca.pem \
         DAU_STATION_TOKEN_FILE={dir}/operator.token\n",
        args.https_port
    ))
}

/// Returns a path as text, if configuration files can hold it.
fn plain(path: &Path) -> Result<&str> {
    let text = path.to_str().context("paths must be UTF-8")?;
    ensure!(
        !text.contains(['"', '\\', '\n', '@', ' ']),
        "'{text}' holds characters that configuration files cannot"
    );
    Ok(text)
}

/// Returns the host as in a URL: an IPv6 address in brackets.
fn host_in_url(host: &str) -> Result<String> {
    let bare = without_brackets(host);
    let host = match bare.contains(':') {
        true => format!("[{bare}]"),
        false => bare.to_owned(),
    };
    ensure!(
        !host.contains(['/', '?']),
        "--host: '{host}' is no name or address"
    );
    let checked = DownloadUrl::parse(&format!("https://{host}"));
    checked.map_err(|reason| anyhow!("--host: 'https://{host}' {reason}"))?;
    Ok(host)
}

/// Tells whether a certificate is valid for this name or address.
fn names(path: &Path, host: &str) -> Result<bool> {
    let certificate = X509::from_pem(&fs::read(path)?)?;
    let address: Option<IpAddr> = host.parse().ok();
    let octets = address.map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    });
    let alternatives = certificate.subject_alt_names();
    Ok(alternatives.iter().flatten().any(|name| {
        let same = |dns: &str| match dns.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => dns.eq_ignore_ascii_case(host),
        };
        match &octets {
            Some(octets) => name.ipaddress() == Some(octets.as_slice()),
            None => name.dnsname().is_some_and(same),
        }
    }))
}

fn station_toml(args: &Args, places: &Places, public_url: &str) -> Result<String> {
    Ok(format!(
        r#"# The station; docs/station.md explains every key. Relative paths are beside this file.
data_dir = "{data}"
keyring = "{pki}/keyring"

[https]
listen = "{listen}"
certificate = "{pki}/tls/station.pem"
key = "{pki}/tls/station.key"
public_url = "{public_url}"

[mqtt]
host = "{host}"
port = {mqtt_port}
ca = "{pki}/tls/ca.pem"
certificate = "{pki}/tls/station-mqtt.pem"
key = "{pki}/tls/station-mqtt.key"
# max_queued_messages in mosquitto.conf
broker_queue = {broker_queue}

[api]
tokens = "api-tokens"

[downloads]
concurrent = 1000
bytes_per_second = 0

[jobs]
resend_seconds = 30

[record]
key = "record.key"
"#,
        data = plain(&places.data)?,
        pki = plain(&places.pki)?,
        listen = SocketAddr::new(args.listen, args.https_port),
        host = without_brackets(&args.host),
        mqtt_port = args.mqtt_port,
        broker_queue = broker_queue(MOSQUITTO_CONF).context("a template without a queue")?,
    ))
}

/// Returns the number of messages that a mosquitto with this configuration keeps for a client; `None`:
/// it sets no limit.
pub fn broker_queue(configuration: &str) -> Option<u32> {
    let mut lines = configuration.lines();
    let limit = lines.find_map(|line| line.trim().strip_prefix("max_queued_messages "))?;
    limit.trim().parse().ok().filter(|limit| *limit > 0)
}

/// Returns the common name of a certificate, which is the broker's name for its holder.
fn common_name(path: &Path) -> Result<String> {
    let certificate = X509::from_pem(&fs::read(path)?)
        .with_context(|| format!("{} is no certificate", path.display()))?;
    let mut names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let name = names.next().and_then(|name| name.data().to_string().ok());
    let name = name.with_context(|| format!("{} has no common name", path.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_and_station_agree_on_the_queue() {
        let default = crate::config::BROKER_QUEUE;
        assert_eq!(broker_queue(MOSQUITTO_CONF), Some(default));
        assert_eq!(broker_queue("#max_queued_messages 5\n"), None);
        assert_eq!(broker_queue("x 1\n max_queued_messages 77 \n"), Some(77));
        assert_eq!(broker_queue("max_queued_messages 0\n"), None);
    }

    #[test]
    fn addresses_stand_in_brackets_and_names_do_not() {
        for (host, url) in [
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("2001:db8::5", "[2001:db8::5]"),
            ("10.0.0.1", "10.0.0.1"),
            ("station.example", "station.example"),
        ] {
            assert_eq!(host_in_url(host).unwrap(), url);
        }
        for host in [
            "",
            "a b",
            "station:8443",
            "https://x",
            "a\nb",
            "fe80::1%eth0",
            "a/b",
        ] {
            assert!(host_in_url(host).is_err(), "{host}");
        }
    }
}
