//! The child that does the work, and process 1 watching it.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
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

/// Work that has not moved on for so long never will: the longest step, a file system check, takes minutes.
const HUNG: Duration = Duration::from_secs(30 * 60);
const LOOK: Duration = Duration::from_millis(50);
const PROGRAM: &str = "/proc/self/exe";

/// How a child ended.
#[derive(Debug)]
pub enum ChildEnd {
    /// As it wanted to.
    Ended(Ended),
    /// It could not count its own failure.
    Crashed(String),
}

/// Runs the child to its end.
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
    // Waited for by number: whoever is process 1 reaps strangers too.
    Ok((Pid::from_raw(child.id() as i32), ours))
}

fn watch(child: Pid, mut line: UnixStream, watchdog: &mut Watchdog) -> ChildEnd {
    let mut moved = Instant::now();
    let mut killed = false;
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
            // A stranger was reaped: perhaps there are more.
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
        if moved.elapsed() > HUNG {
            if killed {
                // Not even SIGKILL ended it: it waits for hardware that does not answer.
                return ChildEnd::Ended(Ended::Failed);
            }
            log::error!("no progress for {} minutes", HUNG.as_secs() / 60);
            let _ = kill(child, Signal::SIGKILL);
            killed = true;
            moved = Instant::now() - HUNG + Duration::from_secs(30);
        }
        std::thread::sleep(LOOK);
    }
}

/// Called by the child: its work moves on. Its standard input is the line to process 1.
pub fn tick() {
    // A full line says enough.
    let _ = nix::unistd::write(io::stdin().as_fd(), b".");
}

/// Takes notice of processes that ended and belong to nobody.
pub fn reap() {
    while matches!(
        waitpid(None, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    ) {}
}
