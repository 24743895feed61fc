//! Whether a new OS proves itself. The first check that fails ends it: RecoveryOS then brings the old OS back.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dau_handoff::parameters;

use crate::ending::Ending;
use crate::link::Watch;
use crate::settings::Health as Settings;
use crate::work::Context;

mod executable;
mod processes;

/// Pause between two looks at what is still starting.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a port on this very machine may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the new OS must show.
#[derive(Debug)]
pub struct Health {
    pub settings: Settings,
    pub link: Watch,
    /// Version that must run and version that does; `None` where the job does not change it.
    pub versions: Option<(String, String)>,
    /// Root, backup and the digest that the job recorded.
    pub parameters: Option<(PathBuf, PathBuf, String)>,
    /// File for what the executables say.
    pub log: PathBuf,
}

/// How it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything holds; digest of the parameters.
    Healthy(Option<String>),
    /// What does not hold, for people.
    Unhealthy(String),
}

impl Health {
    /// Runs every check, in the order of what tells most.
    pub fn run(&self, context: &Context) -> Result<Verdict, Ending> {
        let failed = |check: &str, reason: String| {
            log::error!("health check '{check}' failed: {reason}");
            Ok(Verdict::Unhealthy(format!(
                "health check '{check}': {reason}"
            )))
        };
        if let Some((expected, running)) = &self.versions {
            if expected != running {
                return failed(
                    "version",
                    format!("{expected} should run, but {running} does"),
                );
            }
        }
        let digest = match self.compare_parameters() {
            Ok(digest) => digest,
            Err(reason) => return failed("parameters", reason),
        };
        let deadline = Instant::now() + self.settings.timeout;
        for port in &self.settings.tcp_ports {
            if !until(context, deadline, || answers(*port))? {
                return failed("port", format!("nothing answers on TCP port {port}"));
            }
        }
        for name in &self.settings.services {
            if !until(context, deadline, || processes::is_running(name))? {
                return failed("service", format!("no process {name} runs"));
            }
        }
        if let Err(reason) = self.run_executables(context)? {
            return failed("executable", reason);
        }
        let deadline = Instant::now() + self.settings.link_timeout;
        if !until(context, deadline, || self.link.is_up())? {
            let seconds = self.settings.link_timeout.as_secs();
            return failed(
                "link",
                format!("no connection to the station within {seconds} s"),
            );
        }
        log::info!("all health checks hold");
        Ok(Verdict::Healthy(digest))
    }

    fn compare_parameters(&self) -> Result<Option<String>, String> {
        let Some((root, tar, expected)) = &self.parameters else {
            return Ok(None);
        };
        let comparison = parameters::compare(root, tar).map_err(|error| error.to_string())?;
        if comparison.digest == *expected {
            return Ok(Some(comparison.digest));
        }
        let changed: Vec<_> = comparison
            .changed
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(format!("not as backed up: {}", changed.join(", ")))
    }

    fn run_executables(&self, context: &Context) -> Result<Result<(), String>, Ending> {
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
            context.control.check()?;
            let outcome = executable::run(&path, self.settings.check_timeout, &self.log);
            if let Err(reason) = outcome {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }
}

/// Looks until it holds or the time is over.
fn until(
    context: &Context,
    deadline: Instant,
    mut holds: impl FnMut() -> bool,
) -> Result<bool, Ending> {
    loop {
        if holds() {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        context.control.sleep(LOOK_EVERY.min(left))?;
    }
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}
