//! Runs the working child and supervises it.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::watchdog::Watchdog;
use crate::cli;
use crate::run::Ended;

/// Time without a heartbeat after which the child counts as hanging: its longest step, a file
/// system check, takes minutes.
const HUNG: Duration = Duration::from_secs(30 * 60);
/// Time for a killed process to end.
const LAST_WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
const PROGRAM: &str = "/proc/self/exe";

/// The end of a child.
#[derive(Debug)]
pub enum ChildEnd {
    /// It ended by itself.
    Ended(Ended),
    /// It died without counting its failure.
    Crashed(String),
}

/// Runs the child until it ends.
pub fn work(crashed: Option<String>, watchdog: &mut Watchdog) -> ChildEnd {
    match start(crashed) {
        Ok((child, line)) => watch(child, line, watchdog),
        Err(error) => ChildEnd::Crashed(format!("RecoveryOS cannot start its work: {error}")),
    }
}

fn start(crashed: Option<String>) -> io::Result<(Pid, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let mut command = Command::new(PROGRAM);
    command
        .arg0("dau-recovery")
        .arg(cli::TERMINAL)
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    if let Some(how) = crashed {
        command.arg(cli::CRASHED).arg(how);
    }
    let child = command.spawn()?;
    // Waited for by number, as process 1 also reaps orphans.
    Ok((Pid::from_raw(child.id() as i32), ours))
}

fn watch(child: Pid, mut line: UnixStream, watchdog: &mut Watchdog) -> ChildEnd {
    let mut moved = Instant::now();
    let mut killed = false;
    let mut limit = HUNG;
    loop {
        watchdog.pet();
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => {
                return match Ended::from_status(status) {
                    Some(ended) => ChildEnd::Ended(ended),
                    None => {
                        ChildEnd::Crashed(format!("RecoveryOS's work ended with status {status}"))
                    }
                };
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                let why = if killed {
                    "it hung, and was killed"
                } else {
                    "it crashed"
                };
                return ChildEnd::Crashed(format!("RecoveryOS's work ended by {signal}: {why}"));
            }
            // An orphan was reaped; there may be more.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => continue,
            Err(Errno::ECHILD) => {
                return ChildEnd::Crashed("RecoveryOS's work vanished".to_owned());
            }
            _ => {}
        }
        let mut bytes = [0; 256];
        while matches!(line.read(&mut bytes), Ok(count) if count > 0) {
            moved = Instant::now();
        }
        if moved.elapsed() > limit {
            if killed {
                // Not even SIGKILL ended it: it waits for hardware that does not respond.
                return ChildEnd::Ended(Ended::Failed);
            }
            log::error!("no progress for {} minutes", HUNG.as_secs() / 60);
            let _ = kill(child, Signal::SIGKILL);
            killed = true;
            limit = LAST_WAIT;
            moved = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}
