//! Reaps orphaned processes, as process 1 must.

use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};

/// Reaps all processes that have ended so far.
pub fn reap() {
    while matches!(
        waitpid(None, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    ) {}
}
