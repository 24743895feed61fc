//! dau-agent: the upgrade daemon of the normal OS. It takes orders from the station, fetches and verifies packages, backs
//! up the parameters, hands over to RecoveryOS, and after the reboot confirms the new OS and reports the result.
//!
//! - `daemon`: the main loop, which holds the job and decides
//! - `link`: the MQTT connection and its thread
//! - `work`: the one thread for what takes long; `download` and `health` are its larger tasks
//! - pure decisions: `orders` (what becomes of an order), `startup` (what follows a restart), `promote` (which packages
//!   stay), `download::answer` (what an HTTP answer means)
//! - `settings`, `identity`: what the agent was told; `outbox`, `report`: what it tells

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context};
use dau_protocol::timestamp;
use dau_system::clock;
use nix::sys::signal::{SigSet, Signal};

mod boot;
mod daemon;
mod download;
mod ending;
mod event;
mod health;
mod identity;
mod link;
mod memory;
mod orders;
mod outbox;
mod promote;
mod report;
mod settings;
mod space;
mod startup;
mod watchdog;
mod work;

use daemon::Daemon;
use event::Event;
use settings::Settings;

const USAGE: &str = "\
Usage: dau-agent [--config FILE] [--check-config | --version | --help]

Takes upgrade orders from the station, installs them with RecoveryOS's help, reports the result.

  --config FILE   configuration (default /etc/dau/agent.toml); FILE's neighbour agent.d/*.toml and the site's
                  agent.toml in the identity folder are read after it
  --check-config  judge the configuration and end
  --version       print the version and end

The environment variable RUST_LOG sets what is logged: error, warn, info (default), debug.
";

fn main() -> ExitCode {
    start_log();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut config = PathBuf::from(settings::DEFAULT_PATH);
    let mut check_only = false;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => config = arguments.next().context("--config needs a file")?.into(),
            Some("--check-config") => check_only = true,
            Some("--version") => {
                return print(concat!("dau-agent ", env!("CARGO_PKG_VERSION"), "\n"))
            }
            Some("--help" | "-h") => return print(USAGE),
            _ => bail!(
                "unknown argument {}; see --help",
                argument.to_string_lossy()
            ),
        }
    }
    let settings = Settings::load(&config)?;
    if check_only {
        return print("the configuration is good\n");
    }
    trust_station_only(&settings);
    raise_clock(&settings);
    // Blocked before any thread starts, so that all of them inherit it and one waits for it.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().context("cannot block signals")?;
    let daemon = Daemon::start(settings)?;
    let sender = daemon.sender();
    std::thread::Builder::new()
        .name("signals".into())
        .stack_size(64 << 10)
        .spawn(move || {
            while signals.wait().is_ok() {
                if sender.send(Event::Stop).is_err() {
                    return;
                }
            }
        })
        .context("cannot start the signal thread")?;
    daemon.run()
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// One line each: time, level, text.
fn start_log() {
    use std::io::Write;
    let environment = env_logger::Env::default().default_filter_or("info,rumqttc=error");
    env_logger::Builder::from_env(environment)
        .format(|out, record| {
            let now = timestamp::format(clock::now());
            writeln!(out, "{now} {:5} {}", record.level(), record.args())
        })
        .init();
}

/// OpenSSL loads what these name whenever a connection is made ready; the system's own bundle would cost a megabyte of
/// memory, and vouch for others than the station.
fn trust_station_only(settings: &Settings) {
    let folder = &settings.identity;
    std::env::set_var("SSL_CERT_FILE", folder.join(identity::STATION_CA));
    std::env::set_var("SSL_CERT_DIR", folder);
}

/// A terminal whose clock battery is dead starts in 1970, where no certificate is valid.
fn raise_clock(settings: &Settings) {
    let release = dau_system::release::Release::read(&settings.os_release);
    let build_time = release.ok().and_then(|release| release.build_time);
    match clock::raise(build_time, &settings.layout.clock()) {
        Ok(None) => {}
        Ok(Some(seconds)) => log::warn!("the clock was raised to {}", timestamp::format(seconds)),
        Err(error) => log::error!("cannot raise the clock: {error}"),
    }
}
