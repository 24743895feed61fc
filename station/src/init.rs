//! `dau-station init`: the files of a new station.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use nix::unistd::{geteuid, User};
use openssl::nid::Nid;
use openssl::x509::X509;

use crate::api_tokens;

const MOSQUITTO_CONF: &str = include_str!("../mosquitto/mosquitto.conf");
const ACL: &str = include_str!("../mosquitto/acl");

/// What a new station is made of.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// New directory for all of it
    #[arg(long)]
    dir: PathBuf,
    /// Keys and certificates as 'dau-packager keygen' makes them: keyring/, tls/{ca,station,station-mqtt,broker}.{pem,key}
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
    /// How terminals reach the HTTPS service, where that is not https://HOST:HTTPS_PORT
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// User that the broker runs as; without it, the one who calls
    #[arg(long, value_name = "NAME")]
    broker_user: Option<String>,
}

/// Writes everything; nothing that exists is overwritten.
pub fn run(args: &Args) -> Result<()> {
    let pki = fs::canonicalize(&args.pki)
        .with_context(|| format!("--pki: cannot read {}", args.pki.display()))?;
    let file = |name: &str| -> Result<String> {
        let path = pki.join(name);
        ensure!(
            path.exists(),
            "--pki: {} is missing; 'dau-packager keygen' makes it",
            path.display()
        );
        let text = path.to_str().context("paths must be UTF-8")?;
        Ok(text.to_owned())
    };
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("--dir: cannot make {}", args.dir.display()))?;
    let dir = fs::canonicalize(&args.dir)?;
    let shown = dir.to_str().context("paths must be UTF-8")?;
    let is_plain = |text: &str| !text.contains(['"', '\\', '\n', '@', ' ']);
    for text in [shown, &file("tls/ca.pem")?, &args.host] {
        ensure!(
            is_plain(text),
            "'{text}' holds characters that configuration files cannot"
        );
    }

    let mqtt_certificate = file("tls/station-mqtt.pem")?;
    let name = common_name(Path::new(&mqtt_certificate))?;
    let user = match &args.broker_user {
        Some(user) => user.clone(),
        None => {
            User::from_uid(geteuid())?
                .context("who calls has no name")?
                .name
        }
    };
    let token = api_tokens::generate()?;
    let config = station_toml(args, &file)?;
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
            ("CA", &file("tls/ca.pem")?),
            ("CERTIFICATE", &file("tls/broker.pem")?),
            ("KEY", &file("tls/broker.key")?),
            ("DIR", shown),
            ("MESSAGE_LIMIT", &dau_protocol::MAX_MESSAGE.to_string()),
            ("USER", &user),
        ],
    );
    write_new(&dir, "station.toml", 0o644, &config)?;
    write_new(
        &dir,
        "api-tokens",
        0o600,
        &format!("{}\n", api_tokens::line("operator", &token)?),
    )?;
    write_new(&dir, "operator.token", 0o600, &format!("{token}\n"))?;
    write_new(&dir, "mosquitto.conf", 0o644, &mosquitto)?;
    // mosquitto refuses to trust an ACL that others may change.
    write_new(&dir, "acl", 0o600, &fill(ACL, &[("STATION", &name)]))?;
    for folder in ["broker", "data"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    println!(
        "start the broker:   mosquitto -c {shown}/mosquitto.conf\n\
         start the station:  dau-station serve --config {shown}/station.toml\n\
         use it:             export DAU_STATION_URL=https://{}:{} DAU_STATION_CA={} DAU_STATION_TOKEN_FILE={shown}/operator.token",
        args.host,
        args.https_port,
        file("tls/ca.pem")?,
    );
    Ok(())
}

fn station_toml(args: &Args, file: &impl Fn(&str) -> Result<String>) -> Result<String> {
    let public_url = match &args.public_url {
        Some(url) => url.clone(),
        None => format!("https://{}:{}", args.host, args.https_port),
    };
    Ok(format!(
        r#"# The station; docs/station.md explains every key. Relative paths are beside this file.
data_dir = "data"
keyring = "{keyring}"

[https]
listen = "{listen}"
certificate = "{https_certificate}"
key = "{https_key}"
public_url = "{public_url}"

[mqtt]
host = "{host}"
port = {mqtt_port}
ca = "{ca}"
certificate = "{mqtt_certificate}"
key = "{mqtt_key}"

[api]
tokens = "api-tokens"

[downloads]
concurrent = 1000
bytes_per_second = 0

[jobs]
resend_seconds = 30
"#,
        keyring = file("keyring")?,
        listen = std::net::SocketAddr::new(args.listen, args.https_port),
        https_certificate = file("tls/station.pem")?,
        https_key = file("tls/station.key")?,
        host = args.host,
        mqtt_port = args.mqtt_port,
        ca = file("tls/ca.pem")?,
        mqtt_certificate = file("tls/station-mqtt.pem")?,
        mqtt_key = file("tls/station-mqtt.key")?,
    ))
}

/// The name under which the broker knows the holder of a certificate.
fn common_name(path: &Path) -> Result<String> {
    let certificate = X509::from_pem(&fs::read(path)?)
        .with_context(|| format!("{} is no certificate", path.display()))?;
    let mut names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let name = names.next().and_then(|name| name.data().to_string().ok());
    let name = name.with_context(|| format!("{} has no common name", path.display()))?;
    Ok(name)
}

fn write_new(dir: &Path, name: &str, mode: u32, content: &str) -> Result<()> {
    let path = dir.join(name);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}: it must not exist yet", path.display()))
}
