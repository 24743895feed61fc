//! dau-agent: the upgrade daemon of the normal OS. It takes orders from the station, fetches and
//! verifies packages, backs up the parameters, hands over to RecoveryOS, and after the reboot
//! confirms the new OS and reports the result.
//!
//! - `daemon`: the main loop, which holds the job and decides
//! - `link`: the MQTT connection and its thread
//! - `tasks`: long work, each on a thread of its own: download, verify, backup, RecoveryOS, health
//! - pure decisions: `acceptance` (whether a package suits this terminal and its order), `attempts`
//!   (when a job is given up), `engine` (what a job does next), `orders` (what becomes of an
//!   order), `promote` (which packages stay)
//! - `settings`, `identity`: the configuration; `outbox`, `report`: results and messages
//!
//! # What it guarantees
//!
//! - An order is on disk before it is acknowledged; every job ends in exactly one result, which is sent
//!   until the station has acknowledged it, whatever is repeated, lost or restarted.
//! - The upgrade flag is set only after the whole package was verified and the parameter backup was read
//!   back. Until then a refusal or a cancellation leaves the terminal as it was, running.
//! - A new OS is confirmed only when its health checks passed; otherwise RecoveryOS takes it back.
//! - What happens after a task and after a restart is the same function of the job and the disk.
//! - No message, download or file on mnt stops it, hangs it or makes it grow without bound.
//!
//! # By hand
//!
//! `dau-agent --help` lists the options; docs/operator-guide.md has its settings, and every word that a
//! result may carry.

// What comes from outside, from the network or from mnt, never ends the program.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context};
use dau_handoff::layout::identity::STATION_CA;
use dau_protocol::{escaped, timestamp};
use dau_system::clock;
use nix::sys::signal::{SigSet, Signal};

mod acceptance;
mod attempts;
mod backoff;
mod boot;
mod daemon;
mod engine;
mod failure;
mod identity;
mod link;
mod orders;
mod outbox;
mod promote;
mod report;
mod settings;
mod space;
mod spread;
mod tasks;
mod traffic;
mod watchdog;

use daemon::event::Event;
use daemon::Daemon;
use settings::Settings;

const USAGE: &str = "\
Usage: dau-agent [--config FILE] [--check-config | --version | --help]

Takes upgrade orders from the station, installs them with RecoveryOS's help, reports the result.

  --config FILE   configuration (default /etc/dau/agent.toml); FILE's neighbour agent.d/*.toml and the site's
                  agent.toml in the identity folder are read after it
  --check-config  check the configuration and end
  --version       print the version and end

The environment variable RUST_LOG sets what is logged: error, warn, info (default), debug.
";

fn main() -> ExitCode {
    start_log();
    end_with_any_thread();
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

/// Makes a panic in any thread end the whole agent: the others would wait for that thread for ever.
/// The agent is started again and counts it (see `attempts`).
fn end_with_any_thread() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
}

/// Starts the log: a line each with time, level and text. Some texts come from others, so control
/// characters are escaped.
fn start_log() {
    use std::io::Write;
    let environment = env_logger::Env::default().default_filter_or("info,rumqttc=error");
    env_logger::Builder::from_env(environment)
        .format(|out, record| {
            let now = timestamp::format(clock::now());
            let text = record.args().to_string();
            let text = escaped(&text);
            writeln!(out, "{now} {:5} {text}", record.level())
        })
        .init();
}

/// Points OpenSSL at the station's CA. Otherwise it loads the system's bundle for every connection,
/// which takes a megabyte of memory and vouches for others.
fn trust_station_only(settings: &Settings) {
    let folder = &settings.identity;
    std::env::set_var("SSL_CERT_FILE", folder.join(STATION_CA));
    std::env::set_var("SSL_CERT_DIR", folder);
}

/// Raises the clock of a terminal whose battery is dead: in 1970 no certificate is valid.
fn raise_clock(settings: &Settings) {
    let release = dau_system::release::Release::read(&settings.os_release);
    let build_time = release.ok().and_then(|release| release.build_time);
    match clock::raise(build_time, &settings.layout.clock()) {
        Ok(None) => {}
        Ok(Some(seconds)) => log::warn!("the clock was raised to {}", timestamp::format(seconds)),
        Err(error) => log::error!("cannot raise the clock: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Set in the process that is to end.
    const CHILD: &str = "DAU_TEST_PANICS";

    #[test]
    fn a_thread_that_panics_ends_the_program() {
        if std::env::var_os(CHILD).is_some() {
            super::end_with_any_thread();
            let survived = std::thread::spawn(|| panic!("as told")).join();
            panic!("{survived:?}");
        }
        let name = "tests::a_thread_that_panics_ends_the_program";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(
            output.status.signal(),
            Some(nix::libc::SIGABRT),
            "{output:?}"
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("as told"));
    }
}
