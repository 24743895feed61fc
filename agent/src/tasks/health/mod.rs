//! Whether a new OS proves itself. The first check that fails ends it: RecoveryOS then brings the
//! old OS back.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dau_handoff::parameters;
use dau_model::{Reason, Word};

use crate::failure::Failure;
use crate::link::LinkStatus;
use crate::settings::Health as Settings;
use crate::tasks::handle::Handle;

mod executable;
mod processes;

/// Pause between two looks at what is still starting.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Timeout for a port on this very machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The checks that a new OS must pass.
#[derive(Debug)]
pub struct Health {
    pub settings: Settings,
    pub link: LinkStatus,
    /// Version that must run and version that does; `None` where the job does not change it.
    pub versions: Option<(String, String)>,
    /// Root, backup and the digest that the job recorded.
    pub parameters: Option<(PathBuf, PathBuf, String)>,
    /// File for what the executables say.
    pub log: PathBuf,
}

/// The verdict of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Everything holds.
    Healthy,
    /// The first check that failed.
    Unhealthy(Reason),
}

/// Time that is left for something.
#[derive(Debug, Clone, Copy)]
struct Time {
    start: Instant,
    length: Duration,
}

impl Time {
    fn of(length: Duration) -> Self {
        let start = Instant::now();
        Time { start, length }
    }

    fn left(self) -> Duration {
        self.length.saturating_sub(self.start.elapsed())
    }
}

impl Health {
    /// Runs every check, in the order of what tells most.
    pub fn run(&self, handle: &Handle) -> Result<Checked, Failure> {
        let failed = |word, text| {
            let reason = Reason::new(word, text);
            log::error!("a health check failed: {reason}");
            Ok(Checked::Unhealthy(reason))
        };
        if let Some((expected, running)) = &self.versions {
            if expected != running {
                return failed(
                    Word::HealthVersion,
                    format!("{expected} should run, but {running} does"),
                );
            }
        }
        if let Err(reason) = self.compare_parameters() {
            return failed(Word::HealthParameters, reason);
        }
        let time = Time::of(self.settings.timeout);
        for port in &self.settings.tcp_ports {
            if !until(handle, time, || answers(*port))? {
                return failed(
                    Word::HealthPort,
                    format!("nothing answers on TCP port {port}"),
                );
            }
        }
        for name in &self.settings.services {
            if !until(handle, time, || processes::is_running(name))? {
                return failed(Word::HealthService, format!("no process {name} runs"));
            }
        }
        if let Err(reason) = self.run_executables(handle)? {
            return failed(Word::HealthExecutable, reason);
        }
        let time = Time::of(self.settings.link_timeout);
        if !until(handle, time, || self.link.is_up())? {
            let seconds = self.settings.link_timeout.as_secs();
            return failed(
                Word::HealthLink,
                format!("no connection to the station within {seconds} s"),
            );
        }
        log::info!("all health checks hold");
        Ok(Checked::Healthy)
    }

    fn compare_parameters(&self) -> Result<(), String> {
        let Some((root, tar, expected)) = &self.parameters else {
            return Ok(());
        };
        let comparison = parameters::compare(root, tar).map_err(|error| error.to_string())?;
        if comparison.digest == *expected {
            return Ok(());
        }
        let changed: Vec<_> = comparison
            .changed
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(format!("not as backed up: {}", changed.join(", ")))
    }

    fn run_executables(&self, handle: &Handle) -> Result<Result<(), String>, Failure> {
        let list = match executable::list(&self.settings.directory) {
            Ok(list) => list,
            Err(error) => {
                return Ok(Err(format!(
                    "{}: {error}",
                    self.settings.directory.display()
                )))
            }
        };
        for path in list {
            handle.check()?;
            let outcome = executable::run(&path, self.settings.check_timeout, &self.log);
            if let Err(reason) = outcome {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }
}

/// Looks until it holds or the time is over.
fn until(handle: &Handle, time: Time, mut holds: impl FnMut() -> bool) -> Result<bool, Failure> {
    loop {
        if holds() {
            return Ok(true);
        }
        let left = time.left();
        if left.is_zero() {
            return Ok(false);
        }
        handle.sleep(LOOK_EVERY.min(left))?;
    }
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}
